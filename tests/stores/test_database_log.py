"""The write-ahead log of the SQLite database, where changes are made in the event loop."""

from __future__ import annotations

import errno
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from tests.disks import Disk, disk_at
from tests.stores.sessions import Clock, an_upload
from tusserver.protocol.refusals import StorageFull
from tusserver.stores import database, database_log
from tusserver.stores.database_errors import BUSY
from tusserver.stores.database_log import BRIEF, Log
from tusserver.stores.here import Here
from tusserver.stores.lock_file import LockFile
from tusserver.stores.sqlite import SqliteSessions

pytestmark = pytest.mark.anyio


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with disk_at(tmp_path / "disk") as disk:
        yield disk


async def test_the_log_is_moved_into_the_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "CHECKPOINT", 50)
    monkeypatch.setattr(database_log, "LONG", 100)
    store = SqliteSessions(tmp_path / "s.db", durable=False)
    store._database._here = Here(True, Clock())  # however busy this machine is
    await store.start()
    upload = await store.create(an_upload("a"))
    for _ in range(1000):
        upload = await store.swap(upload, upload.placed(str(upload.version)))
        await store.ping()  # on the thread, behind the checkpoint
    pages = (tmp_path / "s.db-wal").stat().st_size / 4096
    assert pages < 500
    await store.close()


@contextmanager
def log_of(directory: Path, *, at: Mapping[str, Callable[[], object]] = MappingProxyType({})) -> Iterator[Log]:
    """The log of a database that is open elsewhere. ``at``: what is done right behind a kind of checkpoint."""
    lock = LockFile(directory / "s.db-lock")
    with closing(lock), closing(Log(directory / "s.db", lock)) as log:
        log._mover.close()
        log._mover = mover = connected(directory, Meanwhile)
        assert isinstance(mover, Meanwhile)
        mover.at = at
        mover.execute(f"PRAGMA busy_timeout = {BRIEF * 1000:.0f}")
        yield log


async def test_a_long_log_begins_anew_also_where_changes_never_pause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_log, "LONG", 20)
    store = SqliteSessions(tmp_path / "s.db", durable=False)
    await store.start()
    with closing(changing(tmp_path)) as change:
        for _ in range(50):
            change()
        before = head_of(tmp_path)
        with log_of(tmp_path, at={"PASSIVE": change}) as log:
            log.move()
        begun, size = head_of(tmp_path), (tmp_path / "s.db-wal").stat().st_size
        assert begun != before
        change()
        assert (head_of(tmp_path), (tmp_path / "s.db-wal").stat().st_size) == (begun, size)
    await store.close()


async def test_whoever_changes_something_never_begins_the_log_which_waits_for_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SqliteSessions(tmp_path / "s.db", durable=False)
    await store.start()
    kept_out: list[bool] = []
    with closing(changing(tmp_path)) as change, closing(LockFile(tmp_path / "s.db-lock")) as loops:

        def try_to_change() -> None:
            kept_out.append(not loops.enter_at_once())

        begun = head_of(tmp_path)
        for at in ({}, {"PASSIVE": change}, {}):
            with log_of(tmp_path, at=at) as log:
                change()
                log.move()
                change()
            assert head_of(tmp_path) == begun
        monkeypatch.setattr(database_log, "LONG", 0)
        with log_of(tmp_path, at={"RESTART": try_to_change}) as log:
            log.move()
        begun = head_of(tmp_path)
        change()
        assert head_of(tmp_path) == begun
    assert kept_out == [True]
    await store.close()


async def test_a_version_that_somebody_sets_meanwhile_stays(tmp_path: Path) -> None:
    store = SqliteSessions(tmp_path / "s.db", durable=False)
    await store.start()
    with closing(connected(tmp_path)) as newer:
        with log_of(tmp_path, at={"PASSIVE": lambda: newer.execute("PRAGMA user_version = 1000")}) as log:
            log.move()
        assert newer.execute("PRAGMA user_version").fetchone() == (1000,)
    await store.close()


async def test_somebody_who_reads_for_long_holds_up_changes_for_a_moment_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "CHECKPOINT", 50)
    monkeypatch.setattr(database_log, "LONG", 20)
    store = SqliteSessions(tmp_path / "s.db", durable=False)
    await store.start()
    upload = await store.create(an_upload("a"))
    with closing(connected(tmp_path)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT COUNT(*) FROM uploads").fetchone()
        began = time.monotonic()
        for _ in range(150):  # three looks at the log
            upload = await store.swap(upload, upload.placed(str(upload.version)))
        assert time.monotonic() - began < BUSY
    assert (await store.get("a")).version == 151
    await store.close()


async def test_a_full_disk_under_the_log_loses_nothing_and_it_is_moved_once_there_is_room(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_log, "LONG", 20)
    store = SqliteSessions(disk.path / "s.db", durable=False)
    await store.start()
    upload = await store.create(an_upload("a"))
    for _ in range(50):
        upload = await store.swap(upload, upload.placed(str(upload.version)))
    log = store._database._log
    disk.order(fail={"write": errno.ENOSPC})
    with pytest.raises(StorageFull):
        await store._database.read(lambda _: log.move())
    with pytest.raises(StorageFull):
        await store.swap(upload, upload.placed("nowhere"))
    assert (await store.get("a")).same_as(upload)
    disk.release()
    await store._database.read(lambda _: log.move())
    size = (disk.path / "s.db-wal").stat().st_size
    upload = await store.swap(upload, upload.placed("there"))
    assert (disk.path / "s.db-wal").stat().st_size == size
    await store.close()
    again = SqliteSessions(disk.path / "s.db", durable=False)
    await again.start()
    assert (await again.get("a")).same_as(upload)
    await again.close()


class Meanwhile(sqlite3.Connection):
    """Something is done right behind a checkpoint ``at`` its kind."""

    at: Mapping[str, Callable[[], object]]

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        done = super().execute(sql, *values)
        for kind, work in self.at.items():
            if kind in sql:
                said = done.fetchone()
                work()
                return super().execute("SELECT ?, ?, ?", said)
        return done


class changing:
    """Changes something, each time that it is called, on a connection that waits for the disk as the loop's does."""

    def __init__(self, directory: Path) -> None:
        self._connection = connected(directory)
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._connection.execute("PRAGMA wal_autocheckpoint = 0")
        self._connection.execute("INSERT INTO deployment VALUES (1, 'a')")

    def __call__(self) -> None:
        self._connection.execute("UPDATE deployment SET place = place || 'a'")

    def close(self) -> None:
        self._connection.close()


def head_of(directory: Path) -> bytes:
    """The head of the log, which is another one each time that it begins anew."""
    with (directory / "s.db-wal").open("rb") as log:
        return log.read(32)


def connected(directory: Path, kind: type[sqlite3.Connection] = sqlite3.Connection) -> sqlite3.Connection:
    return sqlite3.connect(directory / "s.db", isolation_level=None, factory=kind)
