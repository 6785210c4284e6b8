"""What is done in the event loop, and what on a thread."""

from __future__ import annotations

import asyncio
import errno
import os
import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.stores.sessions import an_upload
from tusserver.protocol.refusals import StorageFull
from tusserver.stores import database
from tusserver.stores.disk import DiskBytes
from tusserver.stores.here import PAUSE, QUICK, SLOW, Here
from tusserver.stores.sqlite import SqliteSessions

pytestmark = pytest.mark.anyio


class Clock:
    """Seconds, as they are set."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def pass_by(self, seconds: float) -> str:
        """Work that takes so long."""
        self.now += seconds
        return "done"


def test_after_slow_work_threads_do_it_for_a_while() -> None:
    clock = Clock()
    here = Here(True, clock)
    assert here.now
    assert here.do(lambda: clock.pass_by(SLOW / 2)) == "done"
    assert here.now
    here.do(lambda: clock.pass_by(SLOW * 2))
    assert here.there(lambda: "done") == "done"
    assert not here.now
    clock.pass_by(PAUSE)
    assert here.now


def test_threads_do_it_until_it_is_quick_again() -> None:
    clock = Clock()
    here = Here(True, clock)
    here.do(lambda: clock.pass_by(SLOW * 2))
    clock.pass_by(PAUSE)
    assert not here.now
    here.there(lambda: clock.pass_by(QUICK * 2))
    here.there(lambda: "quick", "of another kind")
    clock.pass_by(PAUSE)
    assert not here.now
    here.there(lambda: clock.pass_by(QUICK / 2))
    assert here.now


def test_slow_work_that_fails_is_slow_too() -> None:
    clock = Clock()
    here = Here(True, clock)

    def fail() -> None:
        clock.pass_by(1)
        raise OSError

    with pytest.raises(OSError):
        here.do(fail)
    assert not here.now


def test_not_while_threads_work_nor_where_it_is_not_allowed() -> None:
    here = Here(True)
    here.elsewhere = 1
    assert not here.now
    assert not Here(False).now


async def written_by(store: DiskBytes, monkeypatch: pytest.MonkeyPatch) -> str:
    """Which thread writes a small upload."""
    names: list[str] = []
    pwritev = os.pwritev

    def spied(fd: int, blocks: Sequence[Any], at: int) -> int:
        names.append(threading.current_thread().name.partition("_")[0])
        return pwritev(fd, blocks, at)

    monkeypatch.setattr(os, "pwritev", spied)
    writer = await store.open(an_upload(f"u{len(list(store._layout.parts.iterdir()))}"))
    await writer.write([b"some"])
    assert await writer.flush(last=True) == 4
    await writer.close()
    monkeypatch.setattr(os, "pwritev", pwritev)
    assert len(names) == 1
    return names[0]


async def test_a_small_upload_is_written_here_unless_it_has_to_reach_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for durable, name in ((False, threading.current_thread().name), (True, "disk")):
        store = DiskBytes(tmp_path / str(durable), durable=durable)
        await store.start()
        store._here.allowed = not durable  # whatever file system the tests run on
        assert await written_by(store, monkeypatch) == name
        await store.close()


async def test_a_disk_that_was_slow_is_left_to_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    store = DiskBytes(tmp_path, durable=False)
    await store.start()
    store._here = Here(True, clock)
    store._here.do(lambda: clock.pass_by(1))
    assert await written_by(store, monkeypatch) == "disk"
    clock.pass_by(PAUSE)
    assert await written_by(store, monkeypatch) == threading.current_thread().name
    await store.close()


async def test_a_full_disk_is_told_and_nothing_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = DiskBytes(tmp_path, durable=False)
    await store.start()
    store._here.allowed = True

    def full(fd: int, blocks: Sequence[Any], at: int) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    pwritev = os.pwritev
    writer = await store.open(an_upload())
    await writer.write([b"some"])
    monkeypatch.setattr(os, "pwritev", full)
    with pytest.raises(StorageFull):
        await writer.flush(last=True)
    monkeypatch.setattr(os, "pwritev", pwritev)
    assert writer.position == 0
    await writer.close()
    assert writer._fd is None
    await store.close()


async def test_a_locked_database_is_waited_for_on_the_thread(tmp_path: Path) -> None:
    store = SqliteSessions(tmp_path / "s.db", durable=False)
    await store.start()
    other = sqlite3.connect(tmp_path / "s.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    creating = asyncio.create_task(store.create(an_upload("a")))
    await asyncio.sleep(0)
    assert not creating.done()
    second = asyncio.create_task(store.create(an_upload("b")))
    other.execute("COMMIT")
    other.close()
    assert [(await task).version for task in (creating, second)] == [1, 1]
    assert (await store.get("b")).id == "b"
    await store.close()


async def test_the_log_is_moved_into_the_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "CHECKPOINT", 50)
    store = SqliteSessions(tmp_path / "s.db", durable=False)
    await store.start()
    upload = await store.create(an_upload("a"))
    for _ in range(2500):  # a page each
        upload = await store.swap(upload, upload.placed(str(upload.version)))
        await store.ping()  # on the thread, behind the checkpoint
    pages = (tmp_path / "s.db-wal").stat().st_size / 4096
    assert pages < 1500  # the thread itself, which writes where that is slow here, moves them each 1000
    await store.close()
