"""One request's lease on one upload, as the request and the keeper of ``leases`` see it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from tusserver.protocol.refusals import Refusal, StoreUnavailable, TakenOver, UploadNotFound
from tusserver.protocol.upload import ANYWHERE, Upload
from tusserver.stores.base import Conflict, SessionStore

Change = Callable[[Upload], Upload]


class Hold:
    """One request's lease. ``upload`` is the value as this holder last stored or saw it.

    ``position`` and ``beat`` are set by whoever writes: where the next counted byte goes, and what is to be done at
    each heartbeat. ``troubled`` has the refusal, when the session store is away while the lease is to be given back.
    """

    def __init__(self, sessions: SessionStore, upload: Upload, lease_id: str) -> None:
        self.upload = upload
        self.reason: Refusal | None = None
        self.ended = asyncio.Event()
        self.beating = self.renewing = self.releasing = False
        self.troubled: asyncio.Future[StoreUnavailable] = asyncio.get_running_loop().create_future()
        self.position: Callable[[], int] = lambda: self.upload.offset
        self.beat: Callable[[], Awaitable[None]] = self.renew
        self.interrupted: Callable[[Refusal], None] = lambda _: None
        self._sessions = sessions
        self.lease_id = lease_id
        self._lock = asyncio.Lock()
        self._unsure: Upload | None = None

    def interrupt(self, reason: Refusal) -> None:
        """Ask the writer to save what it has and to end."""
        if self.reason is None:
            self.reason = reason
            self.interrupted(reason)

    def trouble(self, refusal: StoreUnavailable) -> None:
        """The session store does not answer; whoever waits need not wait longer."""
        if not self.troubled.done():
            self.troubled.set_result(refusal)

    def passed(self, offset: int) -> bool:
        """Whether somebody who wants to write from ``offset`` comes too late, so that the writer may stay."""
        return offset != ANYWHERE and self.position() > offset

    async def renew(self) -> None:
        """Renew the lease and nothing else."""
        await self.change(Upload.renewed)

    async def change(self, change: Change) -> Upload:
        """Store a change made under this lease, whatever others have stored in between (they can only contest).

        Raises TakenOver when the lease is no longer this one: nothing was stored, and nothing will be.
        """
        async with self._lock:
            if not self.upload.held_by(self.lease_id):  # given back while this waited
                raise TakenOver(upload=self.upload)
            while True:
                new = change(self.upload)
                if new == self.upload:
                    return self.upload
                try:
                    self.upload = await self._sessions.swap(self.upload, new)
                    return self.upload
                except UploadNotFound:
                    raise self._lost(None) from None
                except StoreUnavailable:
                    self._unsure = new
                    raise
                except Conflict:
                    current = await self._look()
                    if current is not None and self._is_ours(current):
                        self.upload = current
                        return current
                    self._learn(current)

    def _is_ours(self, current: Upload) -> bool:
        """Whether a swap that gave the lease back was stored although the store could not say so: anybody else who
        takes a lease away spends its token or changes the status."""
        new = self._unsure
        return (
            new is not None
            and (new.lease, current.lease) == (None, None)
            and current.version == self.upload.version + 1
            and (current.token, current.status, current.parts) == (new.token, new.status, new.parts)
        )

    def _learn(self, current: Upload | None) -> None:
        if current is None or not current.held_by(self.lease_id):
            raise self._lost(current)
        self.upload = current
        lease = current.lease
        if lease is not None and lease.contest is not None and not self.passed(lease.contest):
            self.interrupt(TakenOver())

    def _lost(self, current: Upload | None) -> TakenOver:
        reason = TakenOver(upload=current)
        self.interrupt(reason)
        return reason

    async def _look(self) -> Upload | None:
        try:
            return await self._sessions.get(self.upload.id)
        except UploadNotFound:
            return None
