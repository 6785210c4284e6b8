"""The write-ahead log of the SQLite database, where changes are made in the event loop."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.stores.sessions import Clock, an_upload
from tusserver.stores import database, database_work
from tusserver.stores.database_errors import BUSY
from tusserver.stores.here import Here
from tusserver.stores.sqlite import SqliteSessions

pytestmark = pytest.mark.anyio


async def test_the_log_is_moved_into_the_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "CHECKPOINT", 50)
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


async def test_a_long_log_begins_anew_also_where_changes_never_pause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_work, "LONG", 20)
    store = SqliteSessions(tmp_path / "s.db", durable=False)
    await store.start()
    with closing(connected(tmp_path, Meanwhile)) as mover, closing(connected(tmp_path)) as adds:

        def change() -> None:
            adds.execute("UPDATE deployment SET place = place || 'a'")

        adds.execute("INSERT INTO deployment VALUES (1, 'a')")
        for _ in range(50):
            change()
        # what is added while the log is being moved stays behind, as what a reader has begun before
        late = connected(tmp_path)
        late.execute("BEGIN")
        late.execute("SELECT place FROM deployment").fetchone()
        change()
        assert isinstance(mover, Meanwhile)
        mover.over = late.close
        database_work.move_log(mover)
        before = (tmp_path / "s.db-wal").stat().st_size
        change()
        assert (tmp_path / "s.db-wal").stat().st_size == before
    await store.close()


async def test_somebody_who_reads_for_long_holds_up_changes_for_a_moment_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "CHECKPOINT", 50)
    monkeypatch.setattr(database_work, "LONG", 20)
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


class Meanwhile(sqlite3.Connection):
    """The log is added to while it is being moved, of which SQLite says nothing; then that is ``over``."""

    over: Callable[[], None]

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        done = super().execute(sql, *values)
        if "PASSIVE" not in sql:
            return done
        _, pages, moved = done.fetchone()
        assert moved == pages - 1
        self.over()
        return super().execute("SELECT 0, ?, ?", (moved, moved))


def connected(directory: Path, kind: type[sqlite3.Connection] = sqlite3.Connection) -> sqlite3.Connection:
    return sqlite3.connect(directory / "s.db", isolation_level=None, factory=kind)
