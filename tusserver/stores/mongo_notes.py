"""Notes in MongoDB (``SessionStore.pin``): one small document each, which MongoDB removes when it has run out."""

from __future__ import annotations

import contextlib
from typing import Any, Final

from pymongo import ASCENDING
from pymongo.errors import DuplicateKeyError

from tusserver.stores.base import check_note
from tusserver.stores.documents import milliseconds
from tusserver.stores.mongodb import Mongo

COLLECTION: Final = "notes"


async def prepare(mongo: Mongo) -> None:
    """Make the index by which MongoDB removes them."""
    async with mongo.asking():
        await mongo.collection(COLLECTION).create_index([("until", ASCENDING)], name="run_out", expireAfterSeconds=0)


async def pin(mongo: Mongo, board: str, name: str, text: str, *, now: Any, seconds: float) -> None:
    """See ``SessionStore``. ``now``: the aggregation expression of the store's clock."""
    check_note(text)
    until = {"$add": [now, milliseconds(seconds)]}
    note = {"$set": {"text": {"$literal": text}, "until": until}}
    async with mongo.asking():
        with contextlib.suppress(DuplicateKeyError):  # somebody has pinned that name at the same moment
            key = {"board": board, "name": name}
            await mongo.collection(COLLECTION).update_one({"_id": key}, [note], upsert=True)


async def pinned(mongo: Mongo, board: str, *, now: Any) -> dict[str, str]:
    """See ``SessionStore``."""
    # They are removed once a minute only
    asked = {"_id.board": board, "$expr": {"$gt": ["$until", now]}}
    cursor = mongo.collection(COLLECTION).find(asked)
    async with contextlib.aclosing(mongo.each(cursor)) as notes:
        return {str(note["_id"]["name"]): str(note["text"]) async for note in notes}
