"""Pieces of work on an SQLite connection: by themselves, or together in one transaction."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from tusserver.stores.database_errors import code_of

T = TypeVar("T")

MOMENT: Final = 0.001
"""Seconds in which other processes should have ended what they write."""


@dataclass(slots=True, eq=False)
class Job:
    """A piece of work in the queue, and what came of it. A job that ``writes`` needs a transaction."""

    work: Callable[[sqlite3.Connection], Any]
    writes: bool
    answer: asyncio.Future[Any]
    result: Any = None
    error: Exception | None = None

    def carry_out(self, connection: sqlite3.Connection) -> None:
        """Do it. Raises sqlite3.Error; any other exception is what came of it."""
        self.result = self.error = None
        try:
            self.result = self.work(connection)
        except sqlite3.Error:
            raise
        except Exception as error:
            self.error = error

    def hand_over(self) -> None:
        """Tell whoever waits, in the loop. Nobody does when the waiting task was cancelled."""
        if self.answer.done():
            return
        if self.error is not None:
            self.answer.set_exception(self.error)
        else:
            self.answer.set_result(self.result)


def patiently(work: Callable[[], T]) -> T:
    """What ``work`` returns; where another process writes, it is tried again for a moment. That one will be done sooner
    than a thread could begin to wait for it, and than SQLite, which sleeps, would look again."""
    deadline = 0.0
    while True:
        try:
            return work()
        except sqlite3.OperationalError as error:
            now = time.monotonic()
            deadline = deadline or now + MOMENT
            if code_of(error) != sqlite3.SQLITE_BUSY or now > deadline:
                raise
        os.sched_yield()


def transaction(connection: sqlite3.Connection, work: Callable[[], T]) -> T:
    """What ``work`` returns or raises, in a transaction of its own."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        result = work()
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return result


def carry_out(connection: sqlite3.Connection, batch: list[Job]) -> None:
    """Carry all of them out in one transaction; each by itself where that fails."""
    try:
        _together(connection, batch)
    except sqlite3.Error as error:
        if len(batch) == 1:
            batch[0].error = error
        else:
            _one_by_one(connection, batch, error)


def _one_by_one(connection: sqlite3.Connection, batch: list[Job], error: sqlite3.Error) -> None:
    locked = code_of(error) == sqlite3.SQLITE_BUSY
    for job in batch:
        if locked and job.writes:  # that wait was long enough for all of them
            job.error = error
        else:
            carry_out(connection, [job])


def _together(connection: sqlite3.Connection, batch: list[Job]) -> None:
    def work() -> None:
        for job in batch:
            job.carry_out(connection)

    if any(job.writes for job in batch):
        transaction(connection, work)
    else:
        work()
