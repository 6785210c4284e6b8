"""What GridFS readers find, and what happens when MongoDB fails while bytes are written. (What every byte store does:
the contract suite.)"""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
from collections.abc import AsyncIterator
from typing import Any

import gridfs
import pytest
from bson import ObjectId
from bson.int64 import Int64
from gridfs import AsyncGridFSBucket
from msgspec.structs import replace
from pymongo import AsyncMongoClient, MongoClient

from tests.mongod import DRIVER_LEAKS, ReplicaSet, replica_set, shared_replica_set
from tusserver.protocol.headers import build_metadata
from tusserver.protocol.refusals import StoreUnavailable, TakenOver
from tusserver.protocol.upload import Upload
from tusserver.stores.gridfs import CHUNK_SIZE, GridFsBytes
from tusserver.stores.gridfs_writer import GridFsWriter
from tusserver.stores.mongodb import Mongo

pytestmark = [pytest.mark.anyio, DRIVER_LEAKS]

SIZE = 1000
"""Bytes of a chunk, so that a few of them are enough."""


def some(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


def an_upload(length: int | None = None, **fields: Any) -> Upload:
    return Upload(id=secrets.token_hex(16), created_at=1.0, updated_at=1.0, length=length, version=1, **fields)


def taken(upload: Upload) -> Upload:
    """As the session store returns it when somebody takes its lease."""
    return replace(upload, version=upload.version + 1)


async def put(store: GridFsBytes, upload: Upload, data: bytes) -> Upload:
    upload = taken(upload)
    writer = await store.open(upload)
    await writer.write([data])
    assert await writer.flush() == upload.offset + len(data)
    await writer.close()
    return upload.advanced(upload.offset + len(data), now=2.0)


async def read(store: GridFsBytes, upload: Upload) -> bytes:
    return b"".join([block async for block in store.read(upload, 0, upload.offset)])


@pytest.fixture
async def client(anyio_backend: str) -> AsyncIterator[AsyncMongoClient[Any]]:
    async with AsyncMongoClient[Any](shared_replica_set().url) as made:
        yield made


@pytest.fixture
async def store(client: AsyncMongoClient[Any]) -> AsyncIterator[GridFsBytes]:
    name = f"gridfs-{secrets.token_hex(4)}"
    store = GridFsBytes(Mongo(client, name), chunk_size=SIZE)
    await store.start()
    yield store
    await store.close()
    await client.drop_database(name)


def bucket(client: AsyncMongoClient[Any], store: GridFsBytes) -> AsyncGridFSBucket:
    return AsyncGridFSBucket(client[database(store)], "uploads")


def database(store: GridFsBytes) -> str:
    return str(store.location(an_upload())).split(":")[1].split(".")[0]


# The format


@pytest.mark.parametrize("length", [0, 1, SIZE - 1, SIZE, SIZE + 1, 3 * SIZE, 3 * SIZE + 500])
@pytest.mark.parametrize("step", [1, 3])
async def test_any_gridfs_reader_reads_a_finished_upload(
    client: AsyncMongoClient[Any], store: GridFsBytes, length: int, step: int
) -> None:
    data = some(length)
    upload = an_upload(length).advanced(0, now=1.0)
    for at in range(0, length, -(-length // step) or 1):
        upload = await put(store, upload.fenced() if at else upload, data[at : at + -(-length // step)])
    assert upload.completed
    for _ in range(2):
        await store.finish(upload)
        stream = await bucket(client, store).open_download_stream(upload.id)
        assert await stream.read() == data
    with MongoClient[Any](shared_replica_set().url) as plain:
        assert gridfs.GridFSBucket(plain[database(store)], "uploads").open_download_stream(upload.id).read() == data


async def test_a_reader_seeks_and_finds_it_by_its_name(client: AsyncMongoClient[Any], store: GridFsBytes) -> None:
    data = some(5 * SIZE)
    raw = build_metadata({"filename": "über/ferien.mp4".encode(), "filetype": b"video/mp4", "bin": b"\xff"})
    upload = await put(store, an_upload(len(data), metadata=raw), data)
    await store.finish(upload)
    stream = await bucket(client, store).open_download_stream_by_name("ferien.mp4")
    await stream.seek(2 * SIZE + 7)
    assert await stream.read(SIZE) == data[2 * SIZE + 7 : 3 * SIZE + 7]
    assert stream.metadata == {"filename": "über/ferien.mp4", "filetype": "video/mp4", "bin": b"\xff"}
    assert stream.upload_date is not None and stream.upload_date.timestamp() == 2.0


async def test_what_is_being_received_is_no_file_yet(client: AsyncMongoClient[Any], store: GridFsBytes) -> None:
    upload = await put(store, an_upload(5), b"012")
    with pytest.raises(gridfs.NoFile):
        await bucket(client, store).open_download_stream(upload.id)
    assert [each async for each in store.unfinished()] == [upload.id]


async def test_lengths_are_64_bit(client: AsyncMongoClient[Any], store: GridFsBytes) -> None:
    upload = await put(store, an_upload(3), b"012")
    await store.finish(upload)
    found = await client[database(store)]["uploads.files"].find_one({"_id": upload.id})
    assert found is not None
    assert isinstance(found["length"], Int64)
    assert isinstance(found["chunkSize"], int) and found["chunkSize"] == SIZE


async def test_what_others_keep_in_the_bucket_is_none_of_ours(
    client: AsyncMongoClient[Any], store: GridFsBytes
) -> None:
    theirs = await bucket(client, store).upload_from_stream("theirs", b"bytes")
    assert isinstance(theirs, ObjectId)
    assert [each async for each in store.ids()] == []
    assert [each async for each in store.unfinished()] == []


async def test_deleting_a_large_upload_goes_in_steps(
    client: AsyncMongoClient[Any], store: GridFsBytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tusserver.stores.gridfs.DELETED_AT_ONCE", 4)
    kept = await put(store, an_upload(3 * SIZE), some(3 * SIZE))
    upload = await put(store, an_upload(25 * SIZE), some(25 * SIZE))
    await store.finish(upload)
    await store.delete(upload)
    assert [each async for each in store.ids()] == [kept.id]
    assert await client[database(store)]["uploads.chunks"].count_documents({}) == 3


async def test_an_upload_keeps_the_size_of_chunk_it_began_with(
    client: AsyncMongoClient[Any], store: GridFsBytes
) -> None:
    data = some(3500)
    upload = await put(store, an_upload(len(data)), data[:1700])
    newer = GridFsBytes(Mongo(client, database(store)), chunk_size=SIZE * 3)
    await newer.start()
    upload = await put(newer, upload, data[1700:])
    await newer.finish(upload)
    assert await read(store, upload) == await read(newer, upload) == data
    assert (await bucket(client, store).open_download_stream(upload.id)).chunk_size == SIZE


async def test_what_was_written_beyond_a_deferred_length_is_cut(
    client: AsyncMongoClient[Any], store: GridFsBytes
) -> None:
    upload = await put(store, an_upload(), some(2500))
    await put(store, upload, some(5000, 1))  # never counted
    upload = taken(upload).with_length(2500, now=3.0)
    await store.finish(upload)
    assert await (await bucket(client, store).open_download_stream(upload.id)).read() == some(2500)


# Fencing


@pytest.mark.parametrize("after", ["taken", "finished", "deleted"])
async def test_a_stale_writer_is_refused_and_changes_nothing(
    client: AsyncMongoClient[Any], store: GridFsBytes, after: str
) -> None:
    data = some(3 * SIZE)
    upload = await put(store, an_upload(len(data)), data[:1500])
    stale = await store.open(taken(upload))
    await stale.write([b"stale"])
    newer = await put(store, taken(upload).fenced(), data[1500:])
    if after == "finished":
        await store.finish(newer)
    elif after == "deleted":
        await store.delete(newer)
    with contextlib.suppress(TakenOver):
        await stale.write([b"!" * 2 * SIZE])
        with pytest.raises(TakenOver) if after != "deleted" else contextlib.nullcontext():
            await stale.flush()
    await stale.close()
    if after == "deleted":
        with pytest.raises(gridfs.NoFile):
            await bucket(client, store).open_download_stream(upload.id)
        assert [each async for each in store.ids()] == [upload.id]  # for fsck
        return
    assert await read(store, newer) == data
    await store.finish(newer)
    assert await (await bucket(client, store).open_download_stream(upload.id)).read() == data


async def test_two_writers_at_one_boundary_leave_what_counts(store: GridFsBytes) -> None:
    for seed in range(20):
        data = some(2 * SIZE, seed)
        upload = await put(store, an_upload(len(data)), data[:500])
        old = await store.open(taken(upload))
        new = await store.open(taken(taken(upload)).fenced())

        async def write(writer: Any, block: bytes) -> None:
            with contextlib.suppress(TakenOver):
                await writer.write([block])
                await writer.flush()

        await asyncio.gather(write(old, b"o" * 1500), write(new, data[500:]))
        await asyncio.gather(old.close(), new.close())
        upload = taken(taken(upload)).fenced().advanced(len(data), now=3.0)
        assert await read(store, upload) == data


# MongoDB fails


@pytest.fixture
async def nodes(anyio_backend: str) -> AsyncIterator[ReplicaSet]:
    with replica_set() as made:
        yield made


@contextlib.asynccontextmanager
async def started(url: str) -> AsyncIterator[GridFsBytes]:
    store = GridFsBytes(Mongo(url))
    await store.start()
    try:
        yield store
    finally:
        await store.close()


@contextlib.asynccontextmanager
async def writing_impatiently(url: str, store: GridFsBytes, upload: Upload) -> AsyncIterator[GridFsWriter]:
    """A writer whose requests end after half a second. All else is left to ``store``, which has the usual patience:
    what is asked for before and after an outage may take as long as a busy machine needs."""
    mongo = Mongo(url + "&timeoutMS=500&connectTimeoutMS=500&serverSelectionTimeoutMS=500")
    await mongo.open()
    writer = GridFsWriter(mongo, "uploads.chunks", upload, chunk_size=CHUNK_SIZE, head=b"", read=store.read)
    try:
        yield writer
    finally:
        await writer.close()
        await mongo.close()


async def test_a_short_outage_is_survived_by_a_running_writer(nodes: ReplicaSet) -> None:
    data = some(12 * CHUNK_SIZE + 5)
    upload = an_upload(len(data))
    async with started(nodes.url) as store, writing_impatiently(nodes.url, store, upload) as writer:
        await (await store.open(upload)).close()
        await writer.write([data[: 2 * CHUNK_SIZE]])
        assert await writer.flush() == 2 * CHUNK_SIZE
        (node,) = nodes.nodes
        node.kill()
        writing = asyncio.create_task(writer.write([data[2 * CHUNK_SIZE :]]))
        await asyncio.wait({writing}, timeout=2)
        assert not writing.done()  # it waits, and holds no more than it may
        await asyncio.to_thread(node.start)
        await writing
        assert await writer.flush() == len(data)
        upload = upload.advanced(len(data), now=2.0)
        await store.finish(upload)
        assert await read(store, upload) == data


async def test_a_long_outage_is_said_and_what_was_flushed_is_there_afterwards(
    nodes: ReplicaSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = some(3 * CHUNK_SIZE)
    upload = an_upload(len(data))
    async with started(nodes.url) as store:
        async with writing_impatiently(nodes.url, store, upload) as writer:
            await (await store.open(upload)).close()
            await writer.write([data[: CHUNK_SIZE + 7]])
            counted = await writer.flush()
            monkeypatch.setattr("tusserver.stores.gridfs_writer.PATIENCE", 1.0)
            (node,) = nodes.nodes
            node.kill()
            await writer.write([data[CHUNK_SIZE + 7 :]])
            for _ in range(2):
                with pytest.raises(StoreUnavailable):
                    await writer.flush()
        monkeypatch.undo()
        await asyncio.to_thread(node.start)
        await asyncio.to_thread(nodes.primary)
        upload = upload.advanced(counted, now=2.0)
        assert await read(store, upload) == data[:counted]
        upload = await put(store, upload, data[counted:])
        assert await read(store, upload) == data


async def test_fail_overs_in_the_middle_of_a_write(anyio_backend: str) -> None:
    with replica_set(3) as three:
        async with started(three.url) as store:
            data = some(24 * CHUNK_SIZE)
            upload = an_upload(len(data))
            writer = await store.open(upload)
            faults = {4: three.step_down, 12: three.kill_primary}
            failing: list[asyncio.Future[Any]] = []
            for number in range(24):
                if number in faults:
                    failing.append(asyncio.ensure_future(asyncio.to_thread(faults[number])))
                await writer.write([data[number * CHUNK_SIZE : (number + 1) * CHUNK_SIZE]])
                await writer.flush()
            await asyncio.gather(*failing)
            await writer.close()
            upload = upload.advanced(len(data), now=2.0)
            await store.finish(upload)
            assert await read(store, upload) == data
