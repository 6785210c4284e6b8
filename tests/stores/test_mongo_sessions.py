"""What MongoDB keeps of an upload, and what happens when it is away. (What every store does: the contract suite.)"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from bson.int64 import Int64
from msgspec.structs import replace
from pymongo import AsyncMongoClient, MongoClient, monitoring
from pymongo.database import Database

from tests.mongod import DRIVER_LEAKS, ReplicaSet, replica_set, shared_replica_set
from tests.stores.sessions import an_upload, leased
from tusserver.protocol.headers import build_metadata
from tusserver.protocol.refusals import StoreUnavailable, UploadNotFound
from tusserver.protocol.rules import Want
from tusserver.protocol.upload import Concat, Kind, Lease, Status, Upload
from tusserver.stores.base import Conflict, Query, SessionStore
from tusserver.stores.mongo import MongoSessions, selection
from tusserver.stores.mongodb import Mongo

pytestmark = [pytest.mark.anyio, DRIVER_LEAKS]

QUICK = "&timeoutMS=1500&serverSelectionTimeoutMS=1500&connectTimeoutMS=500&heartbeatFrequencyMS=500"


@pytest.fixture
def name() -> str:
    return f"test-{secrets.token_hex(4)}"


@pytest.fixture
async def sessions(name: str, anyio_backend: str) -> AsyncIterator[MongoSessions]:
    store = MongoSessions(Mongo(shared_replica_set().url, name))
    await store.start()
    yield store
    await store.close()


@pytest.fixture
def database(name: str) -> Iterator[Database[Any]]:
    """What somebody with mongosh sees."""
    with MongoClient[Any](shared_replica_set().url, tz_aware=True) as client:
        yield client[name]
        client.drop_database(name)


@pytest.fixture
def alone() -> Iterator[ReplicaSet]:
    """A replica set that the test may kill."""
    with replica_set() as made:
        yield made


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 60.0) -> None:
    """Return when the condition holds; fails when that takes longer."""
    deadline = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def _unleased(sessions: SessionStore) -> bool:
    return not (await sessions.get("u")).leased


async def _forgetting(client: MongoClient[Any]) -> bool:
    return "forgotten" in client.tusserver.uploads.index_information()


async def _more_than(things: list[int], count: int) -> bool:
    return len(things) > count


# The document


async def test_a_session_is_a_document_that_people_can_read(sessions: MongoSessions, database: Database[Any]) -> None:
    raw = build_metadata({"filename": "über.mp4".encode(), "project": b"42", "is_confidential": b""})
    upload = an_upload(length=5_000_000_000, metadata=raw, owner="ada", created_at=1e9, place="here", expires_at=2e9)
    upload = await sessions.create(leased(upload.noted("created"), "pod-a"))
    upload = await sessions.swap(upload, upload.advanced(3_000_000_000, now=1e9 + 5).released("client_gone"))
    await sessions.swap(upload, upload.to(Status.CANCELLED, now=1e9 + 60))
    found = database.uploads.find_one({"_id": "u"})
    assert found is not None
    timeline = found.pop("timeline")
    assert found.pop("written_at") == timeline[-1]["at"]
    assert found == {
        "_id": "u",
        "status": "cancelled",
        "kind": "whole",
        "offset": 3_000_000_000,
        "length": 5_000_000_000,
        "file_name": "über.mp4",
        "metadata": {"filename": "über.mp4", "project": "42", "is_confidential": ""},
        "upload_metadata": raw,
        "owner": "ada",
        "concat": None,
        "created_at": datetime.fromtimestamp(1e9, UTC),
        "updated_at": datetime.fromtimestamp(1e9 + 60, UTC),
        "expires_at": datetime.fromtimestamp(2e9, UTC),
        "completed_at": None,
        "cancelled_at": datetime.fromtimestamp(1e9 + 60, UTC),
        "expired_at": None,
        "ended_at": datetime.fromtimestamp(1e9 + 60, UTC),
        "parts": [{"token": 1, "start": 0, "stop": 3_000_000_000}],
        "token": 1,
        "lease": None,
        "stored": True,
        "place": "here",
        "version": 3,
    }
    assert [(moment["what"], moment["by"], moment["offset"]) for moment in timeline] == [
        ("created", None, 0),
        ("taken", "pod-a", 0),
        ("received", "pod-a", 3_000_000_000),
        ("client_gone", "pod-a", 3_000_000_000),
        ("cancelled", None, 3_000_000_000),
    ]
    assert all(abs(moment["at"] - datetime.now(UTC)) < timedelta(minutes=1) for moment in timeline)


async def test_bytes_are_64_bit_integers_however_few(sessions: MongoSessions, database: Database[Any]) -> None:
    await sessions.create(leased(an_upload(length=7)).advanced(3, now=1.0))
    found = database.uploads.find_one({"_id": "u"})
    assert found is not None
    counted = [found["offset"], found["length"], found["lease"]["start"], found["timeline"][0]["offset"]]
    counted += [found["parts"][0]["start"], found["parts"][0]["stop"]]
    assert all(isinstance(each, Int64) for each in counted), counted


async def test_whatever_a_client_says_is_data(sessions: MongoSessions, database: Database[Any]) -> None:
    said = {"$where": b"1", "a.b": b"2", "$set": b"3", "plain": b"$$NOW", "binary": b"\xff\x00", "filename": b"$x"}
    raw = build_metadata(said)
    upload = await sessions.create(an_upload(metadata=raw, owner="$owner"))
    upload = await sessions.swap(upload, leased(upload, "$holder"))
    assert (upload.metadata, upload.owner) == (raw, "$owner")
    assert upload.lease is not None and upload.lease.holder == "$holder"
    found = database.uploads.find_one({"_id": "u"})
    assert found is not None
    assert found["metadata"] == {"plain": "$$NOW", "binary": b"\xff\x00", "filename": "$x"}
    assert found["file_name"] == "$x"


async def test_metadata_that_no_longer_reads_hides_no_upload(sessions: MongoSessions) -> None:
    await sessions.create(an_upload(metadata="not base64!"))
    assert (await sessions.get("u")).metadata == "not base64!"


async def test_a_document_of_an_older_version_is_read_and_leased(
    sessions: MongoSessions, database: Database[Any]
) -> None:
    stored = await sessions.create(an_upload(length=9))
    younger = ["timeline", "place", "expires_at", "lease", "concat", "owner", "kind"]
    database.uploads.update_one({"_id": "u"}, {"$unset": dict.fromkeys(younger, 1)})
    assert (await sessions.get("u")).same_as(stored)
    want = Want(offset=0, size=9, deferred=False, now=1.0, place="here")
    taken = await sessions.take("u", want, Lease(id="l", holder="pod-a", ttl=3.0))
    assert taken.held_by("l")
    assert [moment.what for moment in taken.timeline] == ["taken"]


async def test_only_what_is_counted_is_an_offset(sessions: MongoSessions, database: Database[Any]) -> None:
    stored = await sessions.create(an_upload(length=9).advanced(3, now=1.0, by="pod-a"))
    database.uploads.update_one({"_id": "u"}, {"$set": {"offset": 5}})  # what people read
    want = Want(offset=5, size=4, deferred=False, now=1.0, place="here")
    lease = Lease(id="l", holder="pod-a", ttl=3.0)
    assert (await sessions.take("u", want, lease)).same_as(stored)
    assert (await sessions.take("u", replace(want, offset=3), lease)).held_by("l")


async def test_a_connection_that_was_closed_is_another_one(name: str, anyio_backend: str) -> None:
    mongo = Mongo(shared_replica_set().url, name)
    for version in (1, 2):
        sessions = MongoSessions(mongo)
        await sessions.start()
        upload = await sessions.create(an_upload()) if version == 1 else await sessions.get("u")
        assert (await sessions.swap(upload, upload.advanced(version, now=1.0))).offset == version
        await sessions.close()
        with pytest.raises(StoreUnavailable):
            await sessions.get("u")


# The server's clock


async def test_times_are_the_servers(sessions: MongoSessions, database: Database[Any]) -> None:
    def server_time() -> float:
        time: datetime = database.command("hello")["localTime"]
        return time.timestamp()

    before = server_time()
    upload = await sessions.create(leased(an_upload(), ttl=30.0))
    read = await sessions.get("u")
    after = server_time()
    assert upload.lease is not None and upload.lease.expires_at is not None
    assert before <= upload.lease.expires_at - 30.0 <= read.as_of <= after
    assert upload.lease.since == upload.lease.expires_at - 30.0 == upload.timeline[0].at


async def test_a_lease_runs_out_by_itself(sessions: MongoSessions) -> None:
    upload = await sessions.create(leased(an_upload(), ttl=0.3))
    assert upload.leased
    await until(lambda: _unleased(sessions))


# Indexes


@pytest.mark.parametrize(
    "query",
    [
        Query(statuses=frozenset({Status.ACTIVE, Status.COMPLETED}), expires_before=5.0),
        Query(statuses=frozenset({Status.CANCELLED, Status.EXPIRED}), stored=True),
        Query(statuses=frozenset({Status.CANCELLED, Status.EXPIRED}), ended_before=5.0),
        Query(statuses=frozenset({Status.ACTIVE}), kind=Kind.FINAL),
        Query(holder="pod-7", contested=True),
        Query(leased=True),
        Query(statuses=frozenset({Status.ACTIVE}), newest_first=True),
        Query(newest_first=True, beyond=(5000.0, "u5000")),
    ],
    ids=["to expire", "to erase", "to forget", "to join", "contested", "leased", "newest of a status", "next page"],
)
async def test_what_is_asked_for_is_found_by_an_index(
    sessions: MongoSessions, database: Database[Any], query: Query
) -> None:
    crowd = [an_upload(f"u{n}", created_at=float(n), length=9).advanced(9, now=n) for n in range(300)]
    crowd += [an_upload(f"a{n}", created_at=float(n)) for n in range(3)]
    crowd += [leased(an_upload("l", created_at=3.0), "pod-7").contested(0)]
    crowd += [an_upload("f", created_at=4.0, concat=Concat(raw="final;/a", kind=Kind.FINAL, parts=("a",)))]
    await asyncio.gather(*(sessions.create(upload) for upload in crowd))
    order = -1 if query.newest_first else 1
    cursor = database.uploads.find(selection(query)).sort([("created_at", order), ("_id", order)]).limit(20)
    stats = cursor.explain()["executionStats"]
    found = stats["nReturned"]
    assert stats["totalDocsExamined"] <= found + 3, stats


async def test_only_tombstones_without_bytes_are_ever_removed_by_mongodb(
    sessions: MongoSessions, database: Database[Any]
) -> None:
    removing = {
        key: index for key, index in database.uploads.index_information().items() if "expireAfterSeconds" in index
    }
    assert list(removing) == ["forgotten"]
    index = removing["forgotten"]
    assert index["expireAfterSeconds"] == 7 * 24 * 3600
    assert dict(index["partialFilterExpression"]) == {"stored": False, "ended_at": {"$type": "date"}}
    gone = an_upload("gone", length=5).to(Status.CANCELLED, now=1.0).emptied()
    kept = an_upload("kept", length=5).advanced(5, now=1.0)
    left = an_upload("left", length=5).to(Status.EXPIRED, now=1.0)
    for upload in (gone, kept, left):
        await sessions.create(upload)
    assert [found["_id"] for found in database.uploads.find(dict(index["partialFilterExpression"]))] == ["gone"]


async def test_notes_that_have_run_out_are_removed_by_mongodb(sessions: MongoSessions, database: Database[Any]) -> None:
    await sessions.pin("errors", "pod-a", "text", 60)
    index = database.notes.index_information()["run_out"]
    assert (index["key"], index["expireAfterSeconds"]) == ([("until", 1)], 0)
    (note,) = database.notes.find()
    assert abs(note["until"] - datetime.now(UTC) - timedelta(seconds=60)) < timedelta(minutes=1)


async def test_another_time_to_forget_changes_the_index(name: str, database: Database[Any]) -> None:
    for seconds in (100.0, 5000.0):
        store = MongoSessions(Mongo(shared_replica_set().url, name), forget_after=seconds)
        await store.start()
        await store.close()
        assert database.uploads.index_information()["forgotten"]["expireAfterSeconds"] == seconds


# Round trips


class Counted(monitoring.CommandListener):
    """The commands that a client sent."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        self.names.append(event.command_name)

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        pass

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        pass


