"""The session store fails at any call of a request, before or after it has carried the call out: nothing acknowledged
is lost, nothing is counted twice, no request hangs, and the upload goes on."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.engine.conftest import Workshop, append, body, bytes_of, upload_of
from tusserver.body import RequestBody
from tusserver.engine import Engine
from tusserver.hooks import Hooks
from tusserver.keeper import Timing
from tusserver.metrics import Metrics
from tusserver.protocol.commands import Append, Body, Create, Inspect, Terminate
from tusserver.protocol.refusals import OffsetMismatch, Refusal, StoreUnavailable, TakenOver, UploadNotFound
from tusserver.protocol.upload import Upload
from tusserver.stores.gridfs import GridFsBytes
from tusserver.stores.memory import MemorySessions
from tusserver.stores.mongodb import Mongo

pytestmark = pytest.mark.anyio
T = TypeVar("T")

DATA = b"0123456789"
PROMPT = 5.0


class Failing(MemorySessions):
    """Fails each call for which ``fails`` says how: ``before`` it is carried out, or ``after``, so that nobody can know
    whether it was."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__(clock)
        self.calls = 0
        self.fails: Callable[[int], str | None] = lambda call: None

    async def get(self, upload_id: str) -> Upload:
        return await self._called(super().get(upload_id))

    async def create(self, upload: Upload) -> Upload:
        return await self._called(super().create(upload))

    async def swap(self, old: Upload, new: Upload) -> Upload:
        return await self._called(super().swap(old, new))

    async def _called(self, work: Awaitable[T]) -> T:
        self.calls += 1
        how = self.fails(self.calls)
        if how == "before":
            work.close()  # type: ignore[attr-defined]
            raise StoreUnavailable
        found = await work
        if how == "after":
            raise StoreUnavailable
        return found

    def back(self) -> None:
        self.fails = lambda call: None

    def fail_call(self, number: int, how: str) -> None:
        self.calls = 0
        self.fails = lambda call: how if call == number else None

    def away(self) -> None:
        self.fails = lambda call: "before"


@pytest.fixture
async def workshop(tmp_path: Path, anyio_backend: str) -> AsyncIterator[Workshop]:
    workshop = Workshop(tmp_path / "uploads")
    workshop.sessions = Failing(workshop.clock)
    yield workshop
    failing(workshop).back()
    for engine in workshop.engines:
        await engine.stop()


def failing(workshop: Workshop) -> Failing:
    assert isinstance(workshop.sessions, Failing)
    return workshop.sessions


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def offset(engine: Engine, upload: Upload) -> int:
    async with asyncio.timeout(PROMPT):
        return (await engine.inspect(Inspect(upload_id=upload.id))).upload.offset


async def goes_on(engine: Engine, upload: Upload, acknowledged: int) -> None:
    """A client that asks where it is, and sends the rest."""
    now = await offset(engine, upload)
    assert now >= acknowledged
    if now < len(DATA):
        current = (await engine.inspect(Inspect(upload_id=upload.id))).upload
        async with asyncio.timeout(PROMPT):
            await append(engine, current, DATA[now:])
    final = await failing_get(engine, upload)
    assert final.completed
    assert await bytes_of(engine, final) == DATA


async def failing_get(engine: Engine, upload: Upload) -> Upload:
    return await engine.sessions.get(upload.id)


@pytest.mark.parametrize("how", ["before", "after"])
@pytest.mark.parametrize("number", range(1, 7))
@pytest.mark.parametrize("stop", [6, 10])
async def test_a_patch_whose_store_fails_once(workshop: Workshop, how: str, number: int, stop: int) -> None:
    engine, other = await workshop.engine(), await workshop.engine()
    upload = await upload_of(engine, DATA[:3], length=len(DATA))
    failing(workshop).fail_call(number, how)
    acknowledged = 3
    with contextlib.suppress(StoreUnavailable):
        async with asyncio.timeout(PROMPT):
            acknowledged = (await append(engine, upload, DATA[3:stop])).offset
    failing(workshop).back()
    await goes_on(other, upload, acknowledged)


@pytest.mark.parametrize("how", ["before", "after"])
@pytest.mark.parametrize("number", range(1, 5))
async def test_a_creation_with_bytes_whose_store_fails_once(workshop: Workshop, how: str, number: int) -> None:
    engine = await workshop.engine()
    failing(workshop).fail_call(number, how)
    upload = None
    with contextlib.suppress(StoreUnavailable):
        async with asyncio.timeout(PROMPT):
            created = await engine.create(Create(length=len(DATA), body=Body(size=4)), body(DATA[:4]))
            upload = created.upload
    failing(workshop).back()
    if upload is not None:
        await goes_on(engine, upload, upload.offset)


@pytest.mark.parametrize("how", ["before", "after"])
@pytest.mark.parametrize("number", range(1, 5))
async def test_a_termination_whose_store_fails_once(workshop: Workshop, how: str, number: int) -> None:
    engine = await workshop.engine()
    upload = await upload_of(engine, DATA[:3], length=len(DATA))
    failing(workshop).fail_call(number, how)
    with contextlib.suppress(StoreUnavailable):
        async with asyncio.timeout(PROMPT):
            await engine.terminate(Terminate(upload_id=upload.id))
    failing(workshop).back()
    with contextlib.suppress(UploadNotFound):
        await engine.terminate(Terminate(upload_id=upload.id))
    await workshop.sweeper(engine).sweep()
    assert workshop.stored() == []


