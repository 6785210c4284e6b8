"""What only sessions in SQLite have: other processes, crashes, a thread, a disk."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.stores.sessions import Clock, an_upload, found, started
from tusserver.protocol.refusals import StorageFull, StoreUnavailable, UploadNotFound
from tusserver.protocol.upload import TOMBSTONES, Kind, Status, Upload
from tusserver.stores import database
from tusserver.stores.base import Conflict, Query
from tusserver.stores.sqlite import SqliteSessions
from tusserver.stores.sqlite_rows import selection

pytestmark = pytest.mark.anyio


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "made" / "for" / "it" / "sessions.db"


@pytest.fixture
async def store(path: Path, anyio_backend: str) -> AsyncIterator[SqliteSessions]:
    store = SqliteSessions(path)
    async with started(store):
        yield store


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Another connection holds the write lock, so that writes queue up behind the first."""
    other = sqlite3.connect(path, isolation_level=None)
    with contextlib.closing(other):
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


async def swapper(path: Path, times: int, *ids: str) -> asyncio.subprocess.Process:
    arguments = ("-m", "tests.stores.swapper", str(path), str(times), *ids)
    return await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=asyncio.subprocess.PIPE)


def overwrite(path: Path, start: int) -> None:
    size = path.stat().st_size
    with path.open("r+b") as raw:
        raw.seek(start)
        raw.write(b"\xff" * (size - start))


async def queued(*tasks: asyncio.Task[object]) -> None:
    """Return when each task has handed its work over and waits."""
    for _ in tasks:
        await asyncio.sleep(0)


# Several processes


async def test_two_processes_swapping_one_upload_lose_nothing(store: SqliteSessions, path: Path) -> None:
    await store.create(an_upload())
    processes = [await swapper(path, 150, "u") for _ in range(2)]
    outputs = await asyncio.gather(*(process.communicate() for process in processes))
    assert [process.returncode for process in processes] == [0, 0]
    versions = [int(line.split()[1]) for output, _ in outputs for line in output.splitlines()]
    assert sorted(versions) == list(range(2, 302))
    last = await store.get("u")
    assert (last.version, last.offset) == (301, 300)


async def test_what_another_process_stores_is_seen_at_once(store: SqliteSessions, path: Path) -> None:
    first = await store.create(an_upload())
    process = await swapper(path, 50, "u")
    assert process.stdout is not None
    async for line in process.stdout:
        assert (await store.get("u")).version >= int(line.split()[1])
    await process.wait()
    with pytest.raises(Conflict):
        await store.swap(first, first)


async def test_acknowledged_swaps_outlive_a_kill(path: Path) -> None:
    ids = [f"u{n}" for n in range(8)]
    store = SqliteSessions(path)
    async with started(store):
        for upload_id in ids:
            await store.create(an_upload(upload_id))
    process = await swapper(path, 1_000_000, *ids)
    assert process.stdout is not None
    lines = [await process.stdout.readline() for _ in range(400)]
    process.kill()
    lines += (await process.stdout.read()).splitlines(keepends=True)
    assert await process.wait() == -9
    whole = [line.split() for line in lines if line.endswith(b"\n")]
    acknowledged = {upload_id.decode(): int(version) for upload_id, version in whole}
    assert set(acknowledged) == set(ids)
    async with started(after := SqliteSessions(path)):
        for upload_id, version in acknowledged.items():
            upload = await after.get(upload_id)
            assert version <= upload.version <= version + 1
            assert upload.offset == upload.version - 1


async def test_many_may_start_on_a_new_database_at_once(path: Path) -> None:
    stores = [SqliteSessions(path) for _ in range(12)]
    await asyncio.gather(*(store.start() for store in stores))
    await asyncio.gather(*(store.create(an_upload(f"u{n}")) for n, store in enumerate(stores)))
    assert len(await found(stores[0])) == 12
    await asyncio.gather(*(store.close() for store in stores))


async def test_sessions_are_there_after_a_restart(path: Path) -> None:
    async with started(before := SqliteSessions(path)):
        stored = await before.create(an_upload(length=4))
    async with started(after := SqliteSessions(path)):
        assert (await after.get("u")).same_as(stored)


# The thread


