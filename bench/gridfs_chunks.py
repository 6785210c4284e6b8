"""``python -m bench.gridfs_chunks``: which size of a GridFS chunk is best, over a real MongoDB of one node."""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from dataclasses import dataclass, replace
from typing import Final

from tests.mongod import replica_set
from tusserver.protocol.upload import Upload
from tusserver.stores.gridfs import GridFsBytes
from tusserver.stores.mongodb import Mongo

KIB: Final = 1024
SIZES: Final = [255 * KIB, 512 * KIB, 1024 * KIB, 2048 * KIB, 4096 * KIB]
TOTAL: Final = 128 * KIB * KIB
APPENDS: Final = 20
ROUNDS: Final = 3


@dataclass(frozen=True)
class Figures:
    """MiB per second written and read, processor seconds per GiB written, milliseconds to append 16 KiB."""

    written: float
    processor: float
    read: float
    append: float


def upload(length: int | None = None) -> Upload:
    return Upload(id=os.urandom(16).hex(), created_at=0.0, updated_at=0.0, version=1, length=length)


async def put(store: GridFsBytes, to: Upload, data: bytes, times: int = 1) -> Upload:
    to = replace(to, version=to.version + 1)
    writer = await store.open(to)
    for _ in range(times):
        await writer.write([data])
    await writer.flush()
    await writer.close()
    return to.advanced(writer.position, now=1.0)


async def measure(url: str, chunk_size: int) -> Figures:
    store = GridFsBytes(Mongo(url, f"chunks-{chunk_size}"), chunk_size=chunk_size)
    await store.start()
    block = os.urandom(256 * KIB)
    began, used = time.perf_counter(), time.process_time()
    big = await put(store, upload(length=TOTAL), block, TOTAL // len(block))
    written, processor = time.perf_counter() - began, time.process_time() - used
    await store.finish(big)
    began = time.perf_counter()
    assert sum([len(each) async for each in store.read(big, 0, TOTAL)]) == TOTAL
    read = time.perf_counter() - began
    small = upload()
    began = time.perf_counter()
    for _ in range(APPENDS):
        small = await put(store, small, block[: 16 * KIB])
    append = (time.perf_counter() - began) / APPENDS
    await store.discard(big.id)
    await store.close()
    mib = TOTAL / KIB / KIB
    return Figures(mib / written, processor / mib * KIB, mib / read, append * 1000)


def main() -> None:
    """Measure in turns, and print the medians."""
    found: dict[int, list[Figures]] = {size: [] for size in SIZES}
    with replica_set() as mongodb:
        for _ in range(ROUNDS):
            for size in SIZES:
                found[size].append(asyncio.run(measure(mongodb.url, size)))
    print("chunk      write MiB/s  CPU s/GiB  read MiB/s  16 KiB append ms")
    for size, rounds in found.items():
        written, processor, read, append = (
            statistics.median(getattr(figures, name) for figures in rounds)
            for name in ("written", "processor", "read", "append")
        )
        print(f"{size // KIB:5} KiB  {written:11.0f}  {processor:9.2f}  {read:10.0f}  {append:16.1f}")


if __name__ == "__main__":
    main()
