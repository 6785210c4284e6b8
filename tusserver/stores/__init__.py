"""Where sessions and bytes are kept, opened by URL."""

from __future__ import annotations

from pathlib import Path

from tusserver.stores.base import ByteStore, SessionStore

SESSION_URLS = "memory:, sqlite:relative/path.db or sqlite:///absolute/path.db"
BYTE_URLS = "disk:relative/directory or disk:///absolute/directory"


def open_session_store(url: str, *, durable: bool) -> SessionStore:
    """The session store that ``url`` names, not started yet.

    With ``durable`` what is stored outlives a loss of power, without it only a crash of the process.
    Raises ValueError, with a sentence, for a URL that names none.
    """
    match url.partition(":"):
        case ["memory", ":", ""]:
            from tusserver.stores.memory import MemorySessions

            return MemorySessions()
        case ["sqlite", ":", rest]:
            from tusserver.stores.sqlite import SqliteSessions

            return SqliteSessions(_path(url, rest, SESSION_URLS), durable=durable)
    raise ValueError(f"{url!r} names no session store; use {SESSION_URLS}")


def open_byte_store(url: str, *, durable: bool) -> ByteStore:
    """The byte store that ``url`` names, not started yet; ``durable`` and errors as in ``open_session_store``."""
    match url.partition(":"):
        case ["disk", ":", rest]:
            from tusserver.stores.disk import DiskBytes

            return DiskBytes(_path(url, rest, BYTE_URLS), durable=durable)
    raise ValueError(f"{url!r} names no byte store; use {BYTE_URLS}")


def _path(url: str, rest: str, forms: str) -> Path:
    path = rest.removeprefix("//")
    if not path or (path != rest and not path.startswith("/")):
        raise ValueError(f"{url!r} names no path; use {forms}")
    return Path(path)
