"""Changes of an SQLite database that are made in the event loop: those that it gets ready shortly after one another
share a transaction.

While requests come together, their transactions are larger and fewer, and so are the writes of their answers; nobody
waits for longer than a few turns of the loop, or where no other comes.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from tusserver.stores.database_errors import Busy, code_of
from tusserver.stores.database_work import Job, begin, carry_out, hand_over
from tusserver.stores.here import Here
from tusserver.stores.lock_file import LockFile

TURNS: Final = 3
"""Turns of the loop for which a transaction waits for more to join it, as long as each brings some."""

TOGETHER: Final = 32
"""Changes in one transaction at most: the loop has other things to do as well."""

AGAIN: Final = 0.001
"""Seconds for which each turn of the loop looks again whether another process's transaction is over, as most are sooner
than a timer would be; and between two looks from then on. What else it gets ready meanwhile joins what waits."""

MOMENT: Final = 0.05
"""Seconds that the loop waits so: nearly all are over by then."""


class Turns:
    """``connection``: the loop's own, which waits for nobody. ``lock``: likewise, of the file by which all who change
    the database take turns. ``made`` is told after each transaction of how many changes it was."""

    def __init__(self, connection: sqlite3.Connection, lock: LockFile, here: Here, made: Callable[[int], None]) -> None:
        self._connection = connection
        self._lock = lock
        self._here = here
        self._made = made
        self._loop = asyncio.get_running_loop()
        self._waiting: list[Job] = []
        self._locked_since: float | None = None

    def add(self, work: Callable[[sqlite3.Connection], Any]) -> asyncio.Future[Any]:
        """What ``work`` returns or raises, once it is committed. Raises sqlite3.Error where that can't be here."""
        answer: asyncio.Future[Any] = self._loop.create_future()
        if not self._waiting:
            self._loop.call_soon(self._gather, 0, TURNS)
        self._waiting.append(Job(work, True, answer))
        return answer

    async def finish(self) -> None:
        """Carry out what waits; nothing may be added any more."""
        while self._waiting:
            self._carry_out()
            await asyncio.sleep(0 if self._locked_since is None else AGAIN)
        self._lock.close()

    def _gather(self, before: int, turns: int) -> None:
        """Let the loop turn once more where it has just brought some who join."""
        together = len(self._waiting)
        if turns > 0 and before < together:
            self._loop.call_soon(self._gather, together, turns - 1)
        else:
            self._take()

    def _take(self) -> None:
        self._carry_out()
        if not self._waiting:
            return
        if self._locked_since is None or time.monotonic() < self._locked_since + AGAIN:
            self._loop.call_soon(self._take)
        else:
            self._loop.call_later(AGAIN, self._take)

    def _carry_out(self) -> None:
        batch = [job for job in self._waiting[:TOGETHER] if not job.answer.done()]
        del self._waiting[:TOGETHER]
        if batch and self._begun(batch):  # not every one was cancelled
            try:
                self._here.do(partial(carry_out, self._connection, batch, writes=True))
            finally:
                self._lock.leave()
            hand_over(batch)
            self._made(len(batch))

    def _begun(self, batch: list[Job]) -> bool:
        """Whether a transaction is begun; where somebody else is at the database, the batch is put back to wait."""
        try:
            self._begin()
        except sqlite3.Error as error:
            now = time.monotonic()
            self._locked_since = now if self._locked_since is None else self._locked_since
            if code_of(error) == sqlite3.SQLITE_BUSY and now < self._locked_since + MOMENT:
                self._waiting = batch + self._waiting
                return False
            for job in batch:  # the thread waits longer, and has the words for what is wrong
                job.error = error
            hand_over(batch)
        self._locked_since = None
        return self._connection.in_transaction

    def _begin(self) -> None:
        if not self._lock.enter_at_once():
            raise Busy
        try:
            begin(self._connection)
        except sqlite3.Error:
            self._lock.leave()
            raise
