"""What SQLite's errors mean for an upload, and what to do about them."""

from __future__ import annotations

import sqlite3
from typing import Final

from tusserver.protocol.refusals import Refusal, StorageFull, StoreUnavailable

BUSY: Final = 10.0
"""Seconds to wait for other processes that write to the database."""


class Busy(sqlite3.OperationalError):
    """Somebody else is at the database."""

    sqlite_errorcode = sqlite3.SQLITE_BUSY


def explained(error: Exception, name: str) -> Refusal:
    """The refusal for an error of the database called ``name``, with what to do about it."""
    code = sqlite3.SQLITE_CANTOPEN if isinstance(error, OSError) else code_of(error)
    if code == sqlite3.SQLITE_FULL:
        return StorageFull()
    advice = ADVICE.get(code, f"failed ({error}); look at the disk that it is on, then try again.")
    return StoreUnavailable(f"The session database {name} {advice}")


ADVICE: Final = {
    sqlite3.SQLITE_BUSY: f"was locked by another process for {BUSY:.0f} seconds; try again shortly.",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened; it and its directory must be writable for the server.",
    sqlite3.SQLITE_PERM: "cannot be opened; it and its directory must be writable for the server.",
    sqlite3.SQLITE_READONLY: "cannot be written to; it and its directory must be writable for the server.",
    sqlite3.SQLITE_NOTADB: "is not an SQLite database; name another path, or move what is there away.",
    sqlite3.SQLITE_CORRUPT: "is damaged; restore it from a copy.",
}


def code_of(error: Exception) -> int:
    """SQLite's primary result code of an error."""
    code: int = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)  # not every sqlite3.Error is SQLite's own
    return code & 0xFF  # without the extension, which says more than is asked here
