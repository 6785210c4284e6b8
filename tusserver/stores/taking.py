"""``SessionStore.take`` for stores in which a look takes no time to speak of."""

from __future__ import annotations

from tusserver.protocol.rules import Want
from tusserver.protocol.upload import Lease, Upload
from tusserver.stores.base import Conflict, SessionStore


async def taken(sessions: SessionStore, upload_id: str, want: Want, lease: Lease) -> Upload:
    """See ``SessionStore.take``."""
    upload = await sessions.get(upload_id)
    if not want.met_by(upload):
        return upload
    try:
        return await sessions.swap(upload, upload.acquired(lease_id=lease.id, holder=lease.holder, ttl=lease.ttl))
    except Conflict:
        return await sessions.get(upload_id)
