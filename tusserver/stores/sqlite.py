"""Sessions in an SQLite database, for one host: any number of its processes may share the database.

The document holds the upload; the columns beside it are what is compared and searched. Both are written together.
The store's clock is the host's.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from tusserver.protocol.refusals import StoreUnavailable, UploadNotFound
from tusserver.protocol.upload import TOMBSTONES, Status, Upload
from tusserver.stores import sqlite_notes
from tusserver.stores.base import Conflict, Query, Tally, polled
from tusserver.stores.database import Database
from tusserver.stores.documents import as_stored, from_document, to_document
from tusserver.stores.findings import Finding, ok, problem

PAGE: Final = 200
"""Uploads that ``find`` reads at once; other work goes on between two pages."""

SCHEMA_VERSION: Final = 1

# SQLite uses a partial index where the condition stands in the query word for word: see ``selection``
ENDED: Final = f"status IN ({', '.join(sorted(repr(status.value) for status in TOMBSTONES))})"

SCHEMA: Final = (
    """CREATE TABLE IF NOT EXISTS uploads (
        id TEXT PRIMARY KEY NOT NULL,
        version INTEGER NOT NULL,
        status TEXT NOT NULL,
        kind TEXT NOT NULL,
        created_at REAL NOT NULL,
        updated_at REAL NOT NULL,
        ended_at REAL,
        expires_at REAL,
        holder TEXT,
        contested INTEGER NOT NULL,
        stored INTEGER NOT NULL,
        offset INTEGER NOT NULL,
        length INTEGER,
        document TEXT NOT NULL
    )""",
    "CREATE INDEX IF NOT EXISTS uploads_by_age ON uploads (created_at, id)",
    "CREATE INDEX IF NOT EXISTS uploads_by_holder ON uploads (holder, contested) WHERE holder IS NOT NULL",
    "CREATE INDEX IF NOT EXISTS uploads_by_expiry ON uploads (status, expires_at) WHERE expires_at IS NOT NULL",
    "CREATE INDEX IF NOT EXISTS uploads_by_end ON uploads (ended_at) WHERE ended_at IS NOT NULL",
    f"CREATE INDEX IF NOT EXISTS uploads_to_erase ON uploads (created_at, id) WHERE stored = 1 AND {ENDED}",
    "CREATE INDEX IF NOT EXISTS uploads_to_join ON uploads (status, created_at, id) WHERE kind = 'final'",
    "CREATE TABLE IF NOT EXISTS deployment (one INTEGER PRIMARY KEY CHECK (one = 1), place TEXT NOT NULL)",
    sqlite_notes.SCHEMA,
)

COLUMNS: Final = (
    "version", "status", "kind", "created_at", "updated_at", "ended_at", "expires_at",
    "holder", "contested", "stored", "offset", "length", "document",
)  # fmt: skip

INSERT: Final = (
    f"INSERT INTO uploads (id, {', '.join(COLUMNS)}) VALUES (:id, {', '.join(f':{name}' for name in COLUMNS)}) "
    "ON CONFLICT (id) DO NOTHING"
)
TALLY: Final = """
    SELECT status, COUNT(*), SUM(CASE WHEN stored THEN offset ELSE 0 END), COALESCE(SUM(length - offset), 0)
    FROM uploads WHERE created_at >= ? GROUP BY status
