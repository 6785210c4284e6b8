"""The contract of a byte store (``tusserver.stores.base.ByteStore``), for every backend there is."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.mongod import shared_replica_set
from tests.stores.sessions import an_upload
from tusserver.protocol.refusals import BytesElsewhere, BytesMissing, Refusal, StoreUnavailable, TakenOver
from tusserver.protocol.upload import Upload
from tusserver.stores.base import ByteStore
from tusserver.stores.disk import DiskBytes
from tusserver.stores.gridfs import GridFsBytes
from tusserver.stores.mongodb import Mongo

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024

Opener = Callable[[], ByteStore]


def gridfs(path: Path) -> ByteStore:
    database = hashlib.sha256(str(path).encode()).hexdigest()[:20]
    return GridFsBytes(Mongo(shared_replica_set().url, database), chunk_size=64 * 1024)


BACKENDS: dict[str, Callable[[Path], ByteStore]] = {
    "disk": lambda path: DiskBytes(path / "uploads"),
    "disk-page-cache": lambda path: DiskBytes(path / "uploads", durable=False),
    "gridfs": gridfs,
}


@pytest.fixture(params=sorted(BACKENDS))
def opener(request: pytest.FixtureRequest, tmp_path: Path) -> Opener:
    """Opens stores over one place; each is what one more process would have."""
    return lambda: BACKENDS[request.param](tmp_path)


@pytest.fixture
async def store(opener: Opener, anyio_backend: str) -> AsyncIterator[ByteStore]:
    store = opener()
    await store.start()
    yield store
    await store.close()


def some(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


def next_version(upload: Upload) -> Upload:
    """As a session store does when a lease is taken."""
    return replace(upload, version=upload.version + 1)


async def put(store: ByteStore, upload: Upload, data: bytes, *, count: bool = True) -> Upload:
    """Write, flush, close and count."""
    upload = next_version(upload)
    writer = await store.open(upload)
    await writer.write([data])
    assert writer.position == upload.offset + len(data)
    assert await writer.flush() == writer.position
    await writer.close()
    return upload.advanced(writer.position, now=1) if count else upload


async def read(store: ByteStore, upload: Upload, start: int = 0, stop: int | None = None) -> bytes:
    return b"".join([block async for block in store.read(upload, start, upload.offset if stop is None else stop)])


async def unfinished(store: ByteStore) -> set[str]:
    return {upload_id async for upload_id in store.unfinished()}


async def test_what_was_written_is_read(store: ByteStore) -> None:
    data = some(3 * MIB + 1)
    upload = await put(store, an_upload(length=len(data)), data)
    assert await read(store, upload) == data
    await store.finish(upload)
    assert await read(store, upload) == data


async def test_blocks_are_put_one_after_the_other(store: ByteStore) -> None:
    data = some(10_000)
    writer = await store.open(an_upload())
    blocks = [memoryview(data)[at : at + 7] for at in range(0, len(data), 7)]
    await writer.write(blocks)
    assert writer.position == len(data)
    await writer.write([])
    await writer.flush()
    await writer.close()
    assert await read(store, an_upload().advanced(len(data), now=1)) == data


async def test_nothing_is_read_in_blocks_above_a_mebibyte(store: ByteStore) -> None:
    upload = await put(store, an_upload(), some(2 * MIB + 5))
    assert max([len(block) async for block in store.read(upload, 0, upload.offset)]) <= MIB


@pytest.mark.parametrize(("start", "stop"), [(0, 0), (0, 1), (5, 5), (99, 100), (10, 60), (0, 100), (30, 31)])
async def test_ranges_across_parts(store: ByteStore, start: int, stop: int) -> None:
    data = some(100)
    upload = await put(store, an_upload(length=100), data[:30])
    upload = await put(store, upload.fenced(), data[30:31])
    upload = await put(store, upload.fenced(), data[31:])
    assert len(upload.parts) == 3 and upload.completed
    assert await read(store, upload, start, stop) == data[start:stop]
    await store.finish(upload)
    assert await read(store, upload, start, stop) == data[start:stop]


async def test_what_is_not_counted_is_not_read(store: ByteStore) -> None:
    upload = await put(store, an_upload(length=5), b"01234")
    for _ in range(2):
        with pytest.raises(BytesMissing):
            await read(store, upload, 3, 6)
        await store.finish(upload)


async def test_an_uncounted_tail_is_written_over(store: ByteStore) -> None:
    upload = await put(store, an_upload(length=20), b"0123456789")
    await put(store, upload, b"uncounted!", count=False)
    upload = await put(store, upload, b"ABCDE")
    upload = await put(store, upload, b"FGHIJ")
    await store.finish(upload)
    assert await read(store, upload) == b"0123456789ABCDEFGHIJ"


async def test_an_uncounted_tail_beyond_the_length_is_cut(store: ByteStore) -> None:
    upload = await put(store, an_upload(), b"01234")
    await put(store, upload, b"much more than there will ever be", count=False)
    upload = upload.with_length(5, now=2)
    await store.finish(upload)
    assert await read(store, upload) == b"01234"
    with pytest.raises(BytesMissing):
        await read(store, upload, 0, 6)


async def test_a_stale_writer_touches_nothing_that_counts(store: ByteStore) -> None:
    upload = await put(store, an_upload(length=20), b"01234")
    stale = await store.open(next_version(upload))
    await stale.write([b"st"])
    taken = await put(store, next_version(upload).fenced(), b"56789")
    with contextlib.suppress(TakenOver):  # a store may notice
        await stale.write([b"ale" * 10])
        await stale.flush()
    taken = await put(store, taken, b"ABCDEFGHIJ")
    assert await read(store, taken) == b"0123456789ABCDEFGHIJ"
    await store.finish(taken)
    with contextlib.suppress(TakenOver):
        await stale.write([b"still there"])
        await stale.flush()
    await stale.close()
    assert await read(store, taken) == b"0123456789ABCDEFGHIJ"
    assert await unfinished(store) == set()


async def test_an_empty_upload(store: ByteStore) -> None:
    upload = an_upload(length=0).advanced(0, now=1)
    await store.finish(upload)
    await store.finish(upload)
    assert await read(store, upload) == b""


async def test_finishing_is_seen_and_may_be_repeated(store: ByteStore) -> None:
    upload = await put(store, an_upload("0" * 32, length=5), b"01234")
    assert await unfinished(store) == {upload.id}
    for _ in range(3):
        await store.finish(upload)
        assert await unfinished(store) == set()
        assert await read(store, upload) == b"01234"


async def test_several_processes_finish_at_once_while_others_read(opener: Opener, store: ByteStore) -> None:
    others = [opener() for _ in range(3)]
    for other in others:
        await other.start()
    for number in range(20):
        data = some(3 * 200_000, number)
        upload = await put(store, an_upload(f"upload-{number}", length=len(data)), data[:200_000])
        upload = await put(store, upload.fenced(), data[200_000:400_000])
        upload = await put(store, upload.fenced(), data[400_000:])
        found = await asyncio.gather(
            *(other.finish(upload) for other in others), *(read(other, upload) for other in (store, *others))
        )
        assert [each for each in found if each is not None] == [data] * 4
        assert await unfinished(store) == set()
    for other in others:
        await other.close()


async def test_deleting(store: ByteStore) -> None:
    await store.delete(an_upload("never-was"))
    for finish in (False, True):
        upload = await put(store, an_upload(length=10), b"01234")
        upload = await put(store, upload.fenced(), b"56789")
        if finish:
            await store.finish(upload)
        for _ in range(2):
            await store.delete(upload)
            assert await unfinished(store) == set()
            with pytest.raises(BytesMissing):
                await read(store, upload)


async def test_flushing_while_writing_loses_and_doubles_nothing(store: ByteStore) -> None:
    chance = random.Random(5)
    pieces = [chance.randbytes(chance.choice((1, 100, 3000, 70_000))) for _ in range(400)]
    upload = an_upload(length=sum(map(len, pieces)))
    writer = await store.open(upload)
    written, done, before = 0, False, 0

    async def flush() -> None:
        nonlocal before
        while not done:
            flushed = await writer.flush()
            assert before <= flushed <= written
            before = flushed
            await asyncio.sleep(0)

    flushing = asyncio.create_task(flush())
    for piece in pieces:
        written += len(piece)
        await writer.write([piece])
        assert writer.position == written
        if chance.random() < 0.3:
            await asyncio.sleep(0)
    done = True
    await flushing
    assert await writer.flush(last=True) == written
    await writer.close()
    upload = upload.advanced(written, now=1.0)
    assert await read(store, upload) == b"".join(pieces)


async def test_deleting_under_a_writer(store: ByteStore) -> None:
    upload = an_upload(length=10)
    writer = await store.open(upload)
    await writer.write([b"01234"])
    await writer.flush()
    await store.delete(upload)
    with contextlib.suppress(Refusal):
        await writer.write([b"56789"])
        await writer.flush()
    await writer.close()
    assert await unfinished(store) == set()


async def test_counted_bytes_that_are_gone_are_missed_at_once(store: ByteStore) -> None:
    upload = await put(store, an_upload(length=10), b"01234")
    await store.delete(upload)
    with pytest.raises(BytesMissing):
        await store.open(upload)
    with pytest.raises(BytesMissing):
        await store.finish(upload.advanced(10, now=2))


@pytest.mark.requirement("CONC-07", "CONC-15")
async def test_copying(store: ByteStore) -> None:
    first, second = some(300_000, 1), some(2 * MIB, 2)
    one = await put(store, an_upload("one", length=len(first)), first)
    await store.finish(one)
    two = await put(store, an_upload("two", length=len(second)), second[:MIB])
    two = await put(store, two.fenced(), second[MIB:])
    final = an_upload("final", length=len(first) + 2 * len(second))
    writer = await store.open(final)
    await writer.copy(two, 0, len(second))
    await writer.copy(one, 0, 100_000)
    await writer.copy(one, 100_000, len(first))
    await writer.copy(two, 0, len(second))
    assert writer.position == await writer.flush() == final.length
    await writer.close()
    final = final.advanced(writer.position, now=1)
    await store.finish(final)
    assert await read(store, final) == second + first + second
    assert await read(store, one) == first and await read(store, two) == second


async def test_copying_what_is_not_there(store: ByteStore) -> None:
    gone = an_upload("gone").advanced(10, now=1)
    writer = await store.open(an_upload("final"))
    with pytest.raises(BytesMissing):
        await writer.copy(gone, 0, 10)
    assert writer.position == 0
    await writer.close()


async def test_nothing_is_written_after_closing(store: ByteStore) -> None:
    data = some(20 * MIB)
    upload = an_upload(length=len(data))
    writer = await store.open(upload)
    writing = asyncio.create_task(writer.write([data]))
    await asyncio.sleep(0)
    writing.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await writing
    await writer.close()
    after = writer.position
    other = await store.open(next_version(upload))
    await other.write([b"x" * len(data)])
    await other.flush()
    await other.close()
    assert writer.position == after
    assert await read(store, upload.advanced(len(data), now=1)) == b"x" * len(data)
    await writer.close()
    with pytest.raises(StoreUnavailable):
        await writer.write([b"late"])


async def test_flushing_while_writing_speaks_of_what_was_written_before(store: ByteStore) -> None:
    writer = await store.open(an_upload())
    await writer.write([some(MIB)])
    writing = asyncio.create_task(writer.write([some(8 * MIB)]))
    flushed = await asyncio.gather(*(writer.flush() for _ in range(5)))
    assert all(MIB <= position <= 9 * MIB for position in flushed)
    await writing
    assert await writer.flush() == 9 * MIB
    await writer.close()


async def test_room_and_ping(store: ByteStore) -> None:
    room = await store.room()
    assert room is None or room > 0
    await store.ping()
    assert await unfinished(store) == set()


async def test_many_uploads_at_once(store: ByteStore) -> None:
    async def one(number: int) -> None:
        data = some(50_000, number)
        upload = an_upload(f"upload-{number}", length=len(data))
        for at in range(0, len(data), 10_000):
            upload = await put(store, upload, data[at : at + 10_000])
        await store.finish(upload)
        assert hashlib.sha256(await read(store, upload)).digest() == hashlib.sha256(data).digest()

    await asyncio.gather(*(one(number) for number in range(50)))


# Who looks after the place


async def ids(store: ByteStore) -> list[str]:
    return sorted([upload_id async for upload_id in store.ids()])


async def test_ids_are_of_all_that_lies_about(store: ByteStore) -> None:
    assert await ids(store) == []
    done = await put(store, an_upload("d" * 32, length=5), b"01234")
    await store.finish(done)
    await put(store, (await put(store, an_upload("e" * 32, length=9), b"01234")).fenced(), b"5")
    assert await ids(store) == ["d" * 32, "e" * 32]
    await store.delete(done)
    assert await ids(store) == ["e" * 32]


async def test_discarding_needs_no_session(store: ByteStore) -> None:
    done = await put(store, an_upload("d" * 32, length=5), b"01234")
    await store.finish(done)
    await put(store, (await put(store, an_upload("e" * 32, length=9), b"01234")).fenced(), b"5")
    for upload_id in ("d" * 32, "e" * 32, "f" * 32):
        await store.discard(upload_id)
        assert upload_id not in await ids(store)
    assert await ids(store) == []


async def test_verifying_finds_what_is_missing(store: ByteStore) -> None:
    data = some(200_000)
    await store.verify(an_upload())
    upload = await put(store, an_upload(length=len(data)), data[:70_000])
    upload = await put(store, upload.fenced(), data[70_000:])
    longer = replace(upload, parts=(*upload.parts[:-1], replace(upload.parts[-1], stop=len(data) + 1)))
    for finish in (False, True):
        if finish:
            await store.finish(upload)
        await store.verify(upload)
        with pytest.raises(BytesMissing):
            await store.verify(longer)
    await store.delete(upload)
    with pytest.raises(BytesMissing):
        await store.verify(upload)


async def test_one_place_is_the_same_for_everybody_and_another_is_another(
    opener: Opener, store: ByteStore, tmp_path: Path
) -> None:
    other = opener()
    await other.start()
    assert other.place == store.place
    upload = await put(store, an_upload(length=5, place=store.place), b"01234")
    assert await read(other, upload) == b"01234"
    elsewhere = replace(upload, place="elsewhere")
    for call in (store.open, store.finish, store.verify, store.delete, partial(read, store)):
        with pytest.raises(BytesElsewhere):
            await call(elsewhere)
    assert await read(store, upload) == b"01234"
    await other.close()


async def test_places_are_made_once_by_many(opener: Opener, anyio_backend: str) -> None:
    stores = [opener() for _ in range(8)]
    await asyncio.gather(*(each.start() for each in stores))
    assert len({each.place for each in stores}) == 1
    for each in stores:
        await each.close()
