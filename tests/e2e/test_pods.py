"""Several servers over one MongoDB: any of them continues any upload, and one that is paused or cut off harms none."""

from __future__ import annotations

import secrets
import signal
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import AsyncMongoClient, MongoClient, monitoring

from tests.e2e.server import TUS, ServerProcess, freeze, received, some_bytes, wait_for
from tests.e2e.test_interruptions import in_queue
from tests.mongod import ReplicaSet, replica_set, shared_replica_set
from tests.serving import serving
from tusserver import Settings, create_app
from tusserver.stores.mongodb import settled

MIB = 1024 * 1024
DATA = some_bytes(3 * MIB)
Starter = Callable[..., ServerProcess]


@pytest.fixture
def database() -> Iterator[str]:
    name = f"pods-{secrets.token_hex(4)}"
    yield name
    with MongoClient[Any](shared_replica_set().url) as client:
        client.drop_database(name)


@pytest.fixture
def storage() -> str | None:
    """Where the bytes are; None: in a directory that the servers share."""
    return None


everywhere = pytest.mark.parametrize("storage", [None, "gridfs:"], ids=["directory", "gridfs"])


@pytest.fixture
def pod(start: Starter, database: str, storage: str | None) -> Starter:
    """Start one more server over the same MongoDB and, unless told otherwise, the same bytes."""

    def starter(**settings: object) -> ServerProcess:
        kept: dict[str, object] = {"sessions": "mongodb:", "mongo_url": shared_replica_set().url, "db_name": database}
        if storage is not None:
            kept["storage"] = storage
        return start(**{**kept, **settings})

    return starter


def at(pod: ServerProcess, url: str) -> str:
    """The upload at this server."""
    return f"{pod.url}/{url.rsplit('/', 1)[1]}"


def hung(pod: ServerProcess, url: str, offset: int, stop: int) -> socket.socket:
    """A PATCH of all that is left, of which the bytes up to ``stop`` come, and have been counted."""
    raw = pod.opened_patch(at(pod, url), offset, len(DATA) - offset)
    raw.sendall(DATA[offset:stop])
    return raw


def counted(database: str, url: str, offset: int, mongo_url: str | None = None) -> None:
    """Wait until the session says this offset, without disturbing the writer."""
    with MongoClient[Any](mongo_url or shared_replica_set().url) as client:
        query = {"_id": url.rsplit("/", 1)[1], "offset": offset}
        wait_for(lambda: client[database].uploads.find_one(query), what=f"offset {offset}")


@everywhere
def test_each_pod_continues_what_another_began(pod: Starter, database: str) -> None:
    a, b, c = pod(), pod(), pod()
    url = a.create(len(DATA))
    assert b.patch(at(b, url), 0, DATA[:MIB]).status_code == 204
    assert c.offset(at(c, url)) == MIB
    assert c.patch(at(c, url), MIB, DATA[MIB : 2 * MIB]).status_code == 204
    assert a.patch(url, 2 * MIB, DATA[2 * MIB :]).status_code == 204
    assert all(each.stored(at(each, url)) == DATA for each in (a, b, c))
    assert requests.delete(at(b, url), headers=TUS, timeout=20).status_code == 204
    assert c.head(at(c, url)).status_code == 404
    assert lies_about(a, database) == []


@everywhere
@pytest.mark.parametrize("newcomer", ["PATCH", "HEAD", "DELETE"])
def test_a_hung_connection_on_another_pod_is_taken_over_within_a_second(
    pod: Starter, database: str, newcomer: str
) -> None:
    a, b = pod(), pod()
    url = a.create(len(DATA))
    raw = hung(a, url, 0, MIB)
    counted(database, url, MIB)
    started = time.monotonic()
    if newcomer == "PATCH":
        assert b.patch(at(b, url), MIB, DATA[MIB:]).status_code == 204
    elif newcomer == "HEAD":
        assert b.offset(at(b, url)) == MIB
    else:
        assert requests.delete(at(b, url), headers=TUS, timeout=20).status_code == 204
    assert time.monotonic() - started < 1.0
    assert raw.recv(65536).startswith(b"HTTP/1.1 409")
    if newcomer == "PATCH":
        assert a.stored(url) == DATA


