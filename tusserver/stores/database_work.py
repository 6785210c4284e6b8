"""Pieces of work on an SQLite connection: by themselves, or together in one transaction."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import msgspec

from tusserver.stores.database_errors import code_of


class Job(msgspec.Struct, eq=False):
    """A piece of work in the queue, and what came of it. A job that ``writes`` needs a transaction."""

    work: Callable[[sqlite3.Connection], Any]
    writes: bool
    answer: asyncio.Future[Any]
    result: Any = None
    error: Exception | None = None

    def carry_out(self, connection: sqlite3.Connection) -> None:
        """Do it. Raises sqlite3.Error; any other exception is what came of it, unless rows have been changed before:
        then that is raised too."""
        self.result = self.error = None
        before = connection.total_changes
        try:
            self.result = self.work(connection)
        except sqlite3.Error:
            raise
        except Exception as error:
            if connection.total_changes != before:
                raise
            self.error = error

    def hand_over(self) -> None:
        """Tell whoever waits, in the loop. Nobody does when the waiting task was cancelled."""
        if self.answer.done():
            return
        if self.error is not None:
            self.answer.set_exception(self.error)
        else:
            self.answer.set_result(self.result)


def hand_over(batch: list[Job]) -> None:
    """Tell all who wait, in the loop."""
    for job in batch:
        job.hand_over()


def begin(connection: sqlite3.Connection) -> None:
    """Begin a transaction that writes. Raises sqlite3.OperationalError, which is BUSY where another process writes."""
    connection.execute("BEGIN IMMEDIATE")


class transaction:
    """What is done inside is one transaction, which may have been begun; where it raises, nothing of it is done."""

    __slots__ = ("_connection",)

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        """Begin."""
        if not self._connection.in_transaction:
            begin(self._connection)

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Commit, or roll back."""
        try:
            if error is None:
                self._connection.execute("COMMIT")
        finally:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")


def carry_out(connection: sqlite3.Connection, batch: list[Job], *, writes: bool) -> None:
    """Carry all of them out; each by itself where that fails. ``writes``: one of them does, so that they share a
    transaction, which may have been begun."""
    try:
        with transaction(connection) if writes else nullcontext():
            for job in batch:
                job.carry_out(connection)
    except Exception as error:
        if len(batch) == 1:
            batch[0].error = error
        else:
            _one_by_one(connection, batch, error)


def _one_by_one(connection: sqlite3.Connection, batch: list[Job], error: Exception) -> None:
    locked = code_of(error) == sqlite3.SQLITE_BUSY
    for job in batch:
        if locked and job.writes:  # that wait was long enough for all of them
            job.error = error
        else:
            carry_out(connection, [job], writes=job.writes)
