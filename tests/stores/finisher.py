"""Finishes one upload on a disk store, for a test that kills it in the middle: ROOT, then the document on stdin."""

from __future__ import annotations

import asyncio
import json
import sys

from tusserver.stores.disk import DiskBytes
from tusserver.stores.documents import from_document


async def main() -> None:
    store = DiskBytes(sys.argv[1])
    await store.start()
    print("ready", flush=True)
    await store.finish(from_document(json.load(sys.stdin), 0))


asyncio.run(main())