async def test_what_waits_together_is_committed_together(store: SqliteSessions, path: Path) -> None:
    uploads = [await store.create(an_upload(f"u{n}")) for n in range(100)]
    with locked(path):
        tasks = [asyncio.create_task(store.swap(upload, upload.advanced(1, now=1.0))) for upload in uploads]
        await queued(*tasks)
    log = path.with_name(path.name + "-wal")
    before = log.stat().st_size
    await asyncio.gather(*tasks)
    pages = (log.stat().st_size - before) / 4096
    assert pages < 100  # each on its own would have written a page at least


async def test_a_failure_is_nobody_elses(store: SqliteSessions, path: Path) -> None:
    old = await store.create(an_upload("old"))
    new = await store.swap(old, old.advanced(1, now=1.0))
    bad = await store.create(an_upload("bad"))
    good = await store.create(an_upload("good"))
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute(
            "CREATE TRIGGER bad BEFORE UPDATE ON uploads WHEN new.id = 'bad' BEGIN SELECT RAISE(ROLLBACK, 'bad'); END"
        )
    with locked(path):
        tasks: list[asyncio.Task[object]] = [
            asyncio.create_task(work)
            for work in (
                store.create(an_upload("made")),
                store.swap(old, old),
                store.swap(an_upload("gone"), an_upload("gone")),
                store.create(an_upload("vast", length=2**64)),
                store.swap(bad, bad.advanced(1, now=1.0)),
                store.get("nobody"),
                store.swap(new, new.advanced(2, now=1.0)),
                store.swap(good, good.advanced(7, now=1.0)),
                store.get("good"),
            )
        ]
        await queued(*tasks)
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(end) for end in ends] == [
        Upload, Conflict, UploadNotFound, OverflowError, StoreUnavailable, UploadNotFound, Upload, Upload, Upload,
    ]  # fmt: skip
    assert isinstance(ends[-1], Upload)
    assert ends[-1].offset == 7
    assert await found(store) == ["bad", "good", "made", "old"]
    assert (await store.get("bad")).same_as(bad)
    assert (await store.get("old")).version == 3


async def test_cancelled_tasks_cost_nobody_else_anything(store: SqliteSessions, path: Path) -> None:
    uploads = [await store.create(an_upload(f"u{n}")) for n in range(40)]
    with locked(path):
        tasks = [asyncio.create_task(store.swap(upload, upload.advanced(1, now=1.0))) for upload in uploads]
        await queued(*tasks)
        for task in tasks[::2]:
            task.cancel()
    async with asyncio.timeout(20.0):
        ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(end, asyncio.CancelledError) for end in ends[::2])
    assert all(isinstance(end, Upload) and end.offset == 1 for end in ends[1::2])
    assert (await store.create(an_upload("next"))).version == 1


async def test_close_carries_out_what_is_queued(path: Path) -> None:
    store = SqliteSessions(path)
    await store.start()
    with locked(path):
        tasks = [asyncio.create_task(store.create(an_upload(f"u{n}"))) for n in range(database.BATCH + 50)]
        await queued(*tasks)
        closing = asyncio.create_task(store.close())
        await queued(closing)
        with pytest.raises(StoreUnavailable):
            await store.create(an_upload("late"))
    await closing
    assert {upload.version for upload in await asyncio.gather(*tasks)} == {1}
    async with started(after := SqliteSessions(path)):
        assert len(await found(after)) == database.BATCH + 50
    assert not path.with_name(path.name + "-wal").exists()


async def test_a_cancelled_start_leaves_no_thread_behind(path: Path) -> None:
    starting = asyncio.create_task(SqliteSessions(path).start())
    await queued(starting)
    (thread,) = (thread for thread in threading.enumerate() if thread.name == f"sqlite {path.name}")
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    await asyncio.to_thread(thread.join, 10.0)
    assert not thread.is_alive()


async def test_closing_what_never_started_is_fine(path: Path) -> None:
    await SqliteSessions(path).close()
    assert not path.parent.exists()


# The database


SETTINGS = ("synchronous", "journal_mode")


@pytest.mark.parametrize(("durable", "synchronous"), [(True, 2), (False, 1)])
async def test_durable_waits_for_the_disk(path: Path, durable: bool, synchronous: int) -> None:
    async with started(store := SqliteSessions(path, durable=durable)):
        settings = await store._database.read(
            lambda connection: [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in SETTINGS]
        )
    assert settings == [synchronous, "wal"]


