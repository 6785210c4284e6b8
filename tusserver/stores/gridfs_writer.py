"""Writing one upload's bytes into the chunks of GridFS.

* A chunk is written whole each time, by an upsert that carries a **stamp**: the version of the session that the lease
  was taken with, and the number of the write. A chunk that carries a higher stamp is left alone. So whatever arrives
  late (from a writer that was fenced, or from a frozen server) can never replace what was written since.
* A chunk that somebody began is read first and written again with what it held, so its counted beginning stays.
* Writes are idempotent, so they are tried again for a while when MongoDB is away.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final

from bson.int64 import Int64
from pymongo.errors import DuplicateKeyError

from tusserver.protocol.refusals import StoreUnavailable, TakenOver
from tusserver.protocol.upload import Upload
from tusserver.stores.base import Buffer
from tusserver.stores.mongodb import Mongo

AT_ONCE: Final = 4
"""Chunks of one upload that are on their way at the same time."""

PATIENCE: Final = 20.0
"""Seconds that one write is tried for: longer than an election takes."""

PAUSE: Final = 0.25

WRITES: Final = 2**32
"""Writes that one lease has stamps for."""

Reader = Callable[[Upload, int, int], AsyncIterator[bytes]]


class GridFsWriter:
    """A byte writer (see ``ByteWriter``) that begins with what its first chunk already holds (``head``). ``read``
    reads an upload's counted bytes."""

    def __init__(
        self, mongo: Mongo, chunks: str, upload: Upload, *, chunk_size: int, head: bytes, read: Reader
    ) -> None:
        self._mongo = mongo
        self._chunks = chunks
        self._upload = upload
        self._chunk_size = chunk_size
        self._read = read
        self._position = upload.offset
        self._number = upload.offset // chunk_size
        self._pending: list[Buffer] = [head] if head else []
        self._held = len(head)
        self._unsaved = False
        self._writes = 0
        self._under_way: dict[int, asyncio.Task[None]] = {}
        self._failure: BaseException | None = None
        self._closed = False

    @property
    def position(self) -> int:
        """See ``ByteWriter``."""
        return self._position

    async def write(self, blocks: Sequence[Buffer]) -> None:
        """See ``ByteWriter``. Raises TakenOver when somebody else has written since."""
        for block in blocks:
            rest = memoryview(block)
            while rest:
                self._check()
                if self._held == self._chunk_size:
                    await self._turn()
                    continue
                taken = rest[: self._chunk_size - self._held]
                self._pending.append(bytes(taken))  # the caller's memory is the caller's again once this returns
                self._held += len(taken)
                self._unsaved = True
                self._position += len(taken)
                rest = rest[len(taken) :]

    async def copy(self, source: Upload, start: int, stop: int) -> None:
        """See ``ByteWriter``: through this process, a block at a time."""
        async for block in self._read(source, start, stop):
            await self.write([block])

    async def flush(self, *, last: bool = False) -> int:
        """See ``ByteWriter``: a chunk that is not full yet is written too."""
        self._check()
        position = self._position
        if self._unsaved:
            self._send()
        for task in list(self._under_way.values()):
            await asyncio.wait({task})
        self._check()
        return position

    async def close(self) -> None:
        """See ``ByteWriter``. What is under way is given up; should it arrive late, its stamp is an old one."""
        self._closed = True
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _check(self) -> None:
        if self._closed:
            raise StoreUnavailable("The writer is closed.")
        if self._failure is not None:
            raise self._failure

    async def _turn(self) -> None:
        """On to the next chunk, once there is room for this one among those that are under way."""
        while len(self._under_way) >= AT_ONCE:
            await asyncio.wait(self._under_way.values(), return_when=asyncio.FIRST_COMPLETED)
            self._check()
        if self._unsaved:  # unless a flush has sent it meanwhile
            self._send()
        self._number, self._pending, self._held = self._number + 1, [], 0

    def _send(self) -> None:
        data = b"".join(self._pending)
        self._pending, self._unsaved = [data], False
        number, self._writes = self._number, self._writes + 1
        stamp = self._upload.version * WRITES + self._writes
        task = asyncio.create_task(self._put(number, data, stamp, self._under_way.get(number)))
        self._under_way[number] = task
        task.add_done_callback(lambda done: self._ended(number, done))

    def _ended(self, number: int, task: asyncio.Task[None]) -> None:
        if self._under_way.get(number) is task:
            del self._under_way[number]
        if not task.cancelled() and (error := task.exception()) is not None and self._failure is None:
            self._failure = error

    async def _put(self, number: int, data: bytes, stamp: int, earlier: asyncio.Task[None] | None) -> None:
        if earlier is not None:
            await asyncio.wait({earlier})
        deadline = asyncio.get_running_loop().time() + PATIENCE
        while True:
            try:
                async with self._mongo.asking():
                    return await self._upsert(number, data, stamp)
            except DuplicateKeyError:  # it is there already, with a higher stamp, or since just now
                await self._expect_below(number, stamp)
            except StoreUnavailable:
                if asyncio.get_running_loop().time() > deadline:
                    raise
                await asyncio.sleep(PAUSE)

    async def _upsert(self, number: int, data: bytes, stamp: int) -> None:
        await self._mongo.collection(self._chunks).update_one(
            {"files_id": self._upload.id, "n": number, "stamp": {"$lte": Int64(stamp)}},
            {"$set": {"data": data, "stamp": Int64(stamp)}},
            upsert=True,
        )

    async def _expect_below(self, number: int, stamp: int) -> None:
        async with self._mongo.asking():
            found = await self._mongo.collection(self._chunks).find_one(
                {"files_id": self._upload.id, "n": number}, {"stamp": 1}
            )
        if found is not None and found["stamp"] > stamp:
            raise TakenOver


def stamp_of(upload: Upload) -> Int64:
    """The lowest stamp of whoever holds the upload as it is; everybody who held it before has lower ones."""
    return Int64(upload.version * WRITES)
