"""A disk that takes its time: whoever needs it waits for it, and nobody else does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median

import pytest
import requests

from tests.disks import Disk, disk_at
from tests.e2e.measured import MeasuredServer
from tests.e2e.server import OCTETS, TUS, some_bytes, wait_for
from tusserver.connection import WORTH_CLAIMING
from tusserver.stores.here import PAUSE

Start = Callable[..., MeasuredServer]

KIB = 1024
SLOWNESS = 0.5
WRITING = ("statfs", "write", "fsync")
"""What of an upload the disk is slow at. The kernel makes and syncs names in one directory one after the other, so that
with those the test would only take longer."""
STALL = 0.9 * SLOWNESS
"""Seconds for which an event loop is held up that waits for the disk; a busy machine does so for less."""


@pytest.fixture
def slow_disk(tmp_path: Path) -> Iterator[Disk]:
    """Quick at first."""
    with disk_at(tmp_path / "disk") as disk:
        yield disk


@pytest.fixture
def start(slow_disk: Disk) -> Iterator[Start]:
    """Start measured servers whose uploads lie on the disk."""
    servers: list[MeasuredServer] = []

    def starter(*, near: bool = False, **settings: object) -> MeasuredServer:
        server = MeasuredServer(
            slow_disk.path.parent, {"storage": f"disk://{slow_disk.path}/uploads", **settings}, near=near
        )
        servers.append(server)
        server.start()
        return server

    yield starter
    slow_disk.release()
    for server in servers:
        server.stop()


@contextmanager
def load(server: MeasuredServer, *, large: int = 0, small: int = 0) -> Iterator[list[int]]:
    """Clients that upload 128 KiB by one PATCH, and clients that make uploads of 16 KiB, each over and over;
    the statuses they are answered."""
    stop, statuses = threading.Event(), list[int]()
    much, little = some_bytes(WORTH_CLAIMING), some_bytes(16 * KIB)

    def patch(client: requests.Session) -> int:
        url = client.post(server.url, headers={**TUS, "Upload-Length": str(len(much))}, timeout=60).headers["Location"]
        return client.patch(url, data=much, headers={**OCTETS, "Upload-Offset": "0"}, timeout=60).status_code

    def create(client: requests.Session) -> int:
        length = {"Upload-Length": str(len(little))}
        return client.post(server.url, data=little, headers={**OCTETS, **length}, timeout=60).status_code

    def again_and_again(request: Callable[[requests.Session], int]) -> None:
        with requests.Session() as client:
            while not stop.is_set():
                statuses.append(request(client))

    kinds = [patch] * large + [create] * small
    clients = [threading.Thread(target=again_and_again, args=(kind,)) for kind in kinds]
    for client in clients:
        client.start()
    try:
        yield statuses
    finally:
        stop.set()
        for client in clients:
            client.join(60)


class Answers(threading.Thread):
    """A client that needs nothing of the disk: the seconds that each answer took."""

    def __init__(self, server: MeasuredServer, other: str) -> None:
        super().__init__()
        self.waits: list[float] = []
        self.stopping = threading.Event()
        self._requests = (("HEAD", other), ("GET", f"{server.origin}/healthz"))

    def run(self) -> None:
        with requests.Session() as client:
            while not self.stopping.is_set():
                for method, url in self._requests:
                    began = time.monotonic()
                    status = client.request(method, url, headers=TUS, timeout=60).status_code
                    self.waits.append(time.monotonic() - began if status == 200 else float("inf"))


@pytest.mark.parametrize(
    ("way", "durability", "database"),
    [
        ("direct", "safe", False),
        ("plain", "safe", False),
        ("direct", "safe", True),
        ("direct", "page-cache", False),
        ("plain", "page-cache", False),
    ],
)
def test_a_slow_disk_holds_up_nobody_else(
    slow_disk: Disk, start: Start, way: str, durability: str, database: bool
) -> None:
    """``database``: the sessions are on that disk too, and wait for it to sync."""
    sessions = slow_disk.path if database else slow_disk.path.parent
    server = start(direct=way == "direct", durability=durability, sessions=f"sqlite://{sessions}/sessions.db")
    others = Answers(server, server.create(1000))
    server.stalls()
    slow_disk.order(slow=dict.fromkeys(("fsync",) if database else WRITING, SLOWNESS))
    with load(server, large=8, small=4) as statuses:
        others.start()
        wait_for(lambda: {201, 204} <= {*statuses}, seconds=100, what="uploads over a slow disk")
        slow_disk.release()
    others.stopping.set()
    others.join(60)
    stalls = server.stalls()
    assert {*statuses} == {201, 204}
    assert [each for each in stalls if each > STALL] == []
    if not database:
        assert median(others.waits) < STALL


@pytest.mark.parametrize("clients", [1, 8])
def test_what_is_written_in_the_loop_holds_it_up_once(slow_disk: Disk, start: Start, clients: int) -> None:
    """Where the disk is near, and slow for longer than a pause: the loop notices, and leaves it to threads then."""
    server = start(near=True, durability="page-cache")
    stalls: list[float] = []
    with load(server, small=clients) as statuses:
        while not stalls:  # there are none where the machine was so busy just before that threads do it anyway
            wait_for(partial(grown, statuses, len(statuses) + 10), what="small uploads")
            server.stalls()
            slow_disk.order(slow=dict.fromkeys(WRITING, SLOWNESS))
            wait_for(partial(passed, time.monotonic() + 2 * PAUSE), what="a pause to pass")
            slow_disk.release()
            stalls = [each for each in server.stalls() if each > STALL]
    assert {*statuses} == {201}
    assert len(stalls) == 1


def grown(statuses: list[int], to: int) -> bool:
    return len(statuses) >= to


def passed(moment: float) -> bool:
    return time.monotonic() > moment
