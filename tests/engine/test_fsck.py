"""What fsck finds beside servers that are at work (what its command says: tests/e2e/test_operator.py)."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.stores.sessions import an_upload, turns_until
from tusserver.fsck import Fsck
from tusserver.stores.disk import DiskBytes
from tusserver.stores.sqlite import SqliteSessions

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("committed", [True, False])
async def test_bytes_whose_session_is_being_stored_are_waited_for(tmp_path: Path, committed: bool) -> None:
    server, mine = (SqliteSessions(tmp_path / "s.db", durable=False) for _ in range(2))
    storage = DiskBytes(tmp_path / "uploads", durable=False)
    for store in (server, mine, storage):
        await store.start()
    await server.create(an_upload("other"))
    writer = server._database._connection
    assert writer is not None
    writer.execute("BEGIN IMMEDIATE")
    upload = an_upload("u", length=4).placed(storage.place)
    storage.put(upload, b"data", last=True)
    server._creation(upload.advanced(4, now=1.0))(writer)

    async def looked() -> list[str]:
        return [finding.upload_id async for finding in Fsck(mine, storage).findings() if finding.what == "stray"]

    looking = asyncio.create_task(looked())
    await turns_until(lambda: mine._database._queued)
    writer.execute("COMMIT" if committed else "ROLLBACK")
    assert await looking == ([] if committed else ["u"])
    for store in (server, mine, storage):
        await store.close()
