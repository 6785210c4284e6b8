"""Uploads, a clock and the session stores that the tests look at."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tusserver.protocol.upload import Upload
from tusserver.stores.base import Query, SessionStore
from tusserver.stores.memory import MemorySessions
from tusserver.stores.sqlite import SqliteSessions


class Clock:
    """Stands still until it is moved."""

    def __init__(self, now: float = 1_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@dataclass
class Pair:
    """Two views of one store: what one stores, the other has to see. They may be the same object."""

    one: SessionStore
    other: SessionStore
    clock: Clock


def an_upload(upload_id: str = "u", *, created_at: float = 10.0, **fields: Any) -> Upload:
    return Upload(id=upload_id, created_at=created_at, updated_at=created_at, **fields)


def leased(upload: Upload, holder: str = "pod-a", *, ttl: float = 3.0) -> Upload:
    return upload.acquired(lease_id=f"lease-of-{holder}", holder=holder, ttl=ttl)


async def found(sessions: SessionStore, query: Query | None = None) -> list[str]:
    return [upload.id async for upload in sessions.find(query or Query())]


@asynccontextmanager
async def started(*stores: SessionStore) -> AsyncIterator[None]:
    for store in stores:
        await store.start()
    try:
        yield
    finally:
        for store in stores:
            await store.close()


def memory(path: Path, clock: Clock) -> Pair:
    sessions = MemorySessions(clock)
    return Pair(sessions, sessions, clock)


def sqlite(path: Path, clock: Clock) -> Pair:
    sessions = SqliteSessions(path / "sessions.db", clock=clock)
    return Pair(sessions, sessions, clock)


def sqlite_twice(path: Path, clock: Clock) -> Pair:
    database = path / "sessions.db"
    return Pair(SqliteSessions(database, clock=clock), SqliteSessions(database, durable=False, clock=clock), clock)


BACKENDS: dict[str, Callable[[Path, Clock], Pair]] = {
    "memory": memory,
    "sqlite": sqlite,
    "sqlite-twice": sqlite_twice,
}
