"""Session stores that can make a transaction right here (``PromptSessions``): all or nothing, and nobody between."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import sqlite3
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.stores.sessions import BACKENDS, Clock, Pair, an_upload, leased, started
from tusserver.protocol.refusals import Refusal, StoreUnavailable, UploadNotFound
from tusserver.protocol.upload import Status, Upload
from tusserver.stores.base import Conflict
from tusserver.stores.disk import DiskBytes
from tusserver.stores.gridfs import GridFsBytes
from tusserver.stores.memory import MemorySessions
from tusserver.stores.mongodb import Mongo, settled
from tusserver.stores.prompt import PromptSessions, prompt_bytes, prompt_sessions
from tusserver.stores.sqlite import SHORT, SqliteSessions

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["memory", "sqlite"])
async def sessions(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[PromptSessions]:
    clock, path = Clock(), tmp_path / "s.db"
    in_memory = request.param == "memory"
    async with started(
        store := MemorySessions(clock) if in_memory else SqliteSessions(path, durable=False, clock=clock)
    ):
        yield store


def failing() -> None:
    raise ZeroDivisionError


async def test_what_is_done_along_is_what_the_store_does_anyway(sessions: PromptSessions) -> None:
    stored = await sessions.create(leased(an_upload("one", length=9)))
    swapped = await sessions.swap(stored, stored.advanced(4, now=2.0))
    put: list[str] = []
    made = await sessions.create_along(leased(an_upload("two", length=9)), lambda: put.append("made"))
    assert made is not None
    assert made.named("one").same_as(stored)
    counted = await sessions.swap_along(made, made.advanced(4, now=2.0), lambda: put.append("counted"))
    assert counted is not None
    assert counted.named("one").same_as(swapped)
    assert (await sessions.get("two")).same_as(counted)
    assert put == ["made", "counted"]
    known = sessions.known("two")
    assert known is not None and known.same_as(counted)
    assert sessions.known("nobody") is None


@contextlib.contextmanager
def no_file_grows_beyond(size: int) -> Iterator[None]:
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, usual[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)


async def test_what_has_grown_too_long_to_be_remembered_is_not_known_as_it_was(tmp_path: Path) -> None:
    async with started(sessions := SqliteSessions(tmp_path / "s.db")):
        short = await sessions.create(an_upload("u", metadata=""))
        assert sessions.known("u") is not None
        await sessions.swap(short, short.described(metadata="a" * SHORT, owner=None))
        assert sessions.known("u") is None


async def test_what_could_not_be_committed_is_not_known(tmp_path: Path) -> None:
    """Another process may make the next version, which is another one."""
    path = tmp_path / "s.db"
    here, there = SqliteSessions(path, durable=False), SqliteSessions(path)
    async with started(here), started(there):
        made = await here.create(an_upload("u", length=9))
        with no_file_grows_beyond((tmp_path / "s.db-wal").stat().st_size), pytest.raises(Refusal):
            await here.swap(made, made.advanced(4, now=2.0))
        known = here.known("u")
        assert known is not None and known.same_as(made)
        cancelled = await there.swap(made, made.to(Status.CANCELLED, now=2.0))
        with pytest.raises(Conflict):
            await here.swap_along(known, known.advanced(4, now=2.0), lambda: None)
        assert (await here.get("u")).same_as(cancelled)


async def test_what_raises_changes_nothing(sessions: PromptSessions) -> None:
    before = await sessions.create(an_upload("old"))
    with pytest.raises(ZeroDivisionError):
        await sessions.create_along(an_upload("new"), failing)
    with pytest.raises(ZeroDivisionError):
        await sessions.swap_along(before, before.placed("there"), failing)
    assert (await sessions.get("old")).same_as(before)
    with pytest.raises(UploadNotFound):
        await sessions.get("new")


async def test_it_refuses_as_the_store_does_and_before_anything_is_put(sessions: PromptSessions) -> None:
    old = await sessions.create(an_upload("u"))
    await sessions.swap(old, old.placed("there"))
    with pytest.raises(Conflict):
        await sessions.swap_along(old, old.placed("elsewhere"), failing)
    with pytest.raises(Conflict):
        await sessions.create_along(an_upload("u"), failing)
    with pytest.raises(UploadNotFound):
        await sessions.swap_along(an_upload("nobody"), an_upload("nobody"), failing)


async def test_of_two_that_come_together_one_puts_and_the_other_conflicts(sessions: PromptSessions) -> None:
    old, put = await sessions.create(an_upload("u")), list[str]()
    came = await asyncio.gather(
        *(sessions.swap_along(old, old.placed(where), partial(put.append, where)) for where in ("here", "there")),
        return_exceptions=True,
    )
    assert [type(each) for each in came] == [Upload, Conflict]
    assert put == ["here"]
    assert (await sessions.get("u")).place == "here"


async def test_nobody_else_stores_anything_meanwhile(tmp_path: Path) -> None:
    sessions = SqliteSessions(tmp_path / "s.db", durable=False)
    async with started(sessions):
        old = await sessions.create(an_upload("u"))
        other = sqlite3.connect(tmp_path / "s.db", isolation_level=None, timeout=0)

        def put() -> None:
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                other.execute("UPDATE uploads SET version = version + 1")

        stored = await sessions.swap_along(old, old.placed("there"), put)
        assert stored is not None
        assert stored.version == old.version + 1
        other.close()


async def test_where_another_process_writes_nothing_happens(tmp_path: Path) -> None:
    sessions = SqliteSessions(tmp_path / "s.db", durable=False)
    async with started(sessions):
        other = sqlite3.connect(tmp_path / "s.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        assert await sessions.create_along(an_upload("u"), failing) is None
        other.execute("ROLLBACK")
        other.close()
        with pytest.raises(UploadNotFound):
            await sessions.get("u")


async def test_what_has_to_reach_the_disk_is_not_done_here(tmp_path: Path) -> None:
    sessions = SqliteSessions(tmp_path / "s.db", durable=True)
    async with started(sessions):
        assert await sessions.create_along(an_upload("u"), failing) is None
        with pytest.raises(UploadNotFound):
            await sessions.get("u")


@pytest.mark.parametrize("backend", sorted(BACKENDS))
async def test_only_stores_in_this_machine_offer_it(backend: str, tmp_path: Path) -> None:
    pair: Pair = BACKENDS[backend](tmp_path, Clock())
    assert (prompt_sessions(pair.one) is None) is backend.startswith("mongodb")
    await settled(pair.close())


async def test_a_store_of_bytes_that_is_not_started_is_asked_nothing(tmp_path: Path) -> None:
    gridfs = GridFsBytes(Mongo("mongodb://127.0.0.1:1"))
    with pytest.raises(StoreUnavailable):
        _ = gridfs.place
    assert prompt_bytes(gridfs) is None
    assert prompt_bytes(DiskBytes(tmp_path)) is not None
