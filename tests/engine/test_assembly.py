"""Final uploads: joined once, in order, by whoever is there, however often it is interrupted."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable

import pytest

from tests.engine.conftest import Workshop, append, body, bytes_of, final_over, upload_of
from tusserver.assembly import final_id
from tusserver.hooks import Event, Hooks
from tusserver.keeper import Timing
from tusserver.leases import Leases
from tusserver.protocol.commands import Create, Inspect, Terminate
from tusserver.protocol.refusals import BadConcat, HookRefused, UploadNotFound
from tusserver.protocol.upload import ANYWHERE, Concat, Kind, Status, Upload

pytestmark = pytest.mark.anyio


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def completed(workshop: Workshop, upload: Upload) -> bool:
    return (await workshop.sessions.get(upload.id)).completed


@pytest.mark.requirement("CONC-04", "CONC-07", "CONC-19")
async def test_partials_are_joined_in_the_order_of_the_list(workshop: Workshop) -> None:
    engine = await workshop.engine()
    one, two = [await upload_of(engine, data, partial=True) for data in (b"one", b"two!")]
    final = (await engine.create(final_over(two, one, two), body(b""))).upload
    assert final.completed and final.length == final.offset == 11
    assert await bytes_of(engine, final) == b"two!onetwo!"
    assert await bytes_of(engine, one) == b"one"


async def test_repeating_the_request_copies_nothing_twice(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = await workshop.engine()
    copied: list[int] = []
    copy = os.copy_file_range

    def counting(source: int, target: int, count: int, *offsets: int) -> int:
        done = copy(source, target, count, *offsets)
        copied.append(done)
        return done

    monkeypatch.setattr(os, "copy_file_range", counting)
    partials = [await upload_of(engine, b"x" * 1000, partial=True) for _ in range(3)]
    command = final_over(*partials)
    answers = await asyncio.gather(*(engine.create(command, body(b"")) for _ in range(5)))
    again = await engine.create(command, body(b""))
    assert {created.upload.id for created in answers} == {again.upload.id}
    await until(lambda: completed(workshop, again.upload))
    assert sum(copied) == 3000


async def test_another_process_gets_the_same_final_upload(workshop: Workshop) -> None:
    one, other = await workshop.engine(), await workshop.engine()
    partial = await upload_of(one, b"data", partial=True)
    first = (await one.create(final_over(partial), body(b""))).upload
    second = (await other.create(final_over(partial), body(b""))).upload
    assert first.id == second.id
    await one.terminate(Terminate(upload_id=first.id))
    third = (await other.create(final_over(partial), body(b""))).upload
    assert third.id != first.id and third.completed


def test_final_ids_depend_on_all_that_makes_the_upload() -> None:
    ids = {
        final_id(["a", "b"], None, None, 0),
        final_id(["b", "a"], None, None, 0),
        final_id(["a", "b"], "filename eA==", None, 0),
        final_id(["a", "b"], None, "me", 0),
        final_id(["a", "b"], None, None, 1),
    }
    assert len(ids) == 5 and all(len(each) == 32 for each in ids)


@pytest.mark.requirement("CONC-11", "CONC-18", "CONC-21")
async def test_partials_may_still_be_on_their_way(workshop: Workshop) -> None:
    engine = await workshop.engine()
    one = await upload_of(engine, b"one", partial=True)
    two = await upload_of(engine, b"t", length=3, partial=True)
    final = (await engine.create(final_over(one, two), body(b""))).upload
    assert not final.completed and final.length == 6 and final.offset == 0
    await append(engine, two, b"wo")
    await until(lambda: completed(workshop, final))
    assert await bytes_of(engine, await workshop.sessions.get(final.id)) == b"onetwo"


@pytest.mark.requirement("CONC-21")
async def test_the_length_is_told_once_it_can_be_computed(workshop: Workshop) -> None:
    engine = await workshop.engine()
    concat = Concat(raw="partial", kind=Kind.PARTIAL)
    deferred = (await engine.create(Create(length=None, concat=concat), body(b""))).upload
    final = (await engine.create(final_over(deferred), body(b""))).upload
    assert final.length is None
    await workshop.sessions.swap(deferred, deferred.with_length(7, now=1))
    assert (await engine.inspect(Inspect(upload_id=final.id))).upload.length == 7


async def test_empty_partials_make_an_empty_upload(workshop: Workshop) -> None:
    engine = await workshop.engine()
    concat = Concat(raw="partial", kind=Kind.PARTIAL)
    empty = (await engine.create(Create(length=0, concat=concat), body(b""))).upload
    final = (await engine.create(final_over(empty, empty), body(b""))).upload
    assert final.completed and final.length == 0


@pytest.mark.requirement("CONC-03")
async def test_the_application_hears_of_the_final_upload_only(workshop: Workshop) -> None:
    heard: list[str] = []

    async def finished(event: Event) -> None:
        heard.append(event.upload.id)

    engine = await workshop.engine(Hooks(post_finish=finished))
    partial = await upload_of(engine, b"data", partial=True)
    assert heard == []
    final = (await engine.create(final_over(partial), body(b""))).upload
    assert heard == [final.id]


async def test_a_partial_that_goes_away_takes_the_final_upload_with_it(workshop: Workshop) -> None:
    engine = await workshop.engine()
    partial = await upload_of(engine, b"da", length=4, partial=True)
    final = (await engine.create(final_over(partial), body(b""))).upload
    await engine.terminate(Terminate(upload_id=partial.id))

    async def given_up() -> bool:
        return (await workshop.sessions.get(final.id)).status is Status.CANCELLED

    await until(given_up)
    with pytest.raises(UploadNotFound):
        await engine.inspect(Inspect(upload_id=final.id))


async def test_only_partial_uploads_can_be_joined(workshop: Workshop) -> None:
    engine = await workshop.engine()
    whole = await upload_of(engine, b"whole")
    with pytest.raises(BadConcat):
        await engine.create(final_over(whole), body(b""))


async def test_an_application_may_refuse_what_has_been_joined(workshop: Workshop) -> None:
    async def refuse(event: Event) -> None:
        raise HookRefused(422, "no")

    engine = await workshop.engine(Hooks(pre_finish=refuse))
    partial = await upload_of(engine, b"data", partial=True)
    final = (await engine.create(final_over(partial), body(b""))).upload
    assert final.status is Status.CANCELLED


async def test_a_process_that_died_while_joining_is_replaced(workshop: Workshop) -> None:
    engine = await workshop.engine()
    partials = [await upload_of(engine, bytes([65 + n]) * 1000, partial=True) for n in range(3)]
    # A dead process: its lease is there, half of its bytes are counted, and nobody renews
    final = await workshop.sessions.create(
        Upload(
            id=final_id([partial.id for partial in partials], None, None, 0),
            created_at=workshop.clock(),
            updated_at=workshop.clock(),
            length=3000,
            concat=final_over(*partials).concat,
        )
    )
    dead = Leases(workshop.sessions, holder="dead", timing=Timing(ttl=0.5))
    hold = await dead.acquire(final, lambda current: current, wants=ANYWHERE)
    writer = await engine.storage.open(hold.upload)
    await writer.copy(partials[0], 0, 1000)
    await writer.copy(partials[1], 0, 500)
    counted = await writer.flush()
    await hold.change(lambda current: current.advanced(counted, now=1))
    await writer.copy(partials[2], 0, 700)  # an uncounted tail of the wrong bytes
    await until(lambda: completed(workshop, final), seconds=15)
    done = await workshop.sessions.get(final.id)
    assert [part.token for part in done.parts] == [1, 2]
    assert await bytes_of(engine, done) == b"A" * 1000 + b"B" * 1000 + b"C" * 1000
    await writer.close()
