"""One client at full speed beside 500 slow ones: none of them waits for it to end, nor does anybody else."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles

import pytest
import requests

from tests.disks import small_disk_at
from tests.e2e.server import TUS, ServerProcess, some_bytes, wait_for

pytestmark = pytest.mark.parametrize("way", ["direct", "plain"], indirect=True)

MIB = 1024 * 1024
SLOW = 500
LENGTH = 200_000
PIECE = some_bytes(1000)
ROUNDS = 3
WORSE = 20
"""How many times longer something may take beside a fast client than without it; starved, it would take for ever."""


class Fast(threading.Thread):
    """Uploads 64 MiB over and over, as fast as it can."""

    def __init__(self, server: ServerProcess) -> None:
        super().__init__()
        self._server = server
        self.stopping = threading.Event()
        self.statuses: list[int] = []

    def run(self) -> None:
        data = bytes(64 * MIB)
        while not self.stopping.is_set():
            url = self._server.create(len(data))
            self.statuses.append(self._server.patch(url, 0, data).status_code)
            requests.delete(url, headers=TUS, timeout=20)


@contextmanager
def fast(server: ServerProcess) -> Iterator[Fast]:
    client = Fast(server)
    client.start()
    try:
        wait_for(lambda: client.statuses, what="its first upload")
        yield client
    finally:
        client.stopping.set()
        client.join()


class Slow:
    """Clients that send PIECE by PIECE, all of them at once."""

    def __init__(self, server: ServerProcess, parts: Path) -> None:
        self._parts = parts
        self._sent = 0
        with requests.Session() as session:
            headers = {**TUS, "Upload-Length": str(LENGTH)}
            self.urls = [session.post(server.url, headers=headers, timeout=20).headers["Location"] for _ in range(SLOW)]
        self.connections = [server.opened_patch(url, 0, LENGTH) for url in self.urls]
        self._files = {url.rsplit("/", 1)[1] for url in self.urls}

    def round(self) -> float:
        """Each sends a piece; the seconds until all of them lie in the files."""
        began = time.monotonic()
        for raw in self.connections:
            raw.sendall(PIECE)
        self._sent += len(PIECE)
        wait_for(self._arrived, seconds=60, what="what the slow ones have sent")
        return time.monotonic() - began

    def _arrived(self) -> bool:
        found = [path.stat().st_size for path in self._parts.iterdir() if path.name.partition(".")[0] in self._files]
        return len(found) == SLOW and min(found) >= self._sent


def head_p99(server: ServerProcess, url: str) -> float:
    """Of a hundred HEADs on one connection, seconds."""
    waits = []
    with requests.Session() as client:
        for _ in range(100):
            began = time.monotonic()
            assert client.head(url, headers=TUS, timeout=20).status_code == 200
            waits.append(time.monotonic() - began)
    return quantiles(waits, n=100)[98]


def test_a_fast_client_starves_nobody(start: Callable[..., ServerProcess], tmp_path: Path) -> None:
    with small_disk_at(tmp_path / "memory", "1g") as memory:
        server = start(durability="page-cache", storage=f"disk://{memory}/uploads")
        other = server.create(1000)
        slow = Slow(server, memory / "uploads" / "parts")
        slow.round()
        alone = [slow.round() for _ in range(ROUNDS)]
        head_alone = head_p99(server, other)
        with fast(server) as client:
            beside = [slow.round() for _ in range(ROUNDS)]
            head_beside = head_p99(server, other)
        print(
            f"rounds {median(alone):.3f} s, beside {median(beside):.3f} s; HEAD {head_alone:.4f} s, {head_beside:.4f} s"
        )
        assert {*client.statuses} == {204}
        assert median(beside) < WORSE * max(median(alone), 0.05)
        assert head_beside < WORSE * max(head_alone, 0.05)
        for raw in slow.connections:
            raw.close()
        offsets = {server.offset(url) for url in slow.urls}
        assert offsets == {(2 * ROUNDS + 1) * len(PIECE)}
        server.stop()
