"""Uploads by tuspy, by tus-js-client and by a witness that writes down what it was told, until they are through."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from tests.e2e.clients import Client, tus_js, tuspy
from tests.e2e.server import OCTETS, TUS, metadata, sha256, some_bytes

PATIENCE = 180.0
"""Seconds that one upload may take; more is a client that hangs."""

RETRY = 0.3


class Broken(Exception):
    """A promise that was not kept."""


@dataclass
class Upload:
    """One upload by one client. ``retries`` counts what it had to try again, ``longest`` the seconds without any
    progress."""

    number: int
    kind: str
    data: bytes
    chunk: int
    directory: Path
    endpoint: str
    url: str | None = None
    retries: int = 0
    acknowledged: int = 0
    longest: float = 0.0
    _moved: float = field(default_factory=time.monotonic)

    @property
    def path(self) -> Path:
        return self.directory / f"source-{self.number}"

    def run(self) -> None:
        """Upload it. Raises Broken."""
        self._moved = time.monotonic()
        CLIENTS[self.kind](self)

    def check(self) -> None:
        """The server has just these bytes. Raises Broken."""
        assert self.url is not None
        answer = persistently(lambda: requests.get(str(self.url), timeout=30), lambda answer: answer.status_code == 200)
        if sha256(answer.content) != sha256(self.data):
            raise Broken(f"{self.kind} {self.number}: other bytes than were sent, at {self.url}")

    def told(self, offset: int, how: str) -> None:
        """The server said that it has this many bytes."""
        if offset < self.acknowledged:
            raise Broken(f"{self.kind} {self.number}: {how} says {offset}, {self.acknowledged} were acknowledged")
        if offset > self.acknowledged:
            now = time.monotonic()
            self.longest, self._moved = max(self.longest, now - self._moved), now
        self.acknowledged = offset

    def at(self, url: str) -> None:
        """The upload is here, as it was."""
        if self.url not in (None, url):
            raise Broken(f"{self.kind} {self.number}: had to start over ({self.url}, then {url})")
        self.url = url


def make(number: int, dice: random.Random, directory: Path, endpoint: str, largest: int) -> Upload:
    """One more upload; what it is follows from the dice."""
    size = int(largest ** dice.uniform(0.6, 1.0))
    kind = dice.choice(list(CLIENTS))
    chunk = max(64 * 1024, int(size * dice.choice([0.13, 0.3, 1.0])))
    upload = Upload(number, kind, some_bytes(size, dice.getrandbits(32)), chunk, directory, endpoint)
    upload.path.write_bytes(upload.data)
    return upload


def persistently(
    ask: Callable[[], requests.Response], good: Callable[[requests.Response], bool], gone: tuple[int, ...] = ()
) -> requests.Response:
    """The first good answer. Raises Broken for one that says that the upload is gone, and when none comes."""
    deadline = time.monotonic() + PATIENCE
    last: object = None
    while time.monotonic() < deadline:
        try:
            answer = ask()
        except requests.RequestException as error:
            last = error
        else:
            if good(answer):
                return answer
            if answer.status_code in gone:
                raise Broken(f"{answer.request.method} {answer.url} says {answer.status_code}: {answer.text}")
            last = (answer.status_code, answer.text)
        time.sleep(RETRY)
    raise Broken(f"no good answer in {PATIENCE} s; at last {last}")


def witness(upload: Upload) -> None:
    """HTTP by hand, in PATCHes of which some end in the middle, with every answer written down."""
    dice = random.Random(upload.number)
    said = {**TUS, "Upload-Length": str(len(upload.data)), "Upload-Metadata": metadata(filename="witness.mp4")}
    created = persistently(
        lambda: requests.post(upload.endpoint, headers=said, timeout=30), lambda a: a.status_code == 201
    )
    upload.at(created.headers["Location"])
    url = created.headers["Location"]
    while upload.acknowledged < len(upload.data):
        begin, stop = upload.acknowledged, min(len(upload.data), upload.acknowledged + upload.chunk)
        patch = {**OCTETS, "Upload-Offset": str(begin)}
        body: Any = upload.data[begin:stop]
        if dice.random() < 0.3:
            body = _cut(upload.data[begin:stop], dice)
        try:
            answer = requests.patch(url, data=body, headers=patch, timeout=30)
        except requests.RequestException:
            answer = None
        if answer is not None and answer.status_code == 204:
            upload.told(int(answer.headers["Upload-Offset"]), "PATCH")
            continue
        if answer is not None and answer.status_code in (404, 410):
            raise Broken(f"PATCH of {url} says {answer.status_code}")
        upload.retries += 1
        head = persistently(
            lambda: requests.head(url, headers=TUS, timeout=30), lambda a: a.status_code == 200, gone=(404, 410)
        )
        upload.told(int(head.headers["Upload-Offset"]), "HEAD")


def _cut(data: bytes, dice: random.Random) -> Any:
    """A body that breaks off."""

    def blocks() -> Any:
        stop = dice.randrange(len(data) + 1)
        for at in range(0, stop, 65536):
            yield data[at : min(at + 65536, stop)]
        raise OSError("the network is gone")

    return blocks()


def by_tuspy(upload: Upload) -> None:
    """tuspy with a URL storage, started again where it gave up."""
    job = {
        "url": upload.endpoint,
        "path": str(upload.path),
        "options": {"chunk_size": upload.chunk, "retries": 3, "retry_delay": 1},
        "storage": str(upload.directory / f"storage-{upload.number}.json"),
    }
    _again_and_again(upload, tuspy(), job)


def by_tus_js(upload: Upload) -> None:
    """tus-js-client with a URL storage and its retries, started again where it gave up."""
    job = {
        "path": str(upload.path),
        "options": {
            "endpoint": upload.endpoint,
            "chunkSize": upload.chunk,
            "retryDelays": [200, 500, 1000, 1000, 2000],
            "removeFingerprintOnSuccess": False,
        },
        "storage": str(upload.directory / f"storage-{upload.number}.json"),
    }
    _again_and_again(upload, tus_js(), job)


def _again_and_again(upload: Upload, command: list[str], job: dict[str, Any]) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with Client(command, {**job, "resume": upload.url is not None}) as client:
            for event in client.all():
                _heard(upload, event)
        ended = client.events[-1] if client.events else {}
        if ended.get("event") == "finished":
            return upload.at(str(ended["url"]))
        upload.retries += 1
        time.sleep(RETRY)
    raise Broken(f"{upload.kind} {upload.number}: not through in {PATIENCE} s")


def _heard(upload: Upload, event: dict[str, Any]) -> None:
    match event:
        case {"event": "begun", "offset": offset, "url": str(url)}:
            upload.at(url)
            upload.told(offset, "HEAD")
        case {"event": "part", "offset": offset}:
            upload.told(offset, "PATCH")
        case {"event": "response", "method": "POST", "status": 201, "location": url}:
            upload.at(url)
        case {"event": "response", "method": "HEAD", "status": 200, "offset": offset}:
            upload.told(int(offset), "HEAD")
        case {"event": "response", "method": "HEAD", "status": 404 | 410 as status}:
            raise Broken(f"{upload.kind} {upload.number}: HEAD says {status}")
        case {"event": "retry" | "failed"}:
            upload.retries += 1


CLIENTS: dict[str, Callable[[Upload], None]] = {"witness": witness, "tuspy": by_tuspy, "tus-js": by_tus_js}
