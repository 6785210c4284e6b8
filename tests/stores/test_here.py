"""What is done in the event loop, and what on a thread."""

from __future__ import annotations

import asyncio
import errno
import os
import sqlite3
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.stores.sessions import an_upload, leased, turns_until
from tusserver.protocol.refusals import BytesElsewhere, StorageFull
from tusserver.stores.disk import DiskBytes
from tusserver.stores.here import PAUSE, QUICK, SLOW, USAGE, Here, Usage
from tusserver.stores.sqlite import SqliteSessions

pytestmark = pytest.mark.anyio


class Clock:
    """Seconds, as they are set, and how often a thread has waited."""

    def __init__(self) -> None:
        self.now = 100.0
        self.waits = 0

    def __call__(self) -> float:
        return self.now

    def usage(self) -> Usage:
        return SimpleNamespace(ru_nvcsw=self.waits)

    def pass_by(self, seconds: float, *, waiting: bool = True) -> str:
        """Work that takes so long."""
        self.now += seconds
        self.waits += waiting
        return "done"


def here_by(clock: Clock) -> Here:
    return Here(True, clock, clock.usage)


def test_after_slow_work_threads_do_it_for_a_while() -> None:
    clock = Clock()
    here = here_by(clock)
    assert here.now
    assert here.do(lambda: clock.pass_by(SLOW / 2)) == "done"
    assert here.now
    here.do(lambda: clock.pass_by(QUICK * 2))
    assert here.there(lambda: "done") == "done"
    assert not here.now
    clock.pass_by(PAUSE)
    assert here.now


def test_threads_do_it_until_it_is_quick_again() -> None:
    clock = Clock()
    here = here_by(clock)
    here.do(lambda: clock.pass_by(QUICK * 2))
    clock.pass_by(PAUSE)
    assert not here.now
    here.there(lambda: clock.pass_by(QUICK * 2))
    here.there(lambda: "quick", "of another kind")
    clock.pass_by(PAUSE)
    assert not here.now
    here.there(lambda: clock.pass_by(QUICK / 2))
    assert here.now


def test_a_pause_that_is_over_is_over() -> None:
    clock = Clock()
    here = here_by(clock)
    here.do(lambda: clock.pass_by(QUICK * 2))
    here.there(lambda: "quick")
    clock.pass_by(PAUSE)
    assert here.now
    clock.pass_by(-PAUSE)  # nobody asks what time it is any more
    assert here.now


def test_slow_work_that_fails_is_slow_too() -> None:
    clock = Clock()
    here = here_by(clock)

    def fail() -> None:
        clock.pass_by(1)
        raise OSError

    with pytest.raises(OSError):
        here.do(fail)
    assert not here.now


def test_work_that_only_had_no_processor_is_not_slow() -> None:
    clock = Clock()
    here = here_by(clock)
    here.do(lambda: clock.pass_by(1, waiting=False))
    assert here.now


def test_a_thread_that_sleeps_has_waited() -> None:
    before = USAGE().ru_nvcsw
    time.sleep(0.001)
    assert USAGE().ru_nvcsw > before


def test_once_a_little_slow_is_no_sign_but_twice_is() -> None:
    clock = Clock()
    here = here_by(clock)
    for _ in range(3):
        here.do(lambda: clock.pass_by(SLOW * 2))
        assert here.now
        here.do(lambda: clock.pass_by(SLOW / 2))
    here.do(lambda: clock.pass_by(SLOW * 2))
    here.do(lambda: clock.pass_by(SLOW * 2), "of another kind")
    assert here.now
    here.do(lambda: clock.pass_by(SLOW * 2))
    assert not here.now


def test_not_while_a_thread_is_stuck() -> None:
    clock = Clock()
    here = here_by(clock)
    with here.underway():
        clock.pass_by(QUICK / 2)
        assert here.now
        clock.pass_by(QUICK)
        assert not here.now
        here.got_on()
        assert here.now
        clock.pass_by(QUICK * 2)
    assert here.now


def test_what_a_thread_does_is_under_way() -> None:
    clock = Clock()
    here = here_by(clock)
    assert not here.there(lambda: clock.pass_by(QUICK * 2) and here.now)
    assert here.now


def test_not_where_it_is_not_allowed() -> None:
    assert not Here(False).now