def slow_body(blocks: asyncio.Queue[bytes]) -> RequestBody:
    """A body whose blocks come as the test sends them; the empty one is its end."""

    async def receive() -> dict[str, Any]:
        block = await blocks.get()
        return {"type": "http.request", "body": block, "more_body": bool(block)}

    return RequestBody(receive, idle_timeout=20)


async def test_what_a_patch_received_while_the_store_was_away_is_counted_when_it_is_back(workshop: Workshop) -> None:
    engine, other = await workshop.engine(), await workshop.engine()
    upload = await upload_of(engine, b"", length=len(DATA))
    blocks: asyncio.Queue[bytes] = asyncio.Queue()
    command = Append(upload_id=upload.id, offset=0, body=Body(size=len(DATA)))
    patch = asyncio.create_task(engine.append(command, slow_body(blocks)))
    blocks.put_nowait(DATA[:4])

    async def counted() -> bool:
        return (await workshop.sessions.get(upload.id)).offset == 4

    await until(counted)
    failing(workshop).away()
    blocks.put_nowait(DATA[4:])
    blocks.put_nowait(b"")
    with pytest.raises(StoreUnavailable) as refused:
        async with asyncio.timeout(PROMPT):
            await patch
    assert refused.value.upload is None  # so that no answer tells an offset
    failing(workshop).back()

    async def complete() -> bool:
        return (await workshop.sessions.get(upload.id)).completed

    await until(complete)  # nobody had to ask
    assert await bytes_of(other, await workshop.sessions.get(upload.id)) == DATA
    assert await offset(other, upload) == len(DATA)


async def test_who_asks_the_same_process_first_waits_for_what_waits_to_be_counted(workshop: Workshop) -> None:
    engine = await workshop.engine()
    upload = await upload_of(engine, DATA[:2], length=len(DATA))
    store = failing(workshop)
    store.calls = 0
    store.fails = lambda call: "before" if call >= 3 else None
    with pytest.raises(StoreUnavailable):
        async with asyncio.timeout(PROMPT):
            await append(engine, upload, DATA[2:6])
    workshop.ahead += 60.0  # the lease has run out long ago
    store.back()
    assert await offset(engine, upload) == 6


async def test_whoever_takes_over_first_wins_over_a_commit_that_waits(workshop: Workshop) -> None:
    engine, other = await workshop.engine(), await workshop.engine()
    upload = await upload_of(engine, DATA[:2], length=len(DATA))
    store = failing(workshop)
    patch = asyncio.create_task(append(engine, upload, DATA[2:6]))
    store.fails = lambda call: "before" if call >= 3 else None  # the lease is taken, and nothing more
    store.calls = 0
    with pytest.raises(StoreUnavailable):
        async with asyncio.timeout(PROMPT):
            await patch
    stored = await MemorySessions.get(store, upload.id)
    await MemorySessions.swap(store, stored, stored.fenced())
    store.back()
    await goes_on(other, upload, 2)
    with contextlib.suppress(Refusal):
        await offset(engine, upload)
    assert await bytes_of(engine, await workshop.sessions.get(upload.id)) == DATA


async def test_a_commit_that_was_stored_without_an_answer_is_not_taken_for_somebody_elses(workshop: Workshop) -> None:
    engine = await workshop.engine()
    upload = await upload_of(engine, DATA[:2], length=len(DATA))
    failing(workshop).fail_call(3, "after")  # get, take the lease, give it back
    with pytest.raises(StoreUnavailable):
        await append(engine, upload, DATA[2:6])
    failing(workshop).back()

    assert await offset(engine, upload) == 6
    timeline = [moment.what for moment in (await workshop.sessions.get(upload.id)).timeline]
    assert TakenOver.code not in timeline and "fenced" not in timeline


async def test_waiting_commits_do_not_pile_up(workshop: Workshop) -> None:
    engine = await workshop.engine()
    upload = await upload_of(engine, b"", length=len(DATA))
    blocks: asyncio.Queue[bytes] = asyncio.Queue()
    command = Append(upload_id=upload.id, offset=0, body=Body(size=len(DATA)))
    patch = asyncio.create_task(engine.append(command, slow_body(blocks)))
    blocks.put_nowait(DATA[:4])

    async def held() -> bool:
        return (await workshop.sessions.get(upload.id)).lease is not None

    await until(held)
    before = len(asyncio.all_tasks())
    release = asyncio.Event()
    store = failing(workshop)
    swap = store.swap

    async def hanging(old: Upload, new: Upload) -> Upload:
        await release.wait()
        return await swap(old, new)

    store.swap = hanging  # type: ignore[method-assign]
    await asyncio.sleep(1.0)  # ten heartbeats
    assert len(asyncio.all_tasks()) <= before + 3
    release.set()
    blocks.put_nowait(DATA[4:])
    blocks.put_nowait(b"")
    async with asyncio.timeout(PROMPT):
        assert (await patch).upload.completed


async def test_where_the_bytes_are_to_be_is_asked_last(workshop: Workshop) -> None:
    """A server that has started without MongoDB does not know yet which bucket its GridFS is."""
    away = GridFsBytes(Mongo("mongodb://127.0.0.1:1"))
    engine = Engine(
        workshop.sessions, away, holder="h", limits=workshop.limits, timing=Timing(), hooks=Hooks(), metrics=Metrics()
    )
    upload = await workshop.sessions.create(Upload(id="u", created_at=0.0, updated_at=0.0, length=len(DATA)))
    with pytest.raises(UploadNotFound):
        await append(engine, upload.named("v"), DATA)
    with pytest.raises(OffsetMismatch):
        await append(engine, upload.advanced(1, now=1.0), DATA[1:])
    with pytest.raises(StoreUnavailable):
        await append(engine, upload, DATA)