def lies_about(pod: ServerProcess, database: str) -> list[str]:
    """What is in the directory, or the uploads that GridFS has or is receiving."""
    with MongoClient[Any](shared_replica_set().url) as client:
        mongo = client[database]
        chunked = [
            document["_id"] for document in mongo["uploads.chunks"].aggregate([{"$group": {"_id": "$files_id"}}])
        ]
        return [*pod.held(), *chunked, *(document["_id"] for document in mongo["uploads.unfinished"].find())]


def test_what_the_old_pod_had_received_is_kept_when_another_takes_over(pod: Starter, database: str) -> None:
    a, b = pod(progress_every="1400ms"), pod()
    url = a.create(len(DATA))
    raw = hung(a, url, 0, MIB)
    counted(database, url, MIB)
    raw.sendall(DATA[MIB : MIB + 5000])  # too late for this heartbeat
    wait_for(lambda: (a.uploads / "parts").iterdir() and _size(a) == MIB + 5000)
    assert b.offset(at(b, url)) == MIB + 5000


def _size(pod: ServerProcess) -> int:
    return sum(path.stat().st_size for path in (pod.uploads / "parts").iterdir())


@everywhere
def test_a_pod_that_was_paused_finds_itself_fenced(pod: Starter, database: str) -> None:
    a, b = pod(), pod()
    url = a.create(len(DATA))
    raw = hung(a, url, 0, MIB)
    counted(database, url, MIB)
    assert a.process is not None
    freeze(a.pid)
    other = bytes(len(DATA) - MIB)
    raw.sendall(other[: MIB // 4])  # what it will find on its connection when it wakes up, and write
    started = time.monotonic()
    assert b.patch(at(b, url), MIB, DATA[MIB : 2 * MIB]).status_code == 204
    assert time.monotonic() - started < 5
    a.process.send_signal(signal.SIGCONT)
    assert raw.recv(65536).startswith(b"HTTP/1.1 409")
    assert b.offset(at(b, url)) == 2 * MIB
    assert a.patch(url, 2 * MIB, DATA[2 * MIB :]).status_code == 204
    assert b.stored(at(b, url)) == DATA
    wait_for(lambda: lies_about(a, database) == [url.rsplit("/", 1)[1]], what="nothing to be left over")


@everywhere
def test_a_killed_pods_upload_goes_on_elsewhere(pod: Starter, database: str) -> None:
    a, b = pod(), pod()
    url = a.create(len(DATA))
    hung(a, url, 0, MIB)
    counted(database, url, MIB)
    a.kill()
    started = time.monotonic()
    assert b.offset(at(b, url)) == MIB
    assert time.monotonic() - started < 5
    assert b.patch(at(b, url), MIB, DATA[MIB:]).status_code == 204
    assert b.stored(at(b, url)) == DATA


def test_the_timeline_says_what_happened(pod: Starter, database: str) -> None:
    a, b = pod(), pod()
    url = a.create(len(DATA))
    hung(a, url, 0, MIB).close()
    counted(database, url, MIB)
    assert b.patch(at(b, url), MIB, DATA[MIB:]).status_code == 204
    with MongoClient[Any](shared_replica_set().url) as client:
        found = client[database].uploads.find_one({"_id": url.rsplit("/", 1)[1]})
    assert found is not None
    timeline = found["timeline"]
    assert [moment["what"] for moment in timeline] == [
        "created", "taken", "received", "client_gone", "taken", "received", "completed",
    ]  # fmt: skip
    assert timeline[1]["by"] != timeline[4]["by"]
    assert [moment["offset"] for moment in timeline[1:4]] == [0, MIB, MIB]


# The mistake of the old system


def test_a_directory_that_is_not_shared_is_found_out(pod: Starter, tmp_path: Path) -> None:
    a, b = pod(sweep_every="100ms"), pod(storage=f"disk://{tmp_path}/elsewhere")
    url = a.create(len(DATA))
    assert a.patch(url, 0, DATA[:MIB]).status_code == 204
    ready = requests.get(f"{b.origin}/readyz", timeout=10)
    assert ready.status_code == 503
    assert ready.json()["error"] == "bytes_elsewhere"
    assert "mount the same volume" in ready.json()["message"]
    assert requests.get(f"{a.origin}/readyz", timeout=10).status_code == 200

    assert b.offset(at(b, url)) == MIB  # that much is known
    refused = b.patch(at(b, url), MIB, DATA[MIB:])
    assert (refused.status_code, refused.headers["Tus-Resumable"]) == (503, "1.0.0")
    assert "Retry-After" in refused.headers
    assert "does not share" in refused.text
    assert "bytes_elsewhere" in b.log.read_text()
    assert requests.post(b.url, headers={**TUS, "Upload-Length": "5"}, timeout=10).status_code == 503
    assert list((tmp_path / "elsewhere" / "parts").iterdir()) == []

    assert a.patch(url, MIB, DATA[MIB:]).status_code == 204
    assert requests.get(at(b, url), timeout=10).status_code == 503
    assert a.stored(url) == DATA
    assert requests.delete(at(b, url), headers=TUS, timeout=10).status_code == 204
    wait_for(lambda: a.held() == [], what="the pod that has the bytes to delete them")


# MongoDB away


@pytest.fixture
def alone() -> Iterator[ReplicaSet]:
    with replica_set() as made:
        yield made


def test_mongodb_away_costs_no_byte_that_arrived(start: Starter, alone: ReplicaSet) -> None:
    options = "&timeoutMS=1500&serverSelectionTimeoutMS=1500&connectTimeoutMS=500&heartbeatFrequencyMS=500"
    settings = {"sessions": "mongodb:", "mongo_url": alone.url + options, "sweep_every": "200ms"}
    a, b = start(**settings), start(**settings)
    half, full = a.create(len(DATA)), a.create(len(DATA))
    first, second = hung(a, half, 0, MIB), hung(a, full, 0, MIB)
    counted("tusserver", half, MIB, alone.url)
    counted("tusserver", full, MIB, alone.url)
    (node,) = alone.nodes
    node.kill()

    first.sendall(DATA[MIB : 2 * MIB])
    first.shutdown(socket.SHUT_WR)
    second.sendall(DATA[MIB:])
    answer = second.recv(65536).decode().lower()
    assert answer.startswith("http/1.1 503")
    assert "retry-after" in answer
    assert "upload-offset" not in answer  # nobody knows
    for pod in (a, b):
        started = time.monotonic()
        asked = pod.head(at(pod, full))
        assert (asked.status_code, "Retry-After" in asked.headers) == (423, True)
        assert "Upload-Offset" not in asked.headers
        assert requests.get(f"{pod.origin}/readyz", timeout=10).status_code == 503
        assert requests.get(f"{pod.origin}/healthz", timeout=10).status_code == 200
        assert time.monotonic() - started < 6
    node.start()
    wait_for(lambda: requests.get(f"{b.origin}/readyz", timeout=10).ok, what="readiness")

    counted("tusserver", full, len(DATA), alone.url)
    counted("tusserver", half, 2 * MIB, alone.url)
    assert b.patch(at(b, half), 2 * MIB, DATA[2 * MIB :]).status_code == 204
    assert b.stored(at(b, half)) == b.stored(at(b, full)) == DATA


def test_a_pod_starts_while_mongodb_is_away(start: Starter, alone: ReplicaSet) -> None:
    (node,) = alone.nodes
    node.kill()
    options = "&timeoutMS=1000&serverSelectionTimeoutMS=1000&connectTimeoutMS=500&heartbeatFrequencyMS=500"
    pod = start(sessions="mongodb:", mongo_url=alone.url + options)
    assert requests.get(f"{pod.origin}/readyz", timeout=10).status_code == 503
    answer = requests.post(pod.url, headers={**TUS, "Upload-Length": "5"}, timeout=10)
    assert (answer.status_code, "Retry-After" in answer.headers) == (503, True)
    node.start()
    wait_for(lambda: requests.get(f"{pod.origin}/readyz", timeout=10).ok, what="readiness")
    url = pod.create(5)
    assert pod.patch(url, 0, b"hello").status_code == 204


def test_whoever_waits_is_told_when_its_server_ends(pod: Starter, database: str) -> None:
    a, b = pod(lease_ttl="20s", patience="30s"), pod(lease_ttl="20s", patience="30s")
    url = a.create(len(DATA))
    hung(a, url, 0, MIB)
    counted(database, url, MIB)
    assert a.process is not None
    freeze(a.pid)
    with ThreadPoolExecutor(1) as pool:
        head = pool.submit(b.head, at(b, url), 30)
        wait_for(lambda: _contested(database, url), what="the HEAD to wait for the lease")
        assert b.terminate(seconds=20) < 5
        assert head.result().status_code == 423
    a.process.send_signal(signal.SIGCONT)
    assert "Traceback" not in b.log.read_text()


def _contested(database: str, url: str) -> Any:
    with MongoClient[Any](shared_replica_set().url) as client:
        query = {"_id": url.rsplit("/", 1)[1], "lease.contest": {"$ne": None}}
        return client[database].uploads.find_one(query)


def test_a_server_ends_in_time_although_mongodb_does_not_answer(start: Starter, alone: ReplicaSet) -> None:
    pod = start(sessions="mongodb:", mongo_url=alone.url)
    url = pod.create(5)
    (node,) = alone.nodes
    node.signal(signal.SIGSTOP)
    with socket.create_connection(("127.0.0.1", pod.port), timeout=30) as head:
        head.sendall(f"HEAD {url[len(pod.origin) :]} HTTP/1.1\r\nHost: x\r\nTus-Resumable: 1.0.0\r\n\r\n".encode())
        wait_for(lambda: in_queue(head) == 0 and requests.get(f"{pod.origin}/healthz", timeout=10).ok)
        assert pod.terminate(seconds=30) < 15
        assert received(head, b"\r\n\r\n").startswith(b"HTTP/1.1 423")
    node.signal(signal.SIGCONT)
    assert "Traceback" not in pod.log.read_text(), pod.log.read_text()


# An application's own client


class Counted(monitoring.CommandListener):
    """What a client asked of the sessions: each change, and each look at one upload. (Looks for contests and for final
    uploads go on beside the requests, and name no id.)"""

    def __init__(self) -> None:
        self.names: list[str] = []

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        command = event.command
        asked = command.get("filter") or command.get("query") or {}
        if command.get(event.command_name) == "uploads" and "_id" in asked:
            self.names.append(event.command_name)

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        pass

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        pass

    def during(self, request: Callable[[], requests.Response]) -> list[str]:
        self.names.clear()
        assert request().ok
        return list(self.names)


@pytest.mark.parametrize("client", [AsyncMongoClient, AsyncIOMotorClient])
def test_an_applications_own_client_and_round_trips(database: str, tmp_path: Path, client: Any) -> None:
    counted = Counted()
    own = client(shared_replica_set().url, event_listeners=[counted])
    settings = Settings(sessions="mongodb:", db_name=database, storage=f"disk://{tmp_path}/uploads")
    app = create_app(settings, mongo_client=own)

    async def close() -> None:
        await own.admin.command("ping")  # it was left open
        await settled(own.close())

    with serving(app, after=close) as origin:
        base = f"{origin}/files"
        said = {**TUS, "Upload-Length": str(len(DATA))}
        url = requests.post(base, headers=said, timeout=20).headers["Location"]
        patch = {**TUS, "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}

        def append() -> requests.Response:
            return requests.patch(url, data=DATA, headers=patch, timeout=20)

        assert counted.during(append) == ["findAndModify", "findAndModify"]
        assert counted.during(lambda: requests.head(url, headers=TUS, timeout=20)) == ["find"]
        assert requests.get(url, timeout=20).content == DATA


def test_mongodb_sessions_without_a_url_are_said_to_need_one(tmp_path: Path) -> None:
    from tests.command import run

    result = run("serve", "--sessions", "mongodb:", cwd=tmp_path)
    assert result.returncode != 0
    assert "--mongo-url" in result.stderr
    assert "Traceback" not in result.stderr
