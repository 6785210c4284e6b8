"""Processes that change one SQLite database wait for one another."""

from __future__ import annotations

import asyncio
import fcntl
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.stores.sessions import an_upload, started
from tusserver.stores import lock_file
from tusserver.stores.lock_file import LockFile
from tusserver.stores.sqlite import SqliteSessions

pytestmark = pytest.mark.anyio

DEADLINE = 20.0


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Another process has the lock, as far as the kernel is concerned."""
    file = os.open(path, os.O_RDONLY | os.O_CREAT)
    fcntl.flock(file, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(file)


def entering(lock: LockFile) -> tuple[threading.Thread, threading.Event]:
    inside = threading.Event()

    def enter() -> None:
        with lock:
            inside.set()

    thread = threading.Thread(target=enter)
    thread.start()
    return thread, inside


def test_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock_file, "PATIENCE", DEADLINE)
    lock = LockFile(tmp_path / "lock")
    with held(tmp_path / "lock"):
        thread, inside = entering(lock)
        assert not inside.wait(0.1)
    assert inside.wait(DEADLINE)
    thread.join()
    with held(tmp_path / "lock"):  # it was given back
        pass
    lock.close()


def test_whoever_takes_too_long_is_passed_by(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock_file, "PATIENCE", 0.05)
    lock = LockFile(tmp_path / "lock")
    with held(tmp_path / "lock"):
        thread, inside = entering(lock)
        assert inside.wait(DEADLINE)
        thread.join()
        monkeypatch.setattr(lock_file, "PATIENCE", 10 * DEADLINE)
        thread, inside = entering(lock)  # once is enough
        assert inside.wait(DEADLINE)
        thread.join()
    waited = lock._waiting
    assert waited is not None and waited.result(DEADLINE) is None
    other = LockFile(tmp_path / "lock")
    thread, inside = entering(other)  # what was waited for in vain is not kept
    assert inside.wait(DEADLINE)
    thread.join()
    other.close()
    lock.close()


def test_a_process_that_was_killed_keeps_nobody_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock_file, "PATIENCE", DEADLINE)
    script = "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.flock(f, fcntl.LOCK_EX); print(); sys.stdin.read()"
    command = [sys.executable, "-uc", script, str(tmp_path / "lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None and holder.stdout.readline()
        lock = LockFile(tmp_path / "lock")
        thread, inside = entering(lock)
        assert not inside.wait(0.1)
        holder.kill()
    assert inside.wait(DEADLINE)
    thread.join()
    lock.close()


def test_where_there_is_no_lock_everybody_goes_ahead(tmp_path: Path) -> None:
    lock = LockFile(tmp_path / "missing" / "lock")
    with lock:
        assert not (tmp_path / "missing").exists()
    lock.close()


async def test_nobody_is_starved_by_a_process_that_never_pauses(tmp_path: Path) -> None:
    async with started(store := SqliteSessions(tmp_path / "s.db")):
        ids = [f"busy{number}" for number in range(8)]
        for upload_id in ids:
            await store.create(an_upload(upload_id))
        mine = await store.create(an_upload("mine"))
        command = [sys.executable, "-m", "tests.stores.swapper", str(tmp_path / "s.db"), "1000000", *ids]
        busy = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL)
        overtaken, moved = [], 1
        try:
            async with asyncio.timeout(6 * DEADLINE):
                while moved < 300:
                    mine = await store.swap(mine, mine.placed(str(mine.version)))
                    before, moved = moved, (await store.get(ids[0])).version
                    overtaken.append(moved - before)
        finally:
            busy.kill()
            await busy.wait()
        assert max(overtaken) < 12, overtaken  # SQLite by itself lets about fifty go first, now and then
