"""A process that moves uploads on: ``python -m tests.stores.swapper DATABASE TIMES ID...``

One task for each id makes TIMES swaps and prints each version once the store has acknowledged it.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from pathlib import Path

from tests.stores.sessions import started
from tusserver.stores.base import Conflict
from tusserver.stores.sqlite import SqliteSessions


async def move(store: SqliteSessions, upload_id: str, times: int) -> None:
    while times:
        upload = await store.get(upload_id)
        with contextlib.suppress(Conflict):
            upload = await store.swap(upload, upload.advanced(upload.offset + 1, now=1.0))
            print(upload_id, upload.version, flush=True)
            times -= 1


async def main(database: str, times: str, *ids: str) -> None:
    store = SqliteSessions(Path(database))
    async with started(store):
        await asyncio.gather(*(move(store, upload_id, int(times)) for upload_id in ids))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