@pytest.mark.parametrize(
    ("query", "index"),
    [
        (Query(), "uploads_by_age"),
        (Query(holder="pod", contested=True), "uploads_by_holder"),
        (Query(statuses=frozenset({Status.ACTIVE, Status.COMPLETED}), expires_before=1.0), "uploads_by_expiry"),
        (Query(statuses=TOMBSTONES, ended_before=1.0), "uploads_by_end"),
        (Query(statuses=TOMBSTONES, stored=True), "uploads_to_erase"),
        (Query(statuses=frozenset({Status.ACTIVE}), kind=Kind.FINAL), "uploads_to_join"),
    ],
)
async def test_what_the_server_asks_all_the_time_has_an_index(
    store: SqliteSessions, path: Path, query: Query, index: str
) -> None:
    sql, values = selection(query)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        plan = connection.execute(f"EXPLAIN QUERY PLAN {sql}", {**values, "created_at": 0.0, "id": ""}).fetchall()
    assert f"USING INDEX {index} " in plan[0][3]


async def test_a_newer_schema_is_refused(path: Path) -> None:
    async with started(SqliteSessions(path)):
        pass
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 2")
    with pytest.raises(StoreUnavailable, match="made by a newer version of the server"):
        await SqliteSessions(path).start()


async def test_what_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database, " * 100)
    with pytest.raises(StoreUnavailable, match=r"notes\.txt is not an SQLite database") as refused:
        await SqliteSessions(path).start()
    assert isinstance(refused.value.__cause__, sqlite3.DatabaseError)
    assert path.read_text() == "not a database, " * 100


async def test_a_place_that_cannot_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(StoreUnavailable) as refused:
        await SqliteSessions(tmp_path / "taken" / "sessions.db").start()
    assert isinstance(refused.value.__cause__, OSError)
    with pytest.raises(StoreUnavailable, match="cannot be opened"):
        await SqliteSessions(tmp_path).start()


async def test_a_full_disk_is_storage_full_and_reads_go_on(store: SqliteSessions, path: Path) -> None:
    upload = await store.create(an_upload())
    await store._database.read(lambda connection: connection.execute("PRAGMA max_page_count = 1").fetchone())
    with pytest.raises(StorageFull) as refused:
        await store.create(an_upload("big", metadata="x" * 1_000_000))
    assert isinstance(refused.value.__cause__, sqlite3.OperationalError)
    with locked(path):
        writing = asyncio.create_task(store.swap(upload, replace(upload, metadata="x" * 1_000_000)))
        reading = asyncio.create_task(store.get("u"))
        await queued(writing, reading)
    assert (await reading).same_as(upload)
    with pytest.raises(StorageFull):
        await writing


async def test_a_database_locked_for_long_is_unavailable_and_still_read(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY", 0.2)
    async with started(store := SqliteSessions(path)):
        upload = await store.create(an_upload())
        with locked(path):
            writing = [asyncio.create_task(store.swap(upload, upload)) for _ in range(20)]
            reading = asyncio.create_task(store.get("u"))
            ends = await asyncio.wait_for(asyncio.gather(*writing, return_exceptions=True), 3.0)
            assert (await reading).same_as(upload)
            await store.ping()
        assert all(isinstance(end, StoreUnavailable) for end in ends)
        assert (await store.swap(upload, upload)).version == 2


async def test_a_damaged_database_is_unavailable(path: Path) -> None:
    async with started(store := SqliteSessions(path)):
        await asyncio.gather(*(store.create(an_upload(f"u{n}")) for n in range(200)))
    overwrite(path, 4096)
    async with started(store := SqliteSessions(path)):
        with pytest.raises(StoreUnavailable, match="is damaged") as refused:
            await store.get("u1")
    assert isinstance(refused.value.__cause__, sqlite3.DatabaseError)


async def test_notes_that_have_run_out_are_not_kept(path: Path) -> None:
    clock = Clock()
    async with started(store := SqliteSessions(path, clock=clock)):
        for number in range(20):
            await store.pin("errors", f"pod-{number}", "text", 5)
            clock.now += 1
        with contextlib.closing(sqlite3.connect(path)) as connection:
            assert connection.execute("SELECT COUNT(*) FROM notes").fetchone() == (5,)