async def test_each_call_is_one_round_trip(name: str, anyio_backend: str) -> None:
    counted = Counted()
    async with AsyncMongoClient[Any](shared_replica_set().url, event_listeners=[counted]) as client:
        sessions = MongoSessions(Mongo(client, name))
        await sessions.start()
        counted.names.clear()
        upload = await sessions.create(leased(an_upload(length=9)))
        assert counted.names == ["findAndModify"]
        upload = await sessions.swap(upload, upload.advanced(5, now=1.0))
        assert counted.names[1:] == ["findAndModify"]
        await sessions.get("u")
        assert counted.names[2:] == ["find"]
        upload = await sessions.swap(upload, upload.released())
        counted.names.clear()
        want = Want(offset=5, size=1, deferred=False, now=1.0, place="here")
        lease = Lease(id="l", holder="pod-a", ttl=3.0)
        assert (await sessions.take("u", want, lease)).held_by("l")
        assert counted.names == ["findAndModify"]
        assert not (await sessions.take("u", want, replace(lease, id="m"))).held_by("m")
        assert counted.names[1:] == ["findAndModify", "find"]
        await sessions.close()
        await client.admin.command("ping")  # it is still the application's, and open
        await client.drop_database(name)


# MongoDB away


async def survived(store: SessionStore, seconds: float = 30.0) -> Upload:
    """The upload ``u``, once the store answers again."""
    async with asyncio.timeout(seconds):
        while True:
            with contextlib.suppress(StoreUnavailable):
                return await store.get("u")
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("how", ["killed", "frozen"])
async def test_away_is_said_within_the_timeout_and_over_once_it_is_back(alone: ReplicaSet, how: str) -> None:
    sessions = MongoSessions(Mongo(alone.url + QUICK))
    await sessions.start()
    upload = await sessions.create(an_upload())
    (node,) = alone.nodes
    node.kill() if how == "killed" else node.signal(signal.SIGSTOP)
    calls = [
        sessions.get("u"),
        sessions.swap(upload, upload.advanced(1, now=1.0)),
        sessions.create(an_upload("v")),
        sessions.ping(),
        sessions.tally(),
        anext(sessions.find(Query())),
        sessions.claim_place("here"),
    ]
    started = time.monotonic()
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(answer) for answer in answers] == [StoreUnavailable] * len(calls)
    assert time.monotonic() - started < 5
    node.start() if how == "killed" else node.signal(signal.SIGCONT)
    back = await survived(sessions)
    # A frozen server may have carried the swap out after all; what it did is one swap, and it is seen
    assert (back.version, back.offset) in ([(1, 0)] if how == "killed" else [(1, 0), (2, 1)])
    assert (await sessions.swap(back, back.advanced(9, now=2.0))).offset == 9
    await sessions.close()


