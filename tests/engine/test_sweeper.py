"""What is due is removed, once, whoever does it and whatever kills it."""

from __future__ import annotations

import asyncio

import pytest

from tests.engine.conftest import HOUR, Workshop, append, bytes_of, upload_of
from tusserver.keeper import Timing
from tusserver.leases import Leases
from tusserver.protocol.commands import Inspect, Terminate
from tusserver.protocol.refusals import UploadExpired, UploadNotFound
from tusserver.protocol.upload import Status
from tusserver.sweeper import Swept

pytestmark = pytest.mark.anyio


@pytest.mark.requirement("EXP-07", "EXP-08")
async def test_an_idle_upload_expires_and_its_bytes_go(workshop: Workshop) -> None:
    engine = await workshop.engine()
    sweeper = workshop.sweeper(engine)
    upload = await upload_of(engine, b"hello", length=10)
    assert await sweeper.sweep() == Swept()
    workshop.ahead = HOUR + 1
    with pytest.raises(UploadExpired):  # overdue, though nobody has swept yet
        await engine.inspect(Inspect(upload_id=upload.id))
    assert await sweeper.sweep() == Swept(expired=1, bytes=5)
    assert workshop.stored() == []
    with pytest.raises(UploadExpired):
        await engine.inspect(Inspect(upload_id=upload.id))
    assert await sweeper.sweep() == Swept()


@pytest.mark.requirement("EXP-06")
async def test_using_an_upload_keeps_it(workshop: Workshop) -> None:
    engine = await workshop.engine()
    upload = await upload_of(engine, b"hello", length=10)
    workshop.ahead = HOUR - 10
    upload = await append(engine, upload, b"wor")
    workshop.ahead = 2 * HOUR - 20
    assert await workshop.sweeper(engine).sweep() == Swept()
    assert (await engine.inspect(Inspect(upload_id=upload.id))).upload.offset == 8


async def test_a_finished_upload_stays_and_a_finished_partial_does_not(workshop: Workshop) -> None:
    engine = await workshop.engine()
    whole = await upload_of(engine, b"hello")
    await upload_of(engine, b"part", partial=True)
    workshop.ahead = 1000 * HOUR
    assert await workshop.sweeper(engine).sweep() == Swept(expired=1, bytes=4)
    assert await bytes_of(engine, whole) == b"hello"


async def test_an_upload_that_is_being_written_is_left_alone(workshop: Workshop) -> None:
    engine = await workshop.engine()
    upload = await upload_of(engine, b"hello", length=10)
    leases = Leases(workshop.sessions, holder="elsewhere", timing=Timing(ttl=10 * HOUR))
    await leases.acquire(upload, lambda current: current, wants=5)
    workshop.ahead = HOUR + 1
    assert await workshop.sweeper(engine).sweep() == Swept()


async def test_tombstones_are_forgotten_after_a_week(workshop: Workshop) -> None:
    engine = await workshop.engine()
    upload = await upload_of(engine, b"hello", length=10)
    await engine.terminate(Terminate(upload_id=upload.id))
    workshop.ahead = 6 * 24 * HOUR
    assert await workshop.sweeper(engine).sweep() == Swept()
    workshop.ahead = 8 * 24 * HOUR
    assert await workshop.sweeper(engine).sweep() == Swept(forgotten=1)
    with pytest.raises(UploadNotFound):
        await workshop.sessions.get(upload.id)


async def test_many_sweepers_at_once_do_the_work_once(workshop: Workshop) -> None:
    engines = [await workshop.engine() for _ in range(4)]
    for _ in range(30):
        await upload_of(engines[0], b"hello", length=10)
    workshop.ahead = HOUR + 1
    swept = await asyncio.gather(*(workshop.sweeper(engine).sweep() for engine in engines))
    assert sum(each.expired for each in swept) == 30
    assert workshop.stored() == []
    assert (await workshop.sessions.tally())[Status.EXPIRED].count == 30


async def test_what_a_killed_process_left_is_put_right(workshop: Workshop) -> None:
    engine = await workshop.engine()
    killed_while_erasing = await upload_of(engine, b"hello", length=10)
    await workshop.sessions.swap(killed_while_erasing, killed_while_erasing.to(Status.CANCELLED, now=workshop.clock()))
    killed_while_finishing = await upload_of(engine, b"hello", length=10)
    writer = await engine.storage.open(killed_while_finishing)
    await writer.write([b"world"])
    await writer.flush()
    await writer.close()
    done = await workshop.sessions.swap(killed_while_finishing, killed_while_finishing.advanced(10, now=1))
    assert await workshop.sweeper(engine).sweep() == Swept(erased=1, finished=1)
    assert workshop.stored() == [done.id]
    assert await bytes_of(engine, done) == b"helloworld"
    assert await workshop.sweeper(engine).sweep() == Swept()


async def test_bytes_of_an_unknown_upload_are_not_touched(workshop: Workshop) -> None:
    engine = await workshop.engine()
    upload = await upload_of(engine, b"hello", length=10)
    await workshop.sessions.delete(upload.id)
    assert await workshop.sweeper(engine).sweep() == Swept()
    assert workshop.stored() == [f"{upload.id}.1"]


async def test_a_damaged_upload_does_not_hold_up_the_others(workshop: Workshop) -> None:
    engine = await workshop.engine()
    for damaged in (True, False, True, False):
        upload = await upload_of(engine, b"hello", length=10)
        writer = await engine.storage.open(upload)
        await writer.write([b"world"])
        await writer.flush()
        await writer.close()
        await workshop.sessions.swap(upload, upload.advanced(10, now=workshop.clock()))
        if damaged:
            (workshop.root / "parts" / f"{upload.id}.1").write_bytes(b"cut")
    assert await workshop.sweeper(engine).sweep() == Swept(finished=2)
