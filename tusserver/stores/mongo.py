"""Sessions in MongoDB, for any number of servers.

* Each change is one ``findAndModify`` that names the version that it starts from, or takes the lease of an upload that
  nobody holds, so nothing is counted twice, however often a driver repeats it.
* The store's clock is the MongoDB server's (``$$NOW``), whatever clock a pod has.
* A change is acknowledged by a majority, and what is read is what a majority has: no fail-over takes back an offset
  that somebody has been told.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from typing import Any, Final

from pymongo import ASCENDING, DESCENDING, ReturnDocument
from pymongo.errors import DuplicateKeyError, OperationFailure

from tusserver.protocol.refusals import StoreUnavailable, UploadNotFound
from tusserver.protocol.rules import Want
from tusserver.protocol.upload import Lease, Status, Upload
from tusserver.stores import mongo_notes
from tusserver.stores.base import Conflict, Query, Tally
from tusserver.stores.findings import Finding
from tusserver.stores.mongo_contests import bells
from tusserver.stores.mongo_documents import FIELDS, WRITTEN, date, from_session, stored_by, written
from tusserver.stores.mongo_examined import examined
from tusserver.stores.mongo_taking import takeable, taken_by
from tusserver.stores.mongodb import INDEX_DIFFERS, Mongo, away, settled

log = logging.getLogger("tusserver.mongodb")

COLLECTION: Final = "uploads"
DEPLOYMENT: Final = "deployment"
PLACE: Final = "place"
WEEK: Final = 7 * 24 * 3600.0

TALLY: Final[Mapping[str, Any]] = {
    "_id": "$status",
    "count": {"$sum": 1},
    "held": {"$sum": {"$cond": ["$stored", "$offset", 0]}},
    "remaining": {"$sum": {"$cond": [{"$eq": ["$length", None]}, 0, {"$subtract": ["$length", "$offset"]}]}},
}


class MongoSessions:
    """A session store (see ``SessionStore``) in a collection of ``mongo``.

    ``forget_after``: seconds after which MongoDB itself removes a tombstone that no sweeper has forgotten. ``now``
    gives the aggregation expression of the store's clock.
    """

    def __init__(
        self,
        mongo: Mongo,
        *,
        collection: str = COLLECTION,
        forget_after: float = WEEK,
        now: Callable[[], Any] = lambda: "$$NOW",
    ) -> None:
        self._mongo = mongo
        self._name = collection
        self._forget_after = forget_after
        self._now = now
        self._preparing: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """See ``SessionStore``. When MongoDB is away the store starts all the same, and makes its indexes later."""
        await self._mongo.open()
        try:
            await self._prepare()
        except StoreUnavailable as refusal:
            if not away(refusal.__cause__):
                raise
            log.error("starting without the session store: %s", refusal.text)
            self._preparing = asyncio.create_task(self._prepare_later())

    async def close(self) -> None:
        """See ``SessionStore``. An application's client is left open."""
        if self._preparing is not None:
            self._preparing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._preparing
        await self._mongo.close()

    async def create(self, upload: Upload) -> Upload:
        """See ``SessionStore``."""
        stored = await self._stored(upload, version=1, upsert=True)
        assert stored is not None
        return stored

    async def get(self, upload_id: str) -> Upload:
        """See ``SessionStore``."""
        async with self._mongo.asking():
            document = await self._uploads.find_one({"_id": upload_id}, self._projection())
        if document is None:
            raise UploadNotFound
        return from_session(document)

    async def swap(self, old: Upload, new: Upload) -> Upload:
        """See ``SessionStore``."""
        stored = await self._stored(new.named(old.id), version=old.version + 1, upsert=False)
        if stored is None:
            await self.get(old.id)
            raise Conflict(old.id)
        return stored

    async def take(self, upload_id: str, want: Want, lease: Lease) -> Upload:
        """See ``SessionStore``."""
        async with self._mongo.asking():
            document = await self._uploads.find_one_and_update(
                takeable(upload_id, want),
                taken_by(lease, want.offset, now=self._now()),
                projection=FIELDS,
                return_document=ReturnDocument.AFTER,
            )
        return await self.get(upload_id) if document is None else from_session(document)

    async def delete(self, upload_id: str) -> None:
        """See ``SessionStore``."""
        async with self._mongo.asking():
            await self._uploads.delete_one({"_id": upload_id})

    async def find(self, query: Query) -> AsyncIterator[Upload]:
        """See ``SessionStore``. Uploads are read in batches: a value may be as old as its batch."""
        direction = DESCENDING if query.newest_first else ASCENDING
        cursor = self._uploads.find(selection(query), self._projection())
        cursor = cursor.sort([("created_at", direction), ("_id", direction)]).batch_size(200)
        async with contextlib.aclosing(self._mongo.each(cursor)) as documents:
            async for document in documents:
                yield from_session(document)

    async def contests(self, holder: str, every: float) -> AsyncGenerator[Upload | None, None]:
        """See ``SessionStore``: by a change stream where there is a replica set, else by looking."""
        contested = Query(holder=holder, contested=True)
        async with contextlib.aclosing(bells(self._uploads, every)) as rung:
            async for _ in rung:
                while found := [upload async for upload in self.find(contested)]:
                    for upload in found:
                        yield upload
                    await asyncio.sleep(every)
                yield None

    async def tally(self, created_from: float | None = None) -> Mapping[Status, Tally]:
        """See ``SessionStore``."""
        pipeline = [{"$match": selection(Query(created_from=created_from))}, {"$group": TALLY}]
        async with self._mongo.asking():
            groups = [group async for group in await settled(self._uploads.aggregate(pipeline))]
        return {
            Status(group["_id"]): Tally(
                count=group["count"], held=int(group["held"]), remaining=int(group["remaining"])
            )
            for group in groups
        }

    async def claim_place(self, place: str, *, force: bool = False) -> str:
        """See ``SessionStore``."""
        claimed = None if force else await self.claimed_place()
        if claimed is not None:
            return claimed
        operator = "$set" if force else "$setOnInsert"
        async with self._mongo.asking():
            with contextlib.suppress(DuplicateKeyError):  # somebody else was first
                deployment = self._mongo.collection(DEPLOYMENT)
                await deployment.update_one({"_id": PLACE}, {operator: {"place": place}}, upsert=True)
        return await self.claimed_place() or place

    async def claimed_place(self) -> str | None:
        """See ``SessionStore``."""
        async with self._mongo.asking():
            found = await self._mongo.collection(DEPLOYMENT).find_one({"_id": PLACE})
        return None if found is None else str(found["place"])

    async def pin(self, board: str, name: str, text: str, seconds: float) -> None:
        """See ``SessionStore``."""
        await mongo_notes.pin(self._mongo, board, name, text, now=self._now(), seconds=seconds)

    async def pinned(self, board: str) -> Mapping[str, str]:
        """See ``SessionStore``."""
        return await mongo_notes.pinned(self._mongo, board, now=self._now())

    async def examine(self) -> AsyncGenerator[Finding, None]:
        """See ``SessionStore``."""
        async for finding in examined(self._mongo, self._name, [name for name, *_ in INDEXES]):
            yield finding

    async def ping(self) -> None:
        """See ``SessionStore``."""
        await self._mongo.ping()

    # What these are made of

    @property
    def _uploads(self) -> Any:
        return self._mongo.collection(self._name)

    def _projection(self) -> dict[str, Any]:
        return {**dict.fromkeys(FIELDS, 1), "now": self._now()}

    async def _stored(self, upload: Upload, *, version: int, upsert: bool) -> Upload | None:
        try:
            async with self._mongo.asking():
                document = await self._uploads.find_one_and_update(
                    {"_id": upload.id, "version": version - 1},
                    stored_by(upload, version=version, now=self._now()),
                    projection=WRITTEN,
                    upsert=upsert,
                    return_document=ReturnDocument.AFTER,
                )
        except DuplicateKeyError:
            raise Conflict(upload.id) from None
        return None if document is None else written(upload, document, version=version)

    async def _prepare(self) -> None:
        async with self._mongo.asking():
            for name, keys, options in INDEXES:
                await self._uploads.create_index(keys, name=name, **options)
        async with self._mongo.asking():
            await self._forget_late()
        await mongo_notes.prepare(self._mongo)

    async def _forget_late(self) -> None:
        seconds = round(self._forget_after)
        try:
            await self._uploads.create_index(
                [("ended_at", ASCENDING)],
                name="forgotten",
                expireAfterSeconds=seconds,
                partialFilterExpression={"stored": False, "ended_at": {"$type": "date"}},
            )
        except OperationFailure as error:
            if error.code != INDEX_DIFFERS:
                raise
            index = {"name": "forgotten", "expireAfterSeconds": seconds}
            await self._mongo.client[self._mongo.name].command("collMod", self._name, index=index)

    async def _prepare_later(self) -> None:
        while True:
            await asyncio.sleep(1)
            with contextlib.suppress(StoreUnavailable):
                await self._prepare()
                log.info("the session store answers")
                return