async def disk(path: Path, *, durable: bool = False) -> DiskBytes:
    """A started store that writes in the loop where it may at all, whatever file system the tests run on."""
    store = DiskBytes(path, durable=durable)
    await store.start()
    store._here.allowed = not durable
    return store


async def test_bytes_are_put_down_here_unless_they_have_to_reach_the_disk(tmp_path: Path) -> None:
    quick, safe = await disk(tmp_path / "quick"), await disk(tmp_path / "safe", durable=True)
    assert (quick.prompt, safe.prompt) == (True, False)
    upload = an_upload(length=9)
    quick.put(upload, b"some", last=False)
    upload = upload.advanced(4, now=1.0)
    quick.put(upload, b"other", last=False)
    upload = upload.advanced(9, now=1.0)
    assert quick.finish_at_once(upload)
    assert not safe.finish_at_once(upload)
    assert (tmp_path / "quick" / upload.id).read_bytes() == b"someother"
    assert b"".join([block async for block in quick.read(upload, 2, 9)]) == b"meother"
    await quick.close()
    await safe.close()


async def test_what_an_earlier_writer_left_uncounted_is_overwritten(tmp_path: Path) -> None:
    store = await disk(tmp_path)
    upload = an_upload(length=4)
    store.put(upload, b"longer", last=False)
    store.put(upload, b"four", last=False)
    upload = upload.advanced(4, now=1.0)
    assert not store.finish_at_once(upload)  # what is left of it is to be cut off
    await store.finish(upload)
    assert (tmp_path / upload.id).read_bytes() == b"four"
    await store.close()


async def test_parts_of_several_writers_are_not_joined_here(tmp_path: Path) -> None:
    store = await disk(tmp_path)
    upload = leased(an_upload(length=2))
    store.put(upload, b"a", last=False)
    upload = upload.advanced(1, now=1.0).fenced()
    store.put(upload, b"b", last=False)
    upload = upload.advanced(2, now=1.0)
    assert not store.finish_at_once(upload)
    await store.finish(upload)
    assert (tmp_path / upload.id).read_bytes() == b"ab"
    await store.close()


async def test_what_an_earlier_writer_left_is_not_removed_here(tmp_path: Path) -> None:
    store = await disk(tmp_path)
    upload = leased(an_upload(length=1))
    store.put(upload, b"a", last=False)
    upload = upload.fenced()
    store.put(upload, b"b", last=False)
    upload = upload.advanced(1, now=1.0)
    assert not store.finish_at_once(upload)
    await store.finish(upload)
    assert (tmp_path / upload.id).read_bytes() == b"b"
    assert not list((tmp_path / "parts").glob("u.*"))
    await store.close()


async def test_a_disk_that_was_slow_is_left_to_threads(tmp_path: Path) -> None:
    clock = Clock()
    store = await disk(tmp_path)
    store._here = here_by(clock)
    store._here.do(lambda: clock.pass_by(1))
    assert not store.prompt
    clock.pass_by(PAUSE)
    assert not store.prompt
    writer = await store.open(an_upload())
    await writer.write([b"some"])
    assert await writer.flush(last=True) == 4
    await writer.close()
    assert store.prompt
    await store.close()


async def test_a_full_disk_is_told_and_the_file_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = await disk(tmp_path)
    opened = len(os.listdir("/proc/self/fd"))

    def full(fd: int, block: Any, at: int) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", full)
        with pytest.raises(StorageFull):
            store.put(an_upload(), b"some", last=False)
    assert len(os.listdir("/proc/self/fd")) == opened
    await store.close()


async def test_bytes_that_are_elsewhere_are_refused(tmp_path: Path) -> None:
    store = await disk(tmp_path)
    with pytest.raises(BytesElsewhere):
        store.put(an_upload().placed("another"), b"some", last=False)
    await store.close()


async def test_a_locked_database_is_waited_for_on_the_thread(tmp_path: Path) -> None:
    store = SqliteSessions(tmp_path / "s.db", durable=False)
    await store.start()
    other = sqlite3.connect(tmp_path / "s.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    creating = asyncio.create_task(store.create(an_upload("a")))
    await turns_until(lambda: store._database._queued)
    assert not creating.done()
    second = asyncio.create_task(store.create(an_upload("b")))
    other.execute("COMMIT")
    other.close()
    assert [(await task).version for task in (creating, second)] == [1, 1]
    assert (await store.get("b")).id == "b"
    await store.close()
