"""What requests cost, in figures that are the same on every machine: calls, bytes copied, pages touched, round trips.
A bound is about half as much again as what it costs today."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pytest
import requests
from pymongo import MongoClient

from tests.e2e.server import OCTETS, TUS, ServerProcess, some_bytes
from tests.mongod import shared_replica_set

MIB = 1024 * 1024
BIG = 64
SMALL = 16 * 1024
TIMES = 50
BOTH_WAYS = pytest.mark.parametrize("way", ["direct", "plain"], indirect=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """What a process has done so far: calls of the kind of ``read`` and of ``write``, the bytes that went through it
    that way, and pages that it touched for the first time. What is spliced is none of it."""

    reads: float
    writes: float
    bytes_in: float
    bytes_out: float
    faults: float

    @classmethod
    def of(cls, server: ServerProcess) -> Cost:
        lines = Path(f"/proc/{server.pid}/io").read_text().splitlines()
        said = {name: int(value) for name, value in (line.split(": ") for line in lines)}
        faults = int(Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()[7])
        io = {"reads": "syscr", "writes": "syscw", "bytes_in": "rchar", "bytes_out": "wchar"}
        return cls(**{name: said[key] for name, key in io.items()}, faults=faults)

    def since(self, before: Cost, units: int) -> Cost:
        """What each of so many units has cost since then."""
        names = [each.name for each in fields(self)]
        return Cost(**{name: (getattr(self, name) - getattr(before, name)) / units for name in names})

    def exceeds(self, bound: Cost) -> list[str]:
        names = [each.name for each in fields(self)]
        found = [(name, getattr(self, name), getattr(bound, name)) for name in names]
        return [f"{name}: {value:.1f}, at most {most:.1f}" for name, value, most in found if value > most]


@pytest.fixture
def client() -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.headers.update(TUS)
        yield session


def patched(client: requests.Session, url: str, data: bytes) -> None:
    answer = client.patch(url, data=data, headers={**OCTETS, "Upload-Offset": "0"}, timeout=60)
    assert answer.status_code == 204, answer.text


def each_of(server: ServerProcess, times: int, request: Callable[[int], object]) -> Cost:
    """What one costs, after one that has warmed things up."""
    request(0)
    before = Cost.of(server)
    for number in range(1, times + 1):
        request(number)
    return Cost.of(server).since(before, times)


PER_MIB = {
    "direct": Cost(reads=1, writes=1.5, bytes_in=16_000, bytes_out=16_000, faults=8),
    "plain": Cost(reads=12, writes=10, bytes_in=1.1 * MIB, bytes_out=1.1 * MIB, faults=16),
}
"""By way. A body goes through the plain one exactly once; what it lies in meanwhile is used again."""


@BOTH_WAYS
def test_a_mebibyte_of_a_long_patch(server: ServerProcess, client: requests.Session, way: str) -> None:
    data = some_bytes(BIG * MIB)
    urls = [server.create(len(data)) for _ in range(3)]
    patched(client, urls[0], data)
    patched(client, urls[1], data)
    before = Cost.of(server)
    patched(client, urls[2], data)
    assert Cost.of(server).since(before, BIG).exceeds(PER_MIB[way]) == []


@BOTH_WAYS
def test_small_requests_with_sqlite(server: ServerProcess, client: requests.Session) -> None:
    data = some_bytes(SMALL)
    urls = [server.create(SMALL) for _ in range(TIMES + 1)]
    length = {"Upload-Length": str(SMALL)}
    head = each_of(server, TIMES, lambda number: client.head(urls[0], timeout=20))
    create = each_of(server, TIMES, lambda number: client.post(server.url, headers=length, timeout=20))
    patch = each_of(server, TIMES, lambda number: patched(client, urls[number], data))
    whole = each_of(
        server, TIMES, lambda number: client.post(server.url, data=data, headers={**OCTETS, **length}, timeout=20)
    )
    few = 4  # pages
    assert head.exceeds(Cost(reads=2, writes=3, bytes_in=1_000, bytes_out=1_000, faults=few)) == []
    assert create.exceeds(Cost(reads=5, writes=19, bytes_in=1_000, bytes_out=28_000, faults=few)) == []
    assert patch.exceeds(Cost(reads=15, writes=38, bytes_in=50_000, bytes_out=80_000, faults=few)) == []
    assert whole.exceeds(Cost(reads=12, writes=42, bytes_in=30_000, bytes_out=87_000, faults=few)) == []


def test_small_requests_that_need_not_reach_the_disk(
    start: Callable[..., ServerProcess], client: requests.Session
) -> None:
    """In one go: a thread, a second transaction or a lease would show as twice the writes. What a busy machine has made
    slow is done by threads for a while, so that it is asked again until it is not."""
    server = start(durability="page-cache")
    data, length = some_bytes(SMALL), {"Upload-Length": str(SMALL)}

    def exceeding() -> list[str]:
        urls = [server.create(SMALL) for _ in range(TIMES + 1)]
        patch = each_of(server, TIMES, lambda number: patched(client, urls[number], data))
        whole = each_of(
            server, TIMES, lambda number: client.post(server.url, data=data, headers={**OCTETS, **length}, timeout=20)
        )
        return [
            *patch.exceeds(Cost(reads=4, writes=15, bytes_in=30_000, bytes_out=46_000, faults=4)),
            *whole.exceeds(Cost(reads=3, writes=17, bytes_in=26_000, bytes_out=50_000, faults=4)),
        ]

    deadline = time.monotonic() + 60
    while found := exceeding():
        assert time.monotonic() < deadline, found


class Profiled:
    """A database of its own that notes what it is asked."""

    def __init__(self, database: Any) -> None:
        self._database = database

    def asked_by(self, request: Callable[[], object]) -> list[str]:
        """The commands that the request has cost: those that name an upload. What the server asks from time to time for
        itself names none."""
        self._database.command("profile", 2)
        request()
        self._database.command("profile", 0)
        noted = [
            each["command"] for each in self._database["system.profile"].find({"ns": f"{self._database.name}.uploads"})
        ]
        self._database.drop_collection("system.profile")
        return [next(iter(each)) for each in noted if "_id" in each.get("filter", each.get("query", {}))]


@pytest.fixture
def profiled() -> Iterator[tuple[str, Profiled]]:
    name = f"costs-{secrets.token_hex(4)}"
    with MongoClient[Any](shared_replica_set().url) as client:
        yield name, Profiled(client[name])
        client.drop_database(name)


FIND, CHANGE = "find", "findAndModify"


def test_round_trips_to_mongodb(
    start: Callable[..., ServerProcess], client: requests.Session, profiled: tuple[str, Profiled]
) -> None:
    name, database = profiled
    server = start(sessions="mongodb:", mongo_url=shared_replica_set().url, db_name=name)

    def asked(status: int, method: str, url: str, data: bytes = b"", **said: object) -> list[str]:
        headers = OCTETS | {name.replace("_", "-"): str(value) for name, value in said.items()}

        def request() -> None:
            assert client.request(method, url, data=data, headers=headers, timeout=20).status_code == status

        return database.asked_by(request)

    data = some_bytes(SMALL)
    url, deferred = server.create(SMALL), server.create(None)
    assert asked(201, "POST", server.url, Upload_Length=SMALL) == [CHANGE]
    assert asked(201, "POST", server.url, data, Upload_Length=SMALL) == [CHANGE, CHANGE]
    assert asked(200, "HEAD", url) == [FIND]
    assert asked(204, "PATCH", url, data, Upload_Offset=0) == [CHANGE, CHANGE]
    assert asked(204, "PATCH", url, Upload_Offset=SMALL) == [CHANGE, FIND]  # it is complete
    assert asked(409, "PATCH", url, data, Upload_Offset=0) == [CHANGE, FIND]
    assert asked(409, "PATCH", url, data, Upload_Offset=2**63 - 1) == [FIND]
    assert asked(204, "PATCH", deferred, data, Upload_Offset=0) == [CHANGE, CHANGE]
    assert asked(204, "PATCH", deferred, Upload_Offset=SMALL, Upload_Length=SMALL) == [FIND, CHANGE, CHANGE]
