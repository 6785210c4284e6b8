"""Do sessions and bytes fit together? What no server can put right by itself: bytes of which there is no session, and
sessions whose bytes are gone.

It may run beside servers that are at work: what looks wrong is looked at again, since it may only have moved on.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Literal

from tusserver.protocol.refusals import BytesElsewhere, BytesMissing, StoreUnavailable, UploadNotFound
from tusserver.protocol.upload import TOMBSTONES, Status, Upload
from tusserver.stores.base import ByteStore, Conflict, Query, SessionStore


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """``missing``: counted bytes of the upload are gone. ``stray``: bytes lie about under an id of which there is no
    session, or one whose bytes were deleted. ``elsewhere``: its bytes are in another place, which cannot be looked
    into from here."""

    what: Literal["missing", "stray", "elsewhere"]
    upload_id: str
    upload: Upload | None = None


class Fsck:
    """Looks through both stores. ``looked_at`` counts what it has looked at so far."""

    def __init__(self, sessions: SessionStore, storage: ByteStore) -> None:
        self.looked_at = 0
        self._sessions = sessions
        self._storage = storage

    async def findings(self) -> AsyncIterator[Finding]:
        """All that is wrong. Raises StoreUnavailable."""
        async for upload in self._sessions.find(Query(stored=True)):
            self.looked_at += 1
            if (what := await self._wrong(upload.id)) is not None:
                yield what
        async for upload_id in self._storage.ids():
            self.looked_at += 1
            if await self._is_stray(upload_id):
                yield Finding(what="stray", upload_id=upload_id)

    async def expect_pair(self) -> None:
        """Raises StoreUnavailable unless these two stores evidently belong together, so that nothing is deleted for a
        wrong option."""
        claimed = await self._sessions.claimed_place()
        if claimed not in (None, self._storage.place):
            raise BytesElsewhere(
                f"These sessions belong to another storage ({claimed}) than this one ({self._storage.place}): nothing "
                "was repaired."
            )
        async for _ in self._sessions.find(Query()):
            return
        raise StoreUnavailable("There is not one session: nothing was repaired, since the sessions may be elsewhere.")

    async def repair(self, finding: Finding, *, now: float) -> bool:
        """Put it right: strays are deleted, an upload whose bytes are gone is cancelled, so that its client begins
        anew. False for what cannot be put right from here. ``now``: seconds since the epoch."""
        if finding.what == "elsewhere":
            return False
        if finding.what == "stray":
            if await self._is_stray(finding.upload_id):
                await self._storage.discard(finding.upload_id)
            return True
        again = await self._wrong(finding.upload_id)
        if again is None or again.upload is None:
            return True
        with contextlib.suppress(Conflict, UploadNotFound):
            await self._sessions.swap(again.upload, _given_up(again.upload, now))
            await self._storage.discard(finding.upload_id)
            return True
        return False

    async def _wrong(self, upload_id: str) -> Finding | None:
        try:
            upload = await self._sessions.get(upload_id)
            while True:
                try:
                    await self._storage.verify(upload)
                    return None
                except BytesMissing:
                    current = await self._sessions.get(upload_id)
                    if current.version == upload.version:
                        return Finding(what="missing", upload_id=upload_id, upload=upload) if upload.stored else None
                    upload = current
        except UploadNotFound:
            return None
        except BytesElsewhere:
            return Finding(what="elsewhere", upload_id=upload_id, upload=upload)

    async def _is_stray(self, upload_id: str) -> bool:
        if await self._has_bytes(upload_id):
            return False
        # Who makes an upload along with its bytes puts these down within the transaction that stores the session, and
        # whoever else stores something waits for the end of that
        await self._sessions.pin("fsck", "stray", "", 0.0)
        return not await self._has_bytes(upload_id)

    async def _has_bytes(self, upload_id: str) -> bool:
        try:
            return (await self._sessions.get(upload_id)).stored
        except UploadNotFound:
            return False


def _given_up(upload: Upload, now: float) -> Upload:
    noted = upload.noted("bytes_missing")
    return (noted if upload.status in TOMBSTONES else noted.to(Status.CANCELLED, now=now)).emptied()
