"""Do all processes of this deployment keep their bytes in one place? One that does not would start uploads anew that
others have begun: it is found out, and refuses instead."""

from __future__ import annotations

import logging

from tusserver.protocol.refusals import BytesElsewhere, StoreUnavailable
from tusserver.protocol.upload import Upload
from tusserver.stores.base import ByteStore, SessionStore, check_place

log = logging.getLogger("tusserver.place")


class Place:
    """Where this process keeps bytes. ``claimed``: it is known to be where the others keep theirs."""

    def __init__(self, sessions: SessionStore, storage: ByteStore) -> None:
        self.claimed = False
        self._sessions = sessions
        self._storage = storage

    @property
    def here(self) -> str | None:
        """Which place that is; None until it is claimed."""
        return self._storage.place if self.claimed else None

    async def look(self) -> None:
        """Claim it, and log why not."""
        try:
            await self.claim()
        except StoreUnavailable as refusal:
            log.error("not ready: %s", refusal.text, extra={"code": refusal.code})

    async def claim(self) -> None:
        """Raises BytesElsewhere when this deployment keeps its bytes in another place than this process would."""
        self.claimed = False
        claimed = await self._sessions.claim_place(self._storage.place)
        if claimed != self._storage.place:
            raise BytesElsewhere(
                f"This server's storage (its identity is {self._storage.place}) is not the one that the other servers "
                f"use ({claimed}): mount the same volume, or run tusserver doctor --adopt-storage here if theirs is "
                "no longer used."
            )
        self.claimed = True

    def reachable(self, upload: Upload) -> Upload:
        """The upload, if its bytes are in the place that this process has. Raises BytesElsewhere."""
        try:
            check_place(upload, self._storage.place)
        except BytesElsewhere as refusal:
            log.error("%s (here: %s)", refusal.text, self._storage.place, extra={"upload": upload.id})
            raise
        return upload
