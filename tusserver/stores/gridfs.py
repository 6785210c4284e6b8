"""Bytes in MongoDB, in the format of GridFS.

* The byte at position p of an upload lies in chunk ``p // chunk_size`` of the file whose id is the upload's, whoever
  wrote it; ``gridfs_writer`` says why nobody can harm what counts.
* The file document, which makes it a file for every GridFS reader, is written when the upload is complete. Until then
  the upload is listed in ``<bucket>.unfinished``.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import AsyncGenerator
from typing import Any, Final

from bson.int64 import Int64
from pymongo import ASCENDING, ReturnDocument
from pymongo.errors import DuplicateKeyError

from tusserver.protocol.headers import is_upload_id
from tusserver.protocol.refusals import BytesMissing, StoreUnavailable
from tusserver.protocol.upload import Upload
from tusserver.stores.base import check_place
from tusserver.stores.findings import Finding, ok, problem
from tusserver.stores.gridfs_writer import GridFsWriter, stamp_of
from tusserver.stores.mongo_documents import date, described
from tusserver.stores.mongodb import Mongo, settled

BUCKET: Final = "uploads"
CHUNK_SIZE: Final = 1024 * 1024
"""Bytes in a chunk of a new upload; measured, see docs/performance.md. An upload keeps the size it began with."""

BLOCK: Final = 1024 * 1024
DELETED_AT_ONCE: Final = 500


class GridFsBytes:
    """A byte store (see ``ByteStore``) in the bucket of this name."""

    def __init__(self, mongo: Mongo, bucket: str = BUCKET, *, chunk_size: int = CHUNK_SIZE) -> None:
        self._mongo = mongo
        self._bucket = bucket
        self._chunk_size = chunk_size
        self._place: str | None = None

    async def start(self) -> None:
        """See ``ByteStore``. When MongoDB is away the store starts all the same, and asks again when it is used."""
        await self._mongo.open()
        with contextlib.suppress(StoreUnavailable):
            await self._prepare()

    async def close(self) -> None:
        """See ``ByteStore``."""
        await self._mongo.close()

    @property
    def place(self) -> str:
        """What the bucket says that it is. Raises StoreUnavailable as long as it could not be asked."""
        if self._place is None:
            raise StoreUnavailable(retry_after=1)
        return self._place

    async def open(self, upload: Upload) -> GridFsWriter:
        """See ``ByteStore``."""
        await self._prepared()
        check_place(upload, self.place)
        chunk_size = await self._begun(upload)
        start = upload.offset - upload.offset % chunk_size
        head = b"".join([block async for block in self.read(upload, start, upload.offset)])
        return GridFsWriter(self._mongo, self._name("chunks"), upload, chunk_size=chunk_size, head=head, read=self.read)

    async def read(self, upload: Upload, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        """See ``ByteStore``."""
        await self._prepared()
        check_place(upload, self.place)
        if stop > upload.offset:
            raise BytesMissing
        if start >= stop:
            return
        chunk_size = await self._chunk_size_of(upload)
        numbers = {"$gte": start // chunk_size, "$lte": (stop - 1) // chunk_size}
        cursor = self._collection("chunks").find({"files_id": upload.id, "n": numbers}, {"n": 1, "data": 1})
        cursor = cursor.sort("n", ASCENDING).batch_size(4)
        try:
            while start < stop:
                async with self._mongo.asking():
                    chunk = await anext(cursor, None)
                base = start - start % chunk_size
                end = min(stop, base + chunk_size)
                if chunk is None or chunk["n"] * chunk_size != base or len(chunk["data"]) < end - base:
                    raise BytesMissing
                for at in range(start, end, BLOCK):
                    yield chunk["data"][at - base : min(at + BLOCK, end) - base]
                start = end
        finally:
            await settled(cursor.close())

    async def finish(self, upload: Upload) -> None:
        """See ``ByteStore``: the file document is written; no byte is moved."""
        await self._prepared()
        check_place(upload, self.place)
        await self.verify(upload)
        chunk_size = await self._chunk_size_of(upload)
        async with self._mongo.asking():
            await self._cut(upload, chunk_size)
            await self._collection("files").replace_one({"_id": upload.id}, _file(upload, chunk_size), upsert=True)
            await self._collection("unfinished").delete_one({"_id": upload.id})

    async def unfinished(self) -> AsyncGenerator[str, None]:
        """See ``ByteStore``."""
        async for upload_id in self._ids(self._collection("unfinished").find({}, {"_id": 1})):
            yield upload_id

    async def ids(self) -> AsyncGenerator[str, None]:
        """See ``ByteStore``; files that others keep in the bucket are none of ours."""
        seen: set[str] = set()
        lists = [self._ids(self._collection(suffix).find({}, {"_id": 1})) for suffix in ("unfinished", "files")]
        for listed in (*lists, self._ids_of_chunks()):
            async for upload_id in listed:
                if upload_id not in seen:
                    seen.add(upload_id)
                    yield upload_id

    async def verify(self, upload: Upload) -> None:
        """See ``ByteStore``: that each chunk is there, and the last one long enough."""
        await self._prepared()
        check_place(upload, self.place)
        if upload.offset == 0:
            return
        chunk_size = await self._chunk_size_of(upload)
        last = (upload.offset - 1) // chunk_size
        chunks = self._collection("chunks")
        async with self._mongo.asking():
            count = await chunks.count_documents({"files_id": upload.id, "n": {"$lte": last}})
            size = await self._size(upload, last)
        if count != last + 1 or size < upload.offset - last * chunk_size:
            raise BytesMissing

    async def delete(self, upload: Upload) -> None:
        """See ``ByteStore``. The file document goes first, so that no reader finds a file without its bytes."""
        await self._prepared()
        check_place(upload, self.place)
        await self.discard(upload.id)

    async def discard(self, upload_id: str) -> None:
        """See ``ByteStore``."""
        chunks = self._collection("chunks")
        async with self._mongo.asking():
            await self._collection("files").delete_one({"_id": upload_id})
        while True:
            async with self._mongo.asking():  # a large upload takes longer than one call may
                last = await chunks.find_one({"files_id": upload_id}, {"n": 1}, sort=[("n", -1)])
                if last is None:
                    break
                await chunks.delete_many({"files_id": upload_id, "n": {"$gt": last["n"] - DELETED_AT_ONCE}})
        async with self._mongo.asking():
            await self._collection("unfinished").delete_one({"_id": upload_id})

    async def room(self) -> int | None:
        """See ``ByteStore``: MongoDB says nothing of that."""
        return None

    def location(self, upload: Upload) -> str | None:
        """``gridfs:<database>.<bucket>/<id>``."""
        return f"gridfs:{self._mongo.name}.{self._bucket}/{upload.id}"

    async def examine(self) -> AsyncGenerator[Finding, None]:
        """See ``ByteStore``."""
        async with self._mongo.asking():
            indexes = await self._collection("chunks").index_information()
        if any(index["key"] == [("files_id", 1), ("n", 1)] and index.get("unique") for index in indexes.values()):
            yield ok("GridFS", f"bucket {self._bucket}, its index is there")
        else:
            yield problem(
                "GridFS", "the unique index on files_id and n is missing", "Restart a server, which makes it."
            )

    async def ping(self) -> None:
        """See ``ByteStore``."""
        await self._mongo.ping()
        await self._prepared()

    # What these are made of

    def _name(self, suffix: str) -> str:
        return f"{self._bucket}.{suffix}"

    def _collection(self, suffix: str) -> Any:
        return self._mongo.collection(self._name(suffix))

    async def _prepared(self) -> None:
        if self._place is None:
            await self._prepare()

    async def _prepare(self) -> None:
        async with self._mongo.asking():
            await self._collection("chunks").create_index([("files_id", ASCENDING), ("n", ASCENDING)], unique=True)
            await self._collection("files").create_index([("filename", ASCENDING), ("uploadDate", ASCENDING)])
            identity = self._collection("identity")
            with contextlib.suppress(DuplicateKeyError):  # somebody else was first
                await identity.update_one(
                    {"_id": "place"}, {"$setOnInsert": {"place": f"gridfs-{secrets.token_hex(8)}"}}, upsert=True
                )
            self._place = str((await identity.find_one({"_id": "place"}))["place"])

    async def _begun(self, upload: Upload) -> int:
        if upload.parts:
            return await self._chunk_size_of(upload)
        async with self._mongo.asking():
            for _ in range(2):
                with contextlib.suppress(DuplicateKeyError):  # somebody else was first
                    found = await self._collection("unfinished").find_one_and_update(
                        {"_id": upload.id},
                        {"$setOnInsert": {"chunk_size": self._chunk_size}},
                        upsert=True,
                        return_document=ReturnDocument.AFTER,
                    )
                    return int(found["chunk_size"])
        raise StoreUnavailable(retry_after=1)

    async def _chunk_size_of(self, upload: Upload) -> int:
        places = [("unfinished", "chunk_size"), ("files", "chunkSize")]
        likely, other = reversed(places) if upload.completed else places
        async with self._mongo.asking():
            for suffix, field in (likely, other, likely):  # finishing may have moved it between two looks
                found = await self._collection(suffix).find_one({"_id": upload.id}, {field: 1})
                if found is not None:
                    return int(found[field])
        if upload.offset == 0:
            return self._chunk_size
        raise BytesMissing

    async def _size(self, upload: Upload, number: int) -> int:
        found = await self._collection("chunks").find_one(
            {"files_id": upload.id, "n": number}, {"size": {"$binarySize": "$data"}}
        )
        return 0 if found is None else int(found["size"])

    async def _cut(self, upload: Upload, chunk_size: int) -> None:
        """Remove what was written beyond the length while that was not known."""
        chunks = self._collection("chunks")
        count = -(-upload.offset // chunk_size)
        await chunks.delete_many({"files_id": upload.id, "n": {"$gte": count}})
        size = upload.offset - (count - 1) * chunk_size
        if count and await self._size(upload, count - 1) > size:
            last = {"files_id": upload.id, "n": count - 1}
            chunk = await chunks.find_one(last)
            await chunks.update_one(last, {"$set": {"data": chunk["data"][:size], "stamp": stamp_of(upload)}})

    async def _ids_of_chunks(self) -> AsyncGenerator[str, None]:
        """From one id to the next by the index, since there are many chunks to each."""
        found: dict[str, Any] | None = {"files_id": ""}
        while found is not None:
            beyond = {"files_id": {"$gt": found["files_id"]}}
            async with self._mongo.asking():
                found = await self._collection("chunks").find_one(beyond, {"files_id": 1}, sort=[("files_id", 1)])
            if found is not None and is_upload_id(found["files_id"]):
                yield found["files_id"]

    async def _ids(self, cursor: Any) -> AsyncGenerator[str, None]:
        async with contextlib.aclosing(self._mongo.each(cursor)) as documents:
            async for document in documents:
                if isinstance(document["_id"], str) and is_upload_id(document["_id"]):
                    yield document["_id"]


def _file(upload: Upload, chunk_size: int) -> dict[str, Any]:
    shown = described(upload.metadata)
    return {
        "_id": upload.id,
        "length": Int64(upload.offset),
        "chunkSize": chunk_size,
        "uploadDate": date(upload.completed_at or upload.updated_at),
        "filename": shown["file_name"] or upload.id,
        "metadata": shown["metadata"],
    }
