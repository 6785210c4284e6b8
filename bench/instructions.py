"""python -m bench.instructions: what a small request costs in the application, in instructions of the processor.

    python -m bench.instructions [--sessions sqlite memory] [--durability page-cache]

Runs the ASGI application in one process under valgrind, twice, with more requests the second time; the difference is
what a request takes, the same in every run, whatever else the machine does. What the kernel and uvicorn do for it is
not in it.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final

from bench.workloads import SMALL
from tusserver.app import TusApp, create_app
from tusserver.body import Claim
from tusserver.exchange import DIRECT, TRAILERS, Headers
from tusserver.logs import configure, lean
from tusserver.settings import Settings
from tusserver.stores import here

VALGRIND: Final = ("valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null")
FEW: Final = 50
MANY: Final = 250
BYTES: Final = (b"content-type", b"application/offset+octet-stream")
NAMED: Final = (b"upload-metadata", b"filename YmVuY2gubXA0,filetype dmlkZW8vbXA0")

Header = tuple[bytes, bytes]


class Arrived:
    """A body that has arrived whole."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def whole(self) -> bytes | None:
        """See ``tusserver.body.Direct``."""
        return self._body

    def claim(self) -> Claim | None:
        """See ``tusserver.body.Direct``."""
        return None


class Answer:
    """Takes an answer as ``tusserver.connection`` does."""

    status = 0
    headers: Headers = ()

    async def send(self, message: Any) -> None:
        """Not in two messages."""
        raise AssertionError("the answer is handed over at once")

    def answer_whole(self, status: int, headers: Headers, body: bytes) -> bool:
        """See ``tusserver.exchange.sent_whole``."""
        self.status, self.headers = status, headers
        return True


class Requests:
    """Small requests to an application, as uvicorn hands them over."""

    def __init__(self, app: TusApp) -> None:
        self._app = app
        self._body = os.urandom(SMALL)

    async def creation(self) -> str:
        """POST; returns the upload's path."""
        answer = await self._ask("POST", "/files", (b"upload-length", b"%d" % SMALL), NAMED, body=b"")
        return answer["Location"].removeprefix("http://bench")

    async def upload(self) -> str:
        """POST and PATCH of 16 KiB."""
        path = await self.creation()
        await self._ask("PATCH", path, BYTES, (b"upload-offset", b"0"), body=self._body)
        return path

    async def at_once(self) -> None:
        """POST with 16 KiB."""
        await self._ask("POST", "/files", (b"upload-length", b"%d" % SMALL), NAMED, BYTES, body=self._body)

    async def head(self, path: str) -> None:
        """HEAD."""
        await self._ask("HEAD", path, body=b"")

    async def _ask(self, method: str, path: str, *headers: Header, body: bytes) -> Mapping[str, str]:
        answer = Answer()

        async def receive() -> Any:
            raise AssertionError("the body is handed over at once")

        said = [(b"host", b"bench"), (b"tus-resumable", b"1.0.0"), (b"content-length", b"%d" % len(body)), *headers]
        scope = {
            "type": "http", "http_version": "1.1", "scheme": "http", "method": method, "path": path, "root_path": "",
            "client": ("127.0.0.1", 1), "headers": said, "extensions": {TRAILERS: [], DIRECT: Arrived(body)},
        }  # fmt: skip
        await self._app(scope, receive, answer.send)
        assert answer.status < 300, answer.headers
        return dict(answer.headers)


async def _work(settings: Settings, what: str, times: int) -> None:
    vars(here)["SLOW"] = math.inf  # valgrind is, and what is slow would go to threads
    app = create_app(settings)
    async with app.running():
        requests = Requests(app)
        path = await requests.upload()
        works: dict[str, Callable[[], Awaitable[object]]] = {
            "POST and PATCH of 16 KiB": requests.upload,
            "POST with 16 KiB": requests.at_once,
            "HEAD": lambda: requests.head(path),
        }
        for _ in range(times):
            await works[what]()


def _counted(sessions: str, durability: str, what: str, times: int) -> int:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        inside = ["--inside", directory, what, str(times), "--sessions", sessions, "--durability", durability]
        done = subprocess.run(
            [*VALGRIND, sys.executable, "-m", "bench.instructions", *inside],
            env={**os.environ, "PYTHONHASHSEED": "0"},
            capture_output=True,
            text=True,
        )
    found = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode or found is None:
        raise SystemExit(f"valgrind failed: {done.stderr[-2000:]}")
    return int(found[1])


def _inside(directory: Path, what: str, times: int, sessions: str, durability: str) -> None:
    configure("json", "info")
    lean()
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.setStream(Path(os.devnull).open("w"))  # noqa: SIM115
    where = {"memory": "memory:", "sqlite": f"sqlite://{directory}/s.db"}[sessions]
    settings = Settings(sessions=where, storage=f"disk://{directory}/uploads", durability=durability)
    asyncio.run(_work(settings, what, times))


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(prog="python -m bench.instructions", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--sessions", nargs="+", choices=("memory", "sqlite"), default=["memory", "sqlite"])
    parser.add_argument("--durability", choices=("page-cache", "safe"), default="page-cache")
    parser.add_argument("--inside", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        directory, what, times = options.inside
        return _inside(Path(directory), what, int(times), options.sessions[0], options.durability)
    if shutil.which("valgrind") is None:
        parser.error("valgrind is needed: apt-get install valgrind")
    for sessions in options.sessions:
        for what in ("POST and PATCH of 16 KiB", "POST with 16 KiB", "HEAD"):
            few, many = (_counted(sessions, options.durability, what, times) for times in (FEW, MANY))
            print(
                f"{sessions:8} {what:26} {(many - few) / (MANY - FEW) / 1000:8,.0f} thousand instructions", flush=True
            )


if __name__ == "__main__":
    main()
