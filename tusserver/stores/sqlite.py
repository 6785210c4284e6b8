"""Sessions in an SQLite database, for one host: any number of its processes may share the database.

The store's clock is the host's.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from tusserver.protocol.refusals import StoreUnavailable, UploadNotFound
from tusserver.protocol.rules import Want
from tusserver.protocol.upload import Lease, Status, Upload
from tusserver.stores import sqlite_notes
from tusserver.stores.base import Conflict, Query, Tally, polled
from tusserver.stores.database import Database
from tusserver.stores.documents import as_stored, from_text, to_text
from tusserver.stores.findings import Finding, ok, problem
from tusserver.stores.prompt import Put
from tusserver.stores.sqlite_rows import INSERT, PAGE, SCHEMA, SCHEMA_VERSION, row, selection, update
from tusserver.stores.taking import taken

Change = Callable[[sqlite3.Connection], tuple[str, Upload]]
"""What makes a change; it returns what is stored then, as its document says it and as a value."""

KNOWN: Final = 512
"""Documents that are remembered at the most."""
SHORT: Final = 4096
"""Characters up to which a document is worth remembering, and cannot fill the memory."""

LOOK_UP: Final = "SELECT document FROM uploads WHERE id = ?"
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
        self._known = Known()
        self._database = Database(path, durable=durable, prepare=lambda connection: _prepare(connection, path))

    async def start(self) -> None:
        """See ``SessionStore``. Raises StoreUnavailable, also for a database that a newer version has made."""
        await self._database.start()

    async def close(self) -> None:
        """See ``SessionStore``. What has been asked for before is carried out."""
        await self._database.close()

    async def create(self, upload: Upload) -> Upload:
        """See ``SessionStore``."""
        return self._known.note(*await self._database.write(self._creation(upload)))

    async def get(self, upload_id: str) -> Upload:
        """See ``SessionStore``."""
        document = _found(await self._database.look_up(LOOK_UP, upload_id))
        return self._known.upload(upload_id, document, self._clock())

    async def swap(self, old: Upload, new: Upload) -> Upload:
        """See ``SessionStore``."""
        return self._known.note(*await self._database.write(self._replacement(old, new)))

    async def take(self, upload_id: str, want: Want, lease: Lease) -> Upload:
        """See ``SessionStore``."""
        return await taken(self, upload_id, want, lease)

    def known(self, upload_id: str) -> Upload | None:
        """See ``PromptSessions``."""
        return self._known.last(upload_id)

    async def create_along(self, upload: Upload, put: Put) -> Upload | None:
        """See ``PromptSessions``."""
        stored = await self._database.at_once(self._creation(upload, put))
        return None if stored is None else self._known.note(*stored)

    async def swap_along(self, old: Upload, new: Upload, put: Put) -> Upload | None:
        """See ``PromptSessions``."""
        stored = await self._database.at_once(self._replacement(old, new, put))
        return None if stored is None else self._known.note(*stored)

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
            return [from_text(document, now) for (document,) in rows]

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

    def _creation(self, upload: Upload, put: Put = lambda: None) -> Change:
        if upload.lease is None:
            return _creation(upload, self._clock(), put)
        # A lease runs from when it is stored, however long that has to wait
        return lambda connection: _creation(upload, self._clock(), put)(connection)

    def _replacement(self, old: Upload, new: Upload, put: Put = lambda: None) -> Change:
        if new.lease is None:
            return _replacement(old, new, self._clock(), put)
        return lambda connection: _replacement(old, new, self._clock(), put)(connection)


class Known:
    """What documents said that were read or written lately: one that is looked for is mostly what it was the last time,
    since a player fetches one upload in many ranges, and a client goes on with what it has just made."""

    def __init__(self) -> None:
        self._said: dict[str, tuple[str, Upload]] = {}

    def last(self, upload_id: str) -> Upload | None:
        """The upload as it was then."""
        said = self._said.get(upload_id)
        return None if said is None else said[1]

    def upload(self, upload_id: str, document: str, now: float) -> Upload:
        """The upload that the document describes, handed out now."""
        said = self._said.get(upload_id)
        if said is not None and said[0] == document:
            return replace(said[1], as_of=now)
        return self.note(document, from_text(document, now))

    def note(self, document: str, upload: Upload) -> Upload:
        """The document describes this upload, and has been committed: what has not may be said by another one, of
        another upload with the same version."""
        if len(document) > SHORT:
            self._said.pop(upload.id, None)  # as it was before it would be tried in vain
            return upload
        if len(self._said) >= KNOWN:
            self._said.clear()
        self._said[upload.id] = (document, upload)
        return upload


def _creation(upload: Upload, now: float, put: Put) -> Change:
    """What makes the upload. All but the statement is done here already, while nobody has to wait for it."""
    stored = as_stored(upload, version=1, now=now)
    document = to_text(stored)
    values = row(stored, document)

    def work(connection: sqlite3.Connection) -> tuple[str, Upload]:
        if connection.execute(INSERT, values).rowcount == 0:
            raise Conflict(upload.id)
        put()
        return document, stored

    return work


def _replacement(old: Upload, new: Upload, now: float, put: Put) -> Change:
    """What puts the one in the other's place, prepared likewise."""
    stored = as_stored(new if new.id == old.id else new.named(old.id), version=old.version + 1, now=now)
    document = to_text(stored)
    statement, values = update(old, stored, document)

    def work(connection: sqlite3.Connection) -> tuple[str, Upload]:
        if connection.execute(statement, values).rowcount == 0:
            if connection.execute(LOOK_UP, (old.id,)).fetchone() is None:
                raise UploadNotFound
            raise Conflict(old.id)
        put()
        return document, stored

    return work


def _found(row: tuple[str] | None) -> str:
    if row is None:
        raise UploadNotFound
    return row[0]


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    if found > SCHEMA_VERSION:
        raise StoreUnavailable(
            f"The session database {path} was made by a newer version of the server "
            f"(schema {found}; this one knows {SCHEMA_VERSION}): run that version."
        )
    for statement in (*SCHEMA, sqlite_notes.SCHEMA):
        connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
