"""Leases between processes: two Leases on one session store are two processes, as far as any rule here goes."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator

import pytest

from tusserver.keeper import Timing
from tusserver.leases import Leases
from tusserver.protocol.refusals import OffsetMismatch, Refusal, ShuttingDown, TakenOver, UploadBusy
from tusserver.protocol.upload import ANYWHERE, Upload
from tusserver.stores.memory import MemorySessions

pytestmark = pytest.mark.anyio

TIMING = Timing(ttl=0.6, beat=0.1, poll=0.01, patience=2.0)


class World:
    """A store with a clock that the test may move, and processes on it."""

    def __init__(self) -> None:
        self.ahead = 0.0
        self.sessions = MemorySessions(clock=lambda: asyncio.get_running_loop().time() + self.ahead)
        self.outcomes: list[str] = []
        self._keepers: list[asyncio.Task[None]] = []

    def process(self, name: str, timing: Timing = TIMING, *, alive: bool = True) -> Leases:
        leases = Leases(self.sessions, holder=name, timing=timing, preempted=self.outcomes.append)
        if alive:
            self._keepers.append(asyncio.create_task(leases.run()))
        return leases

    async def upload(self, length: int = 100) -> Upload:
        return await self.sessions.create(Upload(id="u" * 24, created_at=0, updated_at=0, length=length))

    async def close(self) -> None:
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    yield world
    await world.close()


def unchecked(upload: Upload) -> Upload:
    return upload


def at(offset: int):  # type: ignore[no-untyped-def]
    def check(upload: Upload) -> Upload:
        if upload.offset != offset:
            raise OffsetMismatch(upload=upload)
        return upload

    return check


async def test_a_free_upload_is_acquired_and_released_under_one_token(world: World) -> None:
    upload = await world.upload()
    leases = world.process("a")
    hold = await leases.acquire(upload, unchecked, wants=0)
    assert hold.upload.leased and hold.upload.token == upload.token
    after = await leases.release(hold, lambda u: u.advanced(10, now=1))
    assert after.lease is None and after.offset == 10
    again = await leases.acquire(after, unchecked, wants=10)
    assert again.upload.token == upload.token


async def test_a_lease_is_renewed_while_its_writer_lives(world: World) -> None:
    leases = world.process("a")
    hold = await leases.acquire(await world.upload(), unchecked, wants=0)
    await asyncio.sleep(TIMING.ttl * 2)  # the time that it takes is what is tested
    current = await world.sessions.get(hold.upload.id)
    assert current.leased and current.version > 2


async def test_another_process_takes_over_once_the_holder_has_saved(world: World) -> None:
    upload = await world.upload()
    one, other = world.process("one"), world.process("other")
    hold = await one.acquire(upload, unchecked, wants=0)

    async def writer() -> None:
        stop: asyncio.Future[Refusal] = asyncio.get_running_loop().create_future()
        hold.interrupted = stop.set_result
        assert isinstance(await stop, TakenOver)
        await one.release(hold, lambda u: u.advanced(30, now=1))

    writing = asyncio.create_task(writer())
    await asyncio.sleep(0)
    after = await other.quiet(await world.sessions.get(upload.id))
    await writing
    assert after.offset == 30 and after.lease is None and after.token == upload.token


async def test_a_dead_holder_is_fenced_and_its_late_commits_do_not_count(world: World) -> None:
    upload = await world.upload()
    dead, other = world.process("dead", alive=False), world.process("other")
    stale = await dead.acquire(upload, unchecked, wants=0)
    hold = await other.acquire(await world.sessions.get(upload.id), at(0), wants=0)
    assert world.outcomes == ["fenced"]
    assert hold.upload.token == upload.token + 1
    with pytest.raises(TakenOver):
        await stale.change(lambda u: u.advanced(50, now=1))
    with pytest.raises(TakenOver):
        await dead.release(stale, lambda u: u.advanced(50, now=1))
    assert (await world.sessions.get(upload.id)).offset == 0
    await other.release(hold, lambda u: u.advanced(100, now=2))
    stored = await world.sessions.get(upload.id)
    assert stored.completed and [part.token for part in stored.parts] == [2]


async def test_head_fences_a_lease_that_has_run_out(world: World) -> None:
    upload = await world.upload()
    dead, other = world.process("dead", alive=False), world.process("other")
    stale = await dead.acquire(upload, unchecked, wants=0)
    world.ahead = TIMING.ttl + 1
    after = await other.quiet(await world.sessions.get(upload.id))
    assert after.lease is None and after.token == upload.token + 1
    with pytest.raises(TakenOver):
        await stale.change(lambda u: u.advanced(50, now=1))


async def test_an_expired_lease_costs_nothing_when_nobody_wants_the_upload(world: World) -> None:
    leases = world.process("slow", alive=False)
    hold = await leases.acquire(await world.upload(), unchecked, wants=0)
    world.ahead = TIMING.ttl * 10
    after = await leases.release(hold, lambda u: u.advanced(40, now=1))
    assert after.offset == 40


async def test_who_wants_an_offset_that_is_passed_does_not_disturb(world: World) -> None:
    upload = await world.upload()
    one, other = world.process("one"), world.process("other")
    hold = await one.acquire(upload, unchecked, wants=0)
    hold.position = lambda: 20

    async def beat() -> None:
        def progress(current: Upload) -> Upload:
            current = current.advanced(20, now=1)
            lease = current.lease
            if lease is not None and lease.contest is not None and hold.passed(lease.contest):
                current = current.uncontested()
            return current.renewed()

        await hold.change(progress)

    hold.beat = beat
    with pytest.raises(OffsetMismatch):
        await other.acquire(await world.sessions.get(upload.id), at(0), wants=0)
    with pytest.raises(OffsetMismatch):
        await one.acquire(upload, at(0), wants=0)
    assert hold.reason is None
    current = await world.sessions.get(upload.id)
    assert current.held_by(hold.lease_id)


async def test_patience_ends_with_busy(world: World) -> None:
    upload = await world.upload()
    one = world.process("one")
    hasty = world.process("hasty", dataclasses.replace(TIMING, patience=0.1))
    await one.acquire(upload, unchecked, wants=0)  # a writer that does not end when asked
    with pytest.raises(UploadBusy) as busy:
        await hasty.quiet(await world.sessions.get(upload.id))
    assert busy.value.retry_after is not None and busy.value.upload is not None


async def test_a_contested_holder_that_does_not_answer_is_fenced_when_its_lease_runs_out(world: World) -> None:
    upload = await world.upload()
    stuck, other = world.process("stuck"), world.process("other")
    await stuck.acquire(upload, unchecked, wants=0)  # its keeper lives, its writer does not react
    hold = await other.acquire(await world.sessions.get(upload.id), unchecked, wants=ANYWHERE)
    assert hold.upload.token == upload.token + 1


async def test_many_want_one_upload_and_one_at_a_time_has_it(world: World) -> None:
    upload = await world.upload(length=1000)
    processes = [world.process(f"p{number}") for number in range(4)]
    writing = 0

    async def contend(leases: Leases) -> bool:
        nonlocal writing
        with contextlib.suppress(UploadBusy):
            hold = await leases.acquire(await world.sessions.get(upload.id), unchecked, wants=ANYWHERE)
            stop = asyncio.Event()
            hold.interrupted = lambda reason: stop.set()
            writing += 1
            assert writing == 1
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.02):
                    await stop.wait()
            writing -= 1
            await leases.release(hold, lambda u: u.advanced(u.offset + 1, now=1))
            return True
        return False

    counted = await asyncio.gather(*(contend(processes[number % 4]) for number in range(40)))
    after = await world.sessions.get(upload.id)
    assert after.offset == sum(counted) > 0
    assert after.token == upload.token


async def test_interrupting_reaches_every_writer(world: World) -> None:
    leases = world.process("a")
    hold = await leases.acquire(await world.upload(), unchecked, wants=0)
    assert leases.awaited == 100
    assert leases.interrupt(ShuttingDown) == [hold]
    assert isinstance(hold.reason, ShuttingDown)
    await leases.release(hold)
    assert leases.interrupt(ShuttingDown) == []


async def test_a_heartbeat_that_comes_after_the_end_changes_nothing(world: World) -> None:
    leases = world.process("a")
    hold = await leases.acquire(await world.upload(), unchecked, wants=0)
    _, late = await asyncio.gather(leases.release(hold), hold.renew(), return_exceptions=True)
    assert isinstance(late, TakenOver)
    assert (await world.sessions.get(hold.upload.id)).lease is None
