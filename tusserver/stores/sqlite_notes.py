"""Notes in the session database (``SessionStore.pin``)."""

from __future__ import annotations

import asyncio
import sqlite3
from typing import Final

from tusserver.stores.base import check_note
from tusserver.stores.database import Database

SCHEMA: Final = """CREATE TABLE IF NOT EXISTS notes (
    board TEXT NOT NULL,
    name TEXT NOT NULL,
    text TEXT NOT NULL,
    until REAL NOT NULL,
    PRIMARY KEY (board, name)
) WITHOUT ROWID"""

PIN: Final = """
    INSERT INTO notes (board, name, text, until) VALUES (?, ?, ?, ?)
    ON CONFLICT (board, name) DO UPDATE SET text = excluded.text, until = excluded.until
"""


async def pin(database: Database, board: str, name: str, text: str, *, now: float, seconds: float) -> None:
    """See ``SessionStore``. What has run out is removed along with it."""
    check_note(text)

    def clear(connection: sqlite3.Connection) -> None:
        connection.execute("DELETE FROM notes WHERE until <= ?", (now,))

    def put(connection: sqlite3.Connection) -> None:
        connection.execute(PIN, (board, name, text, now + seconds))

    await asyncio.gather(database.write(clear), database.write(put))


async def pinned(database: Database, board: str, *, now: float) -> dict[str, str]:
    """See ``SessionStore``."""
    found = "SELECT name, text FROM notes WHERE board = ? AND until > ?"
    return dict(await database.read(lambda connection: connection.execute(found, (board, now)).fetchall()))
