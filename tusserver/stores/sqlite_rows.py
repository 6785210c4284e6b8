"""An upload as a row of an SQLite table: the document that holds it, and beside it the columns that are compared and
searched; what makes, changes and finds such rows. Both are written together.
"""

from __future__ import annotations

from functools import cache
from itertools import compress
from operator import attrgetter, ne
from typing import Any, Final

from tusserver.protocol.upload import TOMBSTONES, Upload
from tusserver.stores.base import Query

PAGE: Final = 200
"""Uploads that one selection reads at the most; other work goes on between two of them."""

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
)

PLAIN: Final = (
    "version", "status._value_", "kind._value_", "created_at", "updated_at", "ended_at", "expires_at",
    "stored", "offset", "length",
)  # fmt: skip
"""What an upload says under the name of the column; a status and a kind are more than their texts."""

SEARCHED: Final = (*(name.partition(".")[0] for name in PLAIN), "holder", "contested")

_plain: Final = attrgetter(*PLAIN)

INSERT: Final = (
    f"INSERT INTO uploads (id, {', '.join(SEARCHED)}, document) VALUES (?, {'?, ' * len(SEARCHED)}?) "
    "ON CONFLICT (id) DO NOTHING"
)


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


def update(old: Upload, stored: Upload, document: str) -> tuple[str, tuple[Any, ...]]:
    """The statement that replaces the one by the other, and its values. Only what changes is set: SQLite writes each
    index of a column that is named, changed or not, and each of them is a page of the log."""
    before, after = _searched(old), _searched(stored)
    changed = tuple(map(ne, before, after))
    return _update_of(changed), (*compress(after, changed), document, old.id, old.version)


@cache
def _update_of(changed: tuple[bool, ...]) -> str:
    settings = ", ".join(f"{name} = ?" for name in (*compress(SEARCHED, changed), "document"))
    return f"UPDATE uploads SET {settings} WHERE id = ? AND version = ?"


def row(upload: Upload, document: str) -> tuple[Any, ...]:
    """The values of ``INSERT``."""
    return (upload.id, *_searched(upload), document)


def _searched(upload: Upload) -> tuple[Any, ...]:
    """The values of the columns ``SEARCHED``."""
    lease = upload.lease
    return (*_plain(upload), lease and lease.holder, lease is not None and lease.contest is not None)
