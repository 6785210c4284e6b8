"""Where sessions and bytes are kept, opened by URL."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tusserver.stores.base import ByteStore, SessionStore

if TYPE_CHECKING:
    from tusserver.stores.mongodb import Mongo

MONGODB = "mongodb:"
GRIDFS = "gridfs:"
SESSION_URLS = "memory:, sqlite:relative/path.db, sqlite:///absolute/path.db or mongodb: (with --mongo-url)"
BYTE_URLS = "disk:relative/directory, disk:///absolute/directory, or gridfs: or gridfs:bucket (with --mongo-url)"
WEEK = 7 * 24 * 3600.0


def open_mongo(client: Any, database: str | None, *, durable: bool) -> Mongo:
    """The connection to MongoDB, not opened yet; ``client`` is a URL or an application's client. Raises ValueError,
    with a sentence, where PyMongo is not installed."""
    try:
        from tusserver.stores.mongodb import Mongo
    except ImportError as error:
        raise ValueError('MongoDB needs a driver: pip install "tusserver[mongo]"') from error
    return Mongo(client, database, durable=durable)


def open_session_store(
    url: str, *, durable: bool, mongo: Mongo | None = None, forget_after: float = WEEK
) -> SessionStore:
    """The session store that ``url`` names, not started yet.

    With ``durable`` what is stored outlives a loss of power, without it only a crash of the process. ``mongo``: the
    connection for ``mongodb:``; ``forget_after``: seconds after which that store may forget tombstones by itself.
    Raises ValueError, with a sentence, for a URL that names none.
    """
    match url.partition(":"):
        case ["memory", ":", ""]:
            from tusserver.stores.memory import MemorySessions

            return MemorySessions()
        case ["sqlite", ":", rest]:
            from tusserver.stores.sqlite import SqliteSessions

            return SqliteSessions(_path(url, rest, SESSION_URLS), durable=durable)
        case ["mongodb", ":", ""] if mongo is not None:
            from tusserver.stores.mongo import MongoSessions

            return MongoSessions(mongo, forget_after=forget_after)
        case ["mongodb", ":", ""]:
            raise ValueError(f"{MONGODB} sessions need --mongo-url (MONGO_URL), or an application's client")
    raise ValueError(f"{url!r} names no session store; use {SESSION_URLS}")


def open_byte_store(url: str, *, durable: bool, mongo: Mongo | None = None) -> ByteStore:
    """The byte store that ``url`` names, not started yet; ``durable`` and errors as in ``open_session_store``."""
    match url.partition(":"):
        case ["disk", ":", rest]:
            from tusserver.stores.disk import DiskBytes

            return DiskBytes(_path(url, rest, BYTE_URLS), durable=durable)
        case ["gridfs", ":", bucket] if mongo is not None:
            from tusserver.stores.gridfs import BUCKET, GridFsBytes

            return GridFsBytes(mongo, bucket or BUCKET)
        case ["gridfs", ":", _]:
            raise ValueError(f"{GRIDFS} storage needs --mongo-url (MONGO_URL), or an application's client")
    raise ValueError(f"{url!r} names no byte store; use {BYTE_URLS}")


def _path(url: str, rest: str, forms: str) -> Path:
    path = rest.removeprefix("//")
    if not path or (path != rest and not path.startswith("/")):
        raise ValueError(f"{url!r} names no path; use {forms}")
    return Path(path)