async def test_a_store_that_starts_without_mongodb_makes_its_indexes_later(alone: ReplicaSet) -> None:
    (node,) = alone.nodes
    node.kill()
    sessions = MongoSessions(Mongo(alone.url + QUICK))
    await sessions.start()
    with pytest.raises(StoreUnavailable):
        await sessions.get("u")
    node.start()
    alone.primary()
    with node.client() as client:
        await until(lambda: _forgetting(client))
    with pytest.raises(UploadNotFound):
        await sessions.get("u")
    await sessions.close()


async def test_a_wrong_password_is_said_at_the_start(name: str, anyio_backend: str) -> None:
    url = shared_replica_set().url.replace("mongodb://", "mongodb://ada:secret-word@")
    sessions = MongoSessions(Mongo(url, name))
    with pytest.raises(StoreUnavailable) as refused:
        await sessions.start()
    assert "AuthenticationFailed" in refused.value.text
    assert "secret-word" not in str(refused.value)
    await sessions.close()


async def test_a_write_that_the_driver_repeats_is_stored_once(name: str, anyio_backend: str) -> None:
    """The answer is lost on the way; the driver asks again, and the server answers from what it remembers."""
    with replica_set() as made:
        (node,) = made.nodes
        async with AsyncMongoClient[Any](made.url) as client:
            sessions = MongoSessions(Mongo(client, name))
            await sessions.start()
            upload = await sessions.create(leased(an_upload(length=9)))
            data: dict[str, Any] = {"failCommands": ["findAndModify"], "closeConnection": False}
            data["writeConcernError"] = {"code": 6, "errmsg": "lost"}
            data["errorLabels"] = ["RetryableWriteError"]
            lose = partial(client.admin.command, "configureFailPoint", "failCommand", mode={"times": 1}, data=data)
            await lose()
            stored = await sessions.swap(upload, upload.advanced(5, now=1.0))
            assert (stored.version, stored.offset, stored.leased) == (2, 5, True)
            assert abs(stored.as_of - time.time()) < 60
            assert (await sessions.get("u")).same_as(stored)
            await sessions.swap(stored, stored.released())
            await lose()
            want = Want(offset=5, size=4, deferred=False, now=1.0, place="here")
            taken = await sessions.take("u", want, Lease(id="l", holder="pod-b", ttl=3.0))
            assert (taken.version, taken.leased, taken.held_by("l")) == (4, True, True)
            assert (await sessions.get("u")).same_as(taken)
            await sessions.close()
        assert node.running


