"""Changes that the loop gets ready shortly after one another are committed together, and each comes out as if it were
alone."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from tests.stores.sessions import an_upload, turns_until
from tusserver.protocol.refusals import StoreUnavailable, UploadNotFound
from tusserver.protocol.upload import Upload
from tusserver.stores import database_turns
from tusserver.stores.base import Conflict, Query
from tusserver.stores.database_turns import TOGETHER, TURNS
from tusserver.stores.lock_file import LockFile
from tusserver.stores.sqlite import SqliteSessions

pytestmark = pytest.mark.anyio


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteSessions]:
    store = SqliteSessions(tmp_path / "s.db", durable=False)
    await store.start()
    yield store
    await store.close()


@pytest.fixture
def locked(store: SqliteSessions, tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """Another process's connection, in a transaction that writes."""
    other = sqlite3.connect(tmp_path / "s.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    yield other
    other.close()


def statements(store: SqliteSessions) -> list[str]:
    """What the loop's connection is told from now on."""
    seen: list[str] = []
    store._database._connection.set_trace_callback(seen.append)
    return seen


async def uploads(store: SqliteSessions) -> list[str]:
    return [upload.id async for upload in store.find(Query())]


def nothing() -> None:
    """What needs nothing put down along with it."""


async def test_what_is_ready_together_is_one_transaction(store: SqliteSessions) -> None:
    seen = statements(store)
    made = await asyncio.gather(*(store.create(an_upload(f"{number}")) for number in range(20)))
    assert TOGETHER > 20
    assert [upload.version for upload in made] == [1] * 20
    assert [seen.count("BEGIN IMMEDIATE"), seen.count("COMMIT")] == [1, 1]
    swapped = await asyncio.gather(
        *(store.swap(upload, upload.placed("there")) for upload in made[:5]),
        *(store.swap_along(upload, upload.placed("there"), nothing) for upload in made[5:]),
    )
    assert [each.version for each in swapped if each is not None] == [2] * 20
    assert [seen.count("BEGIN IMMEDIATE"), seen.count("COMMIT")] == [2, 2]


async def one_each_turn(store: SqliteSessions, many: int) -> None:
    creating = []
    for number in range(many):
        creating.append(asyncio.create_task(store.create(an_upload(f"{number}"))))
        await asyncio.sleep(0)
    await asyncio.gather(*creating)


async def test_what_comes_turn_after_turn_is_one_transaction(store: SqliteSessions) -> None:
    seen = statements(store)
    await one_each_turn(store, TURNS)
    assert seen.count("COMMIT") == 1


async def test_who_came_first_does_not_wait_for_all_who_follow(store: SqliteSessions) -> None:
    seen = statements(store)
    await one_each_turn(store, 100)
    assert seen.count("COMMIT") >= 100 // (TURNS + 2)


async def test_where_nobody_follows_nobody_is_waited_for(store: SqliteSessions) -> None:
    seen = statements(store)
    first = asyncio.create_task(store.create(an_upload("first")))
    for _ in range(3):  # it starts; nobody has come in the turn behind it; it is carried out
        await asyncio.sleep(0)
    assert seen.count("COMMIT") == 1
    assert (await first).version == 1


async def test_many_are_several_transactions_so_that_others_get_a_turn(store: SqliteSessions) -> None:
    seen = statements(store)
    made = await asyncio.gather(*(store.create(an_upload(f"{number}")) for number in range(3 * TOGETHER + 1)))
    assert len(made) == seen.count("COMMIT") * TOGETHER - TOGETHER + 1
    assert len(await uploads(store)) == len(made)


async def test_one_that_is_refused_takes_no_other_with_it(store: SqliteSessions) -> None:
    old = await store.create(an_upload("old"))
    await store.swap(old, old.placed("there"))
    came = await asyncio.gather(
        store.create(an_upload("a")),
        store.swap(old, old.placed("elsewhere")),
        store.swap_along(an_upload("nobody"), an_upload("nobody"), nothing),
        store.create(an_upload("a")),
        store.create(an_upload("b")),
        return_exceptions=True,
    )
    assert [type(each) for each in came] == [Upload, Conflict, UploadNotFound, Conflict, Upload]
    assert [(await store.get(name)).version for name in ("a", "b", "old")] == [1, 1, 2]


async def test_one_that_fails_after_a_change_is_undone_alone(store: SqliteSessions) -> None:
    def put() -> None:
        raise ZeroDivisionError

    came = await asyncio.gather(
        store.create(an_upload("a")),
        store.create_along(an_upload("half"), put),
        store.create(an_upload("b")),
        return_exceptions=True,
    )
    assert [type(each) for each in came] == [Upload, ZeroDivisionError, Upload]
    assert [(await store.get(name)).version for name in ("a", "b")] == [1, 1]
    with pytest.raises(UploadNotFound):
        await store.get("half")


async def test_one_that_the_database_fails_takes_no_other_with_it(store: SqliteSessions) -> None:
    def work(connection: sqlite3.Connection) -> None:
        connection.execute("UPDATE nothing SET there = 1")

    came = await asyncio.gather(
        store.create(an_upload("a")),
        store._database.write(work),
        store._database.at_once(work),
        store.create(an_upload("b")),
        return_exceptions=True,
    )
    assert [type(each) for each in came] == [Upload, StoreUnavailable, type(None), Upload]
    assert [(await store.get(name)).version for name in ("a", "b")] == [1, 1]


async def test_one_whose_task_is_cancelled_takes_no_other_with_it(store: SqliteSessions) -> None:
    tasks = [asyncio.create_task(store.create(an_upload(name))) for name in ("a", "b")]
    await turns_until(lambda: len(store._database._turns._waiting) == 2)
    tasks[0].cancel()
    assert (await tasks[1]).id == "b"
    with suppress(asyncio.CancelledError):
        await tasks[0]
    assert await uploads(store) == ["b"]


async def test_where_all_are_cancelled_nothing_happens(store: SqliteSessions) -> None:
    seen = statements(store)
    creating = asyncio.create_task(store.create(an_upload("a")))
    await turns_until(lambda: store._database._turns._waiting)
    creating.cancel()
    await turns_until(lambda: not store._database._turns._waiting)
    assert seen == []
    assert await uploads(store) == []


async def test_what_is_under_way_is_carried_out_before_it_closes(tmp_path: Path) -> None:
    store = SqliteSessions(tmp_path / "s.db", durable=False)
    await store.start()
    many = 2 * TOGETHER + 1
    creating = [asyncio.create_task(store.create(an_upload(f"{number}"))) for number in range(many)]
    await turns_until(lambda: len(store._database._turns._waiting) == many)
    await store.close()
    assert [(await each).version for each in creating] == [1] * many
    rows = sqlite3.connect(tmp_path / "s.db").execute("SELECT COUNT(*) FROM uploads").fetchall()
    assert rows == [(many,)]


async def test_the_loop_goes_on_while_another_process_writes(
    store: SqliteSessions, locked: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what it gets ready meanwhile is committed along."""
    seen = statements(store)
    monkeypatch.setattr(database_turns, "MOMENT", 60.0)
    monkeypatch.setattr(store._database, "_do", None)  # the thread
    making = asyncio.create_task(store.create_along(an_upload("a"), nothing))
    await turns_until(lambda: store._database._turns._locked_since is not None)
    with pytest.raises(UploadNotFound):
        await store.get("a")
    others = [asyncio.create_task(store.create(an_upload(name))) for name in "bc"]
    await turns_until(lambda: len(store._database._turns._waiting) == 3)
    assert not making.done()
    locked.execute("COMMIT")
    assert [made.version for made in await asyncio.gather(making, *others) if made is not None] == [1, 1, 1]
    assert seen.count("COMMIT") == 1
    monkeypatch.undo()


async def test_it_takes_turns_with_others_by_the_lock_file(
    store: SqliteSessions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_turns, "MOMENT", 60.0)
    monkeypatch.setattr(store._database, "_do", None)  # the thread
    with closing(LockFile(tmp_path / "s.db-lock")) as other:
        assert other.enter_at_once()
        making = asyncio.create_task(store.create(an_upload("a")))
        await turns_until(lambda: store._database._turns._locked_since is not None)
        assert not making.done()
        other.leave()
        assert (await making).version == 1

        def put() -> None:
            assert not other.enter_at_once()
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await store.create_along(an_upload("b"), put)
        assert other.enter_at_once()
    monkeypatch.undo()


async def test_it_looks_in_each_turn_whether_another_process_is_done(
    store: SqliteSessions, locked: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_turns, "AGAIN", 60.0)
    monkeypatch.setattr(database_turns, "MOMENT", 60.0)
    making = asyncio.create_task(store.create(an_upload("a")))
    await turns_until(lambda: store._database._turns._locked_since is not None)
    locked.execute("COMMIT")
    for _ in range(5):
        await asyncio.sleep(0)
    assert making.done()


async def test_it_looks_less_often_where_another_process_is_long_at_it(
    store: SqliteSessions, locked: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_turns, "MOMENT", 60.0)
    seen = statements(store)
    making = asyncio.create_task(store.create(an_upload("a")))
    await turns_until(lambda: store._database._turns._locked_since is not None)
    monkeypatch.setattr(database_turns, "AGAIN", 0.05)
    await asyncio.sleep(0.06)
    before = len(seen)
    for _ in range(100):
        await asyncio.sleep(0)
    assert len(seen) - before < 10
    locked.execute("COMMIT")
    assert (await making).version == 1


async def test_one_that_waits_for_another_process_is_carried_out_before_it_closes(
    store: SqliteSessions, locked: sqlite3.Connection
) -> None:
    making = asyncio.create_task(store.create(an_upload("a")))
    await turns_until(lambda: store._database._turns._locked_since is not None)
    closing = asyncio.create_task(store.close())
    await turns_until(lambda: not store._database._open)
    locked.execute("COMMIT")
    await closing
    assert (await making).version == 1
    assert locked.execute("SELECT COUNT(*) FROM uploads").fetchone() == (1,)


async def test_a_lease_runs_from_when_it_is_stored_however_long_that_waits(
    store: SqliteSessions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(store, "_clock", lambda: now[0])
    monkeypatch.setattr(database_turns, "MOMENT", 60.0)
    free = await store.create(an_upload("a"))
    other = sqlite3.connect(tmp_path / "s.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    leased = an_upload("b").acquired(lease_id="l", holder="h", ttl=3.0)
    taking = asyncio.create_task(store.swap(free, free.acquired(lease_id="l", holder="h", ttl=3.0)))
    making = asyncio.create_task(store.create(leased))
    await turns_until(lambda: store._database._turns._locked_since is not None)
    now[0] += 100
    other.execute("COMMIT")
    other.close()
    stored = await asyncio.gather(taking, making)
    assert [each.lease and each.lease.expires_at for each in stored] == [1103.0, 1103.0]
