"""One SQLite database, worked on by one thread: what waits together is committed together.

* The thread never touches the loop but to hand answers over. The loop itself looks things up by key, on a connection
  of its own: with a write-ahead log that waits for no writer, and takes a tenth of handing it to a thread. Where no
  change has to reach the disk, it makes those too (see ``here``), and the thread does the checkpoints.
  It does so while the thread has nothing to write, so that nobody overtakes a change that was asked for before.
* What comes together is committed together, and nothing is answered before it is committed. While one commit waits for
  the disk, work queues up, and the thread takes all of it into the next transaction; the loop waits for a few turns
  while each brings more. Most of what a small change costs is its transaction.
* One that refuses leaves nothing behind for the others in its transaction. After an error each is carried out again, by
  itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from tusserver.protocol.refusals import StoreUnavailable
from tusserver.stores.database_errors import BUSY, code_of, explained
from tusserver.stores.database_log import Log
from tusserver.stores.database_turns import Turns
from tusserver.stores.database_work import Job, carry_out, hand_over, transaction
from tusserver.stores.here import Here
from tusserver.stores.lock_file import LockFile

T = TypeVar("T")

CHECKPOINT: Final = 1000
"""Changes made in the loop after which the thread moves the log into the database (SQLite does so every 1000 pages)."""

BATCH: Final = 200
"""Pieces of work in one transaction at most: other processes wait meanwhile."""


class Database:
    """``path`` is made if it is missing, as is its directory. ``prepare`` is called once, on the new connection.
    ``durable``: a commit has reached the disk when it returns; otherwise it outlives the process only."""

    def __init__(self, path: Path, *, durable: bool, prepare: Callable[[sqlite3.Connection], None]) -> None:
        self._path = path
        self._durable = durable
        self._prepare = prepare
        self._queue: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._open = False
        # From ``start`` on
        self._connection: sqlite3.Connection
        self._loop: asyncio.AbstractEventLoop
        self._ended: asyncio.Future[None]
        self._turns: Turns
        self._log: Log
        self._here = Here(not durable)
        self._lock = self._lock_file()
        self._queued = 0
        self._unmoved = 0
        self._log_is_due = False

    async def start(self) -> None:
        """Connect. Raises StoreUnavailable."""
        self._loop = asyncio.get_running_loop()
        self._ended = self._loop.create_future()
        connected = Job(lambda _: None, False, self._loop.create_future())
        threading.Thread(target=self._serve, args=(connected,), name=f"sqlite {self._path.name}", daemon=True).start()
        try:
            self._connection = await connected.answer
        except (sqlite3.Error, OSError) as error:
            raise explained(error, str(self._path)) from error
        except asyncio.CancelledError:
            self._queue.put(None)
            raise
        self._turns = Turns(self._connection, self._lock_file(), self._here, self._count)
        self._open = True

    async def close(self) -> None:
        """Carry out what is queued, for BUSY seconds at most, and disconnect."""
        if self._open:
            self._open = False
            await self._turns.finish()
            self._queue.put(None)
            await asyncio.wait({self._ended}, timeout=BUSY)

    async def look_up(self, sql: str, key: str) -> Any | None:
        """The row that a statement finds by a key, right here; on the thread where that can't be at once. Raises
        StoreUnavailable."""
        if self._open and self._queued == 0:
            try:
                return self._connection.execute(sql, (key,)).fetchone()
            except sqlite3.Error:  # the thread can wait, and has the words for what is wrong
                pass
        return await self.read(lambda connection: connection.execute(sql, (key,)).fetchone())

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """What ``work`` returns or raises, on the thread. Raises StoreUnavailable."""
        return await self._do(work, writes=False)

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """The same for work that changes rows; it is committed when this returns.

        ``work`` may be called again after an SQLite error. Raises StoreUnavailable, StorageFull.
        """
        if self._at_once:
            try:
                result: T = await self._turns.add(work)
                return result
            except sqlite3.Error:  # most likely another process writes: the thread can wait
                pass
        return await self._do(work, writes=True)

    async def at_once(self, work: Callable[[sqlite3.Connection], T]) -> T | None:
        """What ``work`` returns or raises, done in the loop and committed when this returns; None, and nothing has
        changed, where that can't be. ``work`` may be called again after an SQLite error."""
        if not self._at_once:
            return None
        try:
            result: T = await self._turns.add(work)
            return result
        except sqlite3.Error:
            return None

    @property
    def _at_once(self) -> bool:
        return self._open and self._queued == 0 and self._here.now

    async def _do(self, work: Callable[[sqlite3.Connection], T], *, writes: bool) -> T:
        if not self._open:
            raise StoreUnavailable
        job = Job(work, writes, self._loop.create_future())
        if writes:
            self._queued += 1
            job.answer.add_done_callback(self._written)
        self._queue.put(job)
        try:
            result: T = await job.answer
        except sqlite3.Error as error:
            raise explained(error, self._path.name) from error
        return result

    def _written(self, answer: asyncio.Future[Any]) -> None:
        self._queued -= 1

    def _count(self, changes: int) -> None:
        self._unmoved += changes
        if self._unmoved >= CHECKPOINT:
            self._unmoved = 0
            self._log_is_due = True
            self._queue.put(Job(lambda _: None, False, self._loop.create_future()))  # wakes the thread

    def _lock_file(self) -> LockFile:
        return LockFile(self._path.with_name(f"{self._path.name}-lock"))

    # On the thread

    def _serve(self, connected: Job) -> None:
        try:
            connection = self._connect()
            self._log = Log(self._path, self._lock)
            connected.result = self._connect_loop()
        except Exception as error:
            connected.error = error
            self._tell(connected.hand_over)
            return
        self._tell(connected.hand_over)
        for batch in self._batches():
            if any(job.writes for job in batch):
                with self._lock:
                    self._add_what_waits(batch)
                    self._here.there(partial(carry_out, connection, batch, writes=True))
            else:
                carry_out(connection, batch, writes=False)
            self._tell(hand_over, batch)
            if self._log_is_due:
                self._log_is_due = False
                with contextlib.suppress(sqlite3.Error):  # the next time moves what this one does not
                    self._log.move()
        for each in (self._lock, self._log, connection, connected.result):
            each.close()  # here, since that looks at the files once more
        self._tell(self._end)

    def _tell(self, callback: Callable[..., None], *args: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop was closed without closing this: nobody waits
            self._loop.call_soon_threadsafe(callback, *args)

    def _end(self) -> None:
        if not self._ended.done():
            self._ended.set_result(None)

    def _batches(self) -> Iterator[list[Job]]:
        while (job := self._queue.get()) is not None:
            batch = [job]
            self._add_what_waits(batch)
            yield batch

    def _add_what_waits(self, batch: list[Job]) -> None:
        while not self._queue.empty() and len(batch) < BATCH:
            job = self._queue.get()
            if job is None:  # the last one: it ends what follows this batch
                return self._queue.put(None)
            batch.append(job)

    def _connect(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self._path, timeout=BUSY, isolation_level=None)
        try:
            self._set_up(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _connect_loop(self) -> sqlite3.Connection:
        """The loop's own. It looks things up by the one that it makes changes by, which has those pages still."""
        connection = sqlite3.connect(self._path, timeout=0, isolation_level=None, check_same_thread=False)
        if self._durable:
            connection.execute("PRAGMA query_only = ON")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute("PRAGMA schema_version").fetchone()  # opens its files, here on the thread
        return connection

    def _set_up(self, connection: sqlite3.Connection) -> None:
        if _write_ahead(connection) != "wal":
            raise StoreUnavailable(f"{self._path} cannot have a write-ahead log; put it on a local disk.")
        connection.execute(f"PRAGMA synchronous = {'FULL' if self._durable else 'NORMAL'}")
        with transaction(connection):
            self._prepare(connection)


def _write_ahead(connection: sqlite3.Connection) -> str:
    deadline = time.monotonic() + BUSY
    while True:
        try:
            (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
            return str(mode)
        except sqlite3.OperationalError as error:
            # SQLite does not wait by itself when several processes change the mode of a new database at once
            if code_of(error) != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
