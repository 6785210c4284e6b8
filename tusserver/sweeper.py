"""Expire idle uploads, delete their bytes, forget tombstones, and finish what a dead process left unfinished.

Any number of sweepers may run at once, in every process and from a CLI command, with no leader: each step is claimed
by a compare-and-set or is harmless when repeated. A sweeper that dies in between leaves work that the next one finds.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

from tusserver.protocol.refusals import BytesElsewhere, Refusal, UploadNotFound
from tusserver.protocol.upload import TOMBSTONES, Status, Upload
from tusserver.stores.base import ByteStore, Conflict, Query, SessionStore

log = logging.getLogger("tusserver.sweeper")

MORTAL = frozenset({Status.ACTIVE, Status.COMPLETED})


async def erase(upload: Upload, sessions: SessionStore, storage: ByteStore) -> bool:
    """Delete the bytes of a tombstone and note that they are gone. False when the byte store would not, or the bytes
    are in another place: a sweeper tries again."""
    try:
        await storage.delete(upload)
        with contextlib.suppress(Conflict, UploadNotFound):
            await sessions.swap(upload, upload.emptied())
    except BytesElsewhere:  # left to a server that has them
        return False
    except Refusal as refusal:
        log.warning("bytes not deleted yet: %s", refusal.text, extra={"upload": upload.id, "code": refusal.code})
        return False
    return True


@dataclass(kw_only=True, slots=True)
class Swept:
    """What one sweep did: uploads ``expired`` (they held so many ``bytes``), tombstones whose bytes had been left and
    were ``erased``, tombstones ``forgotten``, and complete uploads whose bytes were ``finished``."""

    expired: int = 0
    bytes: int = 0
    erased: int = 0
    forgotten: int = 0
    finished: int = 0


class Sweeper:
    """``forget_after``: seconds that a tombstone stays (a client is told 410 that long). ``every``: seconds between
    two sweeps of ``run``. ``expired`` is called for each upload that was expired."""

    def __init__(
        self,
        sessions: SessionStore,
        storage: ByteStore,
        *,
        forget_after: float,
        every: float = 60.0,
        clock: Callable[[], float] = time.time,
        expired: Callable[[], None] = lambda: None,
    ) -> None:
        self._sessions = sessions
        self._storage = storage
        self._forget_after = forget_after
        self._every = every
        self._clock = clock
        self._expired = expired

    async def run(self) -> None:
        """Sweep for ever, at intervals that differ from process to process."""
        while True:
            await asyncio.sleep(self._every * random.uniform(0.8, 1.2))
            try:
                swept = await self.sweep()
            except Refusal as refusal:
                log.warning("sweep failed: %s", refusal.text, extra={"code": refusal.code})
            except Exception:
                log.exception("sweep failed")
            else:
                if swept != Swept():
                    log.info("swept", extra=asdict(swept))

    async def sweep(self) -> Swept:
        """One pass over what is due. Raises StoreUnavailable."""
        now = self._clock()
        swept = Swept()
        async for upload in self._sessions.find(Query(statuses=MORTAL, expires_before=now)):
            await self._expire(upload, now, swept)
        async for upload in self._sessions.find(Query(statuses=TOMBSTONES, stored=True)):
            swept.erased += await erase(upload, self._sessions, self._storage)
        async for upload in self._sessions.find(Query(statuses=TOMBSTONES, ended_before=now - self._forget_after)):
            if not upload.stored:
                await self._sessions.delete(upload.id)
                swept.forgotten += 1
        async for upload_id in self._storage.unfinished():
            await self._settle(upload_id, swept)
        return swept

    async def _settle(self, upload_id: str, swept: Swept) -> None:
        """What a killed process left behind its last commit; bytes of an upload that is not known here are not ours
        to judge."""
        try:
            upload = await self._sessions.get(upload_id)
        except UploadNotFound:
            return
        if upload.status in TOMBSTONES:
            swept.erased += await erase(upload, self._sessions, self._storage)
        elif upload.status is Status.COMPLETED:
            try:
                await self._storage.finish(upload)
                swept.finished += 1
            except Refusal as refusal:  # one that is damaged must not keep the others waiting
                log.error("bytes left in parts: %s", refusal.text, extra={"upload": upload_id, "code": refusal.code})

    async def _expire(self, upload: Upload, now: float, swept: Swept) -> None:
        if upload.leased:
            return
        try:
            tombstone = await self._sessions.swap(upload, upload.to(Status.EXPIRED, now=now))
        except (Conflict, UploadNotFound):
            return
        swept.expired += 1
        swept.bytes += upload.offset
        self._expired()
        await erase(tombstone, self._sessions, self._storage)
