"""tuspy as a program: ``python upload.py JOB`` does what the JSON job says and prints what happens as JSON lines.

The job: ``url`` where uploads are created; ``path`` of what to upload; ``options`` of the uploader; ``storage``, a path
where URLs of uploads are remembered; ``stop_at``, an offset; ``asynchronous`` to use the asynchronous uploader.

The events: ``begun`` (the offset to start from, and the URL, None before it is created), and at last one of
``finished``, ``stopped``, ``failed``.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from requests.exceptions import RequestException
from tusclient.client import TusClient
from tusclient.exceptions import TusCommunicationError
from tusclient.storage.filestorage import FileStorage


def say(event: str, **more: object) -> None:
    print(json.dumps({"event": event, **more}), flush=True)


def main(job: dict[str, Any]) -> int:
    client = TusClient(job["url"])
    options = {"file_path": job["path"], **job.get("options", {})}
    if "storage" in job:
        options |= {"store_url": True, "url_storage": FileStorage(job["storage"])}  # type: ignore[no-untyped-call]
    asynchronous = job.get("asynchronous", False)
    stop_at = job.get("stop_at")
    try:
        uploader = client.async_uploader(**options) if asynchronous else client.uploader(**options)
        say("begun", offset=uploader.offset, url=uploader.url)
        if asynchronous:
            asyncio.run(uploader.upload(stop_at))
        else:
            uploader.upload(stop_at)
    except (TusCommunicationError, RequestException) as error:
        say("failed", status=getattr(error, "status_code", None), message=str(error))
        return 1
    say("stopped" if stop_at else "finished", url=uploader.url, offset=uploader.offset)
    return 0


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