AGE: Final = [("created_at", ASCENDING), ("_id", ASCENDING)]
INDEXES: Final[tuple[tuple[str, list[tuple[str, int]], dict[str, Any]], ...]] = (
    ("by_age", AGE, {}),
    ("by_status", [("status", ASCENDING), *AGE], {}),
    ("by_expiry", [("status", ASCENDING), ("expires_at", ASCENDING)], {}),
    (
        "by_holder",
        [("lease.holder", ASCENDING), *AGE],
        {"partialFilterExpression": {"lease.holder": {"$exists": True}}},
    ),
    ("to_erase", [("status", ASCENDING), ("stored", ASCENDING), *AGE], {}),
    ("to_join", [("status", ASCENDING), *AGE], {"partialFilterExpression": {"kind": "final"}}),
)
"""They give the order too, where it matters, so that MongoDB does not walk through all uploads by age for it."""


def selection(query: Query) -> dict[str, Any]:
    """The filter of what matches."""
    conditions: list[dict[str, Any]] = []
    if query.statuses is not None:
        conditions.append({"status": {"$in": sorted(status.value for status in query.statuses)}})
    if query.kind is not None:
        conditions.append({"kind": query.kind.value})
    if query.leased is not None:
        conditions.append({"lease.holder": {"$exists": query.leased}})
    if query.holder is not None:
        conditions.append({"lease.holder": query.holder})
    if query.contested is not None:
        conditions.append({"lease.contest": {"$ne": None} if query.contested else None})
    if query.stored is not None:
        conditions.append({"stored": query.stored})
    for field in ("expires", "ended", "updated"):
        bound = getattr(query, f"{field}_before")
        if bound is not None:
            conditions.append({f"{field}_at": {"$lt": date(bound)}})
    if query.created_from is not None:
        conditions.append({"created_at": {"$gte": date(query.created_from)}})
    if query.beyond is not None:
        conditions.append(_beyond(*query.beyond, "$lt" if query.newest_first else "$gt"))
    return {"$and": conditions} if conditions else {}


def _beyond(created_at: float, upload_id: str, operator: str) -> dict[str, Any]:
    born = date(created_at)
    return {"$or": [{"created_at": {operator: born}}, {"created_at": born, "_id": {operator: upload_id}}]}
