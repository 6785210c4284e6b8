"""Uploads, a clock and the session stores that the tests look at."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bson.datetime_ms import DatetimeMS
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import AsyncMongoClient

from tests.mongod import shared_replica_set
from tusserver.protocol.upload import Upload
from tusserver.stores.base import Query, SessionStore
from tusserver.stores.memory import MemorySessions
from tusserver.stores.mongo import MongoSessions
from tusserver.stores.mongodb import Mongo
from tusserver.stores.sqlite import SqliteSessions

PATIENCE = 60.0
"""Seconds."""


async def turns_until(condition: Callable[[], object]) -> None:
    """Let the loop turn until the condition holds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0)


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
    close: Callable[[], Any] = lambda: None


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


def mongo(path: Path, clock: Clock) -> Pair:
    return _in_mongodb(clock, AsyncMongoClient)


def motor(path: Path, clock: Clock) -> Pair:
    return _in_mongodb(clock, AsyncIOMotorClient)


def _in_mongodb(clock: Clock, client: Callable[[str], Any]) -> Pair:
    url, database = _patient(shared_replica_set().url), f"contract-{secrets.token_hex(4)}"

    def now() -> Any:
        return {"$literal": DatetimeMS(round(clock.now * 1000))}

    theirs = client(url)
    other = Mongo(theirs, database)
    other.timeout = PATIENCE
    return Pair(MongoSessions(other, now=now), MongoSessions(Mongo(url, database), now=now), clock, theirs.close)


def _patient(url: str) -> str:
    """A busy machine needs more time than an operator would give: hundreds of tasks wait for a hundred connections."""
    return f"{url}{'&' if '?' in url else '?'}timeoutMS={int(PATIENCE * 1000)}"


BACKENDS: dict[str, Callable[[Path, Clock], Pair]] = {
    "memory": memory,
    "mongodb": mongo,
    "mongodb-motor": motor,
    "sqlite": sqlite,
    "sqlite-twice": sqlite_twice,
}