"""
CLAIM: Final = "INSERT INTO deployment (one, place) VALUES (1, ?) ON CONFLICT (one) DO "


class SqliteSessions:
    """A session store (see ``SessionStore``). ``clock`` gives seconds since the epoch.

    With ``durable`` a change that was acknowledged outlives a loss of power, without it only a crash of the process.
    """

    def __init__(self, path: Path | str, *, durable: bool = True, clock: Callable[[], float] = time.time) -> None:
        path = Path(path)
        self._clock = clock
        self._database = Database(path, durable=durable, prepare=lambda connection: _prepare(connection, path))

    async def start(self) -> None:
        """See ``SessionStore``. Raises StoreUnavailable, also for a database that a newer version has made."""
        await self._database.start()

    async def close(self) -> None:
        """See ``SessionStore``. What has been asked for before is carried out."""
        await self._database.close()

    async def create(self, upload: Upload) -> Upload:
        """See ``SessionStore``."""

        def work(connection: sqlite3.Connection) -> Upload:
            stored = as_stored(upload, version=1, now=self._clock())
            if connection.execute(INSERT, _row(stored)).rowcount == 0:
                raise Conflict(upload.id)
            return stored

        return await self._database.write(work)

    async def get(self, upload_id: str) -> Upload:
        """See ``SessionStore``."""

        row = await self._database.look_up("SELECT document FROM uploads WHERE id = ?", upload_id)
        if row is None:
            raise UploadNotFound
        return from_document(json.loads(row[0]), self._clock())

    async def swap(self, old: Upload, new: Upload) -> Upload:
        """See ``SessionStore``."""

        def work(connection: sqlite3.Connection) -> Upload:
            stored = as_stored(new.named(old.id), version=old.version + 1, now=self._clock())
            if connection.execute(*_update(old, stored)).rowcount == 0:
                if connection.execute("SELECT 1 FROM uploads WHERE id = ?", (old.id,)).fetchone() is None:
                    raise UploadNotFound
                raise Conflict(old.id)
            return stored

        return await self._database.write(work)

    async def delete(self, upload_id: str) -> None:
        """See ``SessionStore``."""

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM uploads WHERE id = ?", (upload_id,))

        await self._database.write(work)

    async def find(self, query: Query) -> AsyncIterator[Upload]:
        """See ``SessionStore``. Uploads are read in pages: a value may be as old as its page."""
        sql, values = selection(query)

        def work(connection: sqlite3.Connection) -> list[Upload]:
            now = self._clock()
            rows = connection.execute(sql, {**values, **after}).fetchall()
            return [from_document(json.loads(document), now) for (document,) in rows]

        start = (float("inf" if query.newest_first else "-inf"), "")
        after = dict(zip(("created_at", "id"), query.beyond or start, strict=True))
        while page := await self._database.read(work):
            for upload in page:
                yield upload
            if len(page) < PAGE:
                return
            after = {"created_at": page[-1].created_at, "id": page[-1].id}

    def contests(self, holder: str, every: float) -> AsyncGenerator[Upload | None, None]:
        """See ``SessionStore``."""
        return polled(self, holder, every)

    async def tally(self, created_from: float | None = None) -> Mapping[Status, Tally]:
        """See ``SessionStore``."""
        since = float("-inf") if created_from is None else created_from
        rows = await self._database.read(lambda connection: connection.execute(TALLY, (since,)).fetchall())
        return {Status(status): Tally(count=count, held=held, remaining=left) for status, count, held, left in rows}

    async def claim_place(self, place: str, *, force: bool = False) -> str:
        """See ``SessionStore``."""
        otherwise = "UPDATE SET place = excluded.place" if force else "NOTHING"

        def work(connection: sqlite3.Connection) -> str:
            connection.execute(CLAIM + otherwise, (place,))
            return str(connection.execute("SELECT place FROM deployment").fetchone()[0])

        return await self._database.write(work)

    async def claimed_place(self) -> str | None:
        """See ``SessionStore``."""
        said = "SELECT place FROM deployment"
        row = await self._database.read(lambda connection: connection.execute(said).fetchone())
        return None if row is None else str(row[0])

    async def pin(self, board: str, name: str, text: str, seconds: float) -> None:
        """See ``SessionStore``."""
        await sqlite_notes.pin(self._database, board, name, text, now=self._clock(), seconds=seconds)

    async def pinned(self, board: str) -> Mapping[str, str]:
        """See ``SessionStore``."""
        return await sqlite_notes.pinned(self._database, board, now=self._clock())

    async def examine(self) -> AsyncGenerator[Finding, None]:
        """See ``SessionStore``."""
        check = "PRAGMA quick_check(1)"
        ((said,),) = await self._database.read(lambda connection: connection.execute(check).fetchall())
        if said == "ok":
            yield ok("SQLite", "the database is intact")
        else:
            yield problem("SQLite", f"the database is damaged: {said}", "Stop the servers and restore a backup.")

    async def ping(self) -> None:
        """See ``SessionStore``."""
        await self._database.read(lambda connection: connection.execute("SELECT 1 FROM uploads LIMIT 1").fetchone())


def selection(query: Query) -> tuple[str, dict[str, Any]]:
    """The SELECT for one page of what matches, and its values but for the place to go on after
    (``:created_at``, ``:id``)."""
    # The plus signs keep SQLite from walking through all uploads by age, for an order that costs little to make
    bounded = query.expires_before is not None or query.ended_before is not None
    age = ("+created_at", "+id") if bounded else ("created_at", "id")
    beyond, direction = ("<", "DESC") if query.newest_first else (">", "ASC")
    conditions = [f"({', '.join(age)}) {beyond} (:created_at, :id)"]
    if query.stored is not None:
        conditions.append(f"stored = {query.stored:d}")
    if query.statuses is not None:
        names = sorted(repr(status.value) for status in query.statuses)
        conditions.append(f"status IN ({', '.join(names)})")
    if query.kind is not None:
        conditions.append(f"kind = {query.kind.value!r}")
    if query.leased is not None:
        conditions.append(f"holder IS {'NOT ' if query.leased else ''}NULL")
    if query.contested is not None:
        conditions.append(f"contested = {query.contested:d}")
    values = {
        "holder": query.holder,
        "expires_before": query.expires_before,
        "ended_before": query.ended_before,
        "updated_before": query.updated_before,
        "created_from": query.created_from,
    }
    asked = {name: value for name, value in values.items() if value is not None}
    conditions.extend(COMPARISONS[name] for name in asked)
    order = ", ".join(f"{column} {direction}" for column in age)
    return f"SELECT document FROM uploads WHERE {' AND '.join(conditions)} ORDER BY {order} LIMIT {PAGE}", asked


COMPARISONS: Final = {
    "holder": "holder = :holder",
    "expires_before": "expires_at < :expires_before",
    "ended_before": "ended_at < :ended_before",
    "updated_before": "updated_at < :updated_before",
    "created_from": "created_at >= :created_from",
}


def _update(old: Upload, stored: Upload) -> tuple[str, dict[str, Any]]:
    """Only what changes is set: SQLite writes each index of a column that is named, changed or not, and each of them is
    a page of the log."""
    before, after = _searched(old), _searched(stored)
    changed = tuple(name for name, value in after.items() if value != before[name])
    return _update_of(changed), {**after, "document": _document(stored)}


@cache
def _update_of(columns: tuple[str, ...]) -> str:
    settings = ", ".join(f"{name} = :{name}" for name in (*columns, "document"))
    return f"UPDATE uploads SET {settings} WHERE id = :id AND version = :version - 1"


def _row(upload: Upload) -> dict[str, Any]:
    return {**_searched(upload), "document": _document(upload)}


def _document(upload: Upload) -> str:
    return json.dumps(to_document(upload), separators=(",", ":"))


def _searched(upload: Upload) -> dict[str, Any]:
    lease = upload.lease
    return {
        "id": upload.id,
        "version": upload.version,
        "status": upload.status.value,
        "kind": upload.kind.value,
        "created_at": upload.created_at,
        "updated_at": upload.updated_at,
        "ended_at": upload.ended_at,
        "expires_at": upload.expires_at,
        "holder": lease and lease.holder,
        "contested": lease is not None and lease.contest is not None,
        "stored": upload.stored,
        "offset": upload.offset,
        "length": upload.length,
    }


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    if found > SCHEMA_VERSION:
        raise StoreUnavailable(
            f"The session database {path} was made by a newer version of the server "
            f"(schema {found}; this one knows {SCHEMA_VERSION}): run that version."
        )
    for statement in SCHEMA:
        connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