async def test_fail_overs_lose_no_swap_and_count_none_twice(anyio_backend: str) -> None:
    with replica_set(3) as nodes:
        sessions = MongoSessions(Mongo(nodes.url))
        await sessions.start()
        await sessions.create(an_upload())
        stop = asyncio.Event()
        acknowledged: list[int] = []
        unsure = 0

        async def swapping() -> None:
            nonlocal unsure
            while not stop.is_set():
                try:
                    upload = await sessions.get("u")
                    after = await sessions.swap(upload, upload.advanced(upload.offset + 1, now=1.0))
                except Conflict:
                    continue
                except StoreUnavailable:
                    unsure += 1
                else:
                    acknowledged.append(after.offset)

        tasks = [asyncio.create_task(swapping()) for _ in range(4)]
        for fault in (nodes.step_down, nodes.kill_primary):
            hit = await asyncio.to_thread(fault)
            await until(partial(_more_than, acknowledged, len(acknowledged) + 20))
            if not hit.running:
                hit.start()
        stop.set()
        await asyncio.gather(*tasks)
        last = await survived(sessions)
        assert len(set(acknowledged)) == len(acknowledged)
        assert max(acknowledged) <= last.offset <= len(acknowledged) + unsure
        assert last.version == last.offset + 1
        await sessions.close()
