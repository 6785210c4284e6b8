"""Clients that people use, each in a process of its own (the programs in ``tests/clients``)."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

from tests.e2e.server import ServerProcess, sha256, some_bytes

PROGRAMS = Path(__file__).parent.parent / "clients"
Event = dict[str, Any]


def tus_js() -> list[str]:
    """The command that runs tus-js-client; skips the test where it is not installed."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("needs Node.js 18 or newer, and then: (cd tests/clients && npm ci)")
    if not (PROGRAMS / "node_modules" / "tus-js-client").is_dir():
        pytest.skip("needs its packages: (cd tests/clients && npm ci)")
    return [node, str(PROGRAMS / "upload.mjs")]


def tuspy() -> list[str]:
    """The command that runs tuspy."""
    return [sys.executable, str(PROGRAMS / "upload.py")]


class Client:
    """One run of a client program: ``job`` as the program describes it. ``events`` are those seen so far."""

    def __init__(self, command: list[str], job: dict[str, Any]) -> None:
        self.events: list[Event] = []
        self._process = subprocess.Popen([*command, json.dumps(job)], stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.kill()

    def until(self, event: str, **values: object) -> Event:
        """The next event of this name with these values; fails when the program ends before."""
        for seen in self.all():
            if {**seen, "event": event, **values} == seen:
                return seen
        raise AssertionError(f"no {event} {values}; at last {self.events[-5:]}")

    def all(self) -> Iterator[Event]:
        """What is still to come."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            seen: Event = json.loads(line)
            self.events.append(seen)
            yield seen

    def finish(self) -> str:
        """Wait for the end, which has to be a good one; the upload's URL."""
        url = str(self.until("finished")["url"])
        assert self._process.wait() == 0
        return url

    def seen(self, event: str, **values: object) -> list[Event]:
        """The events of this name with these values so far."""
        return [seen for seen in self.events if {**seen, "event": event, **values} == seen]

    def kill(self) -> None:
        """kill -9, unless it has ended."""
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


def source(directory: Path, size: int, name: str = "source") -> Path:
    """Something to upload."""
    path = directory / name
    path.write_bytes(some_bytes(size))
    return path


def assert_same(server: ServerProcess, url: str, path: Path) -> None:
    """The upload has the bytes of its source, whatever proxy it came through."""
    upload_id = url.rsplit("/", 1)[1]
    assert sha256(server.stored(f"{server.url}/{upload_id}")) == sha256(path.read_bytes())
