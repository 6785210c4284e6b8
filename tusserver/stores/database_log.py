"""The write-ahead log of an SQLite database, moved into it by a thread while an event loop goes on adding to it.

SQLite begins the log anew only where all of it has been moved and nobody is reading in it. Whoever adds to it next
begins it, and waits for the disk, since after a loss of power nothing left of the old one may be taken for a part of
the new one. An event loop must not wait: so there is always something in the log that has not been moved, but for
moments in which the loops keep out of it, and in which the thread begins it.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final

from tusserver.stores.database_work import transaction
from tusserver.stores.lock_file import LockFile

LONG: Final = 4000
"""Pages from which on the log is begun anew. All who write wait then until the last of it is moved."""

BRIEF: Final = 0.05
"""Seconds that they are held up at most by somebody who reads for long."""


class Log:
    """For one thread. ``lock``: of the file by which all who change the database take turns."""

    def __init__(self, path: Path, lock: LockFile) -> None:
        self._lock = lock
        self._mover, self._reader = (sqlite3.connect(path, timeout=BRIEF, isolation_level=None) for _ in range(2))
        self._mover.execute("PRAGMA synchronous = NORMAL")
        self._mover.execute("PRAGMA wal_autocheckpoint = 0")

    def close(self) -> None:
        """It is not moved any more."""
        self._reader.close()
        self._mover.close()

    def move(self) -> None:
        """Move it into the database, and begin it anew where it is LONG. Raises sqlite3.Error."""
        self._reader.execute("BEGIN")
        try:
            self._reader.execute("PRAGMA user_version").fetchone()
            _, pages, _ = self._mover.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            with self._lock:
                if pages > LONG:
                    self._reader.execute("COMMIT")
                    self._mover.execute("PRAGMA wal_checkpoint(RESTART)")
                self._add()
        finally:
            if self._reader.in_transaction:
                self._reader.execute("COMMIT")

    def _add(self) -> None:
        with transaction(self._mover):  # a newer version of the server may just be setting another one
            (version,) = self._mover.execute("PRAGMA user_version").fetchone()
            self._mover.execute(f"PRAGMA user_version = {version}")  # which is written, whatever it was
