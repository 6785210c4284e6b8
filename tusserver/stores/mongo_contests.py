"""Hearing of contested leases from MongoDB: a change stream says when to look, where there is a replica set."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator
from typing import Any, Final

from pymongo.errors import OperationFailure, PyMongoError

from tusserver.stores.mongodb import settled

log = logging.getLogger("tusserver.mongodb")

LOOK_ANYWAY: Final = 1.0
"""Seconds after which one looks although the change stream has said nothing."""

NEVER: Final = frozenset({40573, 303})
"""Codes of a server that has no change streams at all: one that is in no replica set, or something compatible."""

# An update of the contest, not of the lease as a whole, nor of anything else in the collection
CONTESTED: Final[dict[str, Any]] = {
    "$expr": {
        "$in": [
            "lease.contest",
            {"$map": {"input": {"$objectToArray": "$updateDescription.updatedFields"}, "in": "$$this.k"}},
        ]
    }
}
PIPELINE: Final = [
    {
        "$match": {
            "$or": [
                {"operationType": "update", **CONTESTED},
                {"operationType": "replace", "fullDocument.lease.contest": {"$ne": None}},
            ]
        }
    },
    {"$project": {"_id": 1}},
]


async def bells(uploads: Any, every: float) -> AsyncGenerator[None, None]:
    """Reasons to look for contests in the collection ``uploads``, for ever: what its change stream says, and else
    each second; without a change stream ``every`` so many seconds."""
    while True:
        try:
            stream = await settled(uploads.watch(PIPELINE, max_await_time_ms=round(LOOK_ANYWAY * 1000)))
            async with contextlib.aclosing(_rung(stream)) as rung:
                async for _ in rung:
                    yield
        except OperationFailure as error:
            log.debug("no change stream", exc_info=True)
            if error.code in NEVER:
                break
        except PyMongoError:
            log.debug("the change stream ended", exc_info=True)
        until = asyncio.get_running_loop().time() + LOOK_ANYWAY
        while asyncio.get_running_loop().time() < until:
            yield
            await asyncio.sleep(every)
    log.info("MongoDB is not a replica set: taking over an upload from another server takes a little longer")
    while True:
        yield
        await asyncio.sleep(every)


async def _rung(stream: Any) -> AsyncGenerator[None, None]:
    try:
        yield  # what was contested before
        while True:
            await stream.try_next()
            yield
    finally:
        with contextlib.suppress(PyMongoError):
            await settled(stream.close())
