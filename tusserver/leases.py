"""One writer per upload, across processes: acquire, contest, fence, and the heartbeat.

* Whoever wants an upload that is being written contests the lease. The holder sees it (at once in its own process,
  within ``poll`` seconds elsewhere), saves what it has, and releases.
* A contested lease is not renewed: a holder that does not answer is fenced when the lease runs out.
* Safety does not rest on time: every commit is a compare-and-set, and a fenced holder's token is spent.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Iterator

from tusserver.hold import Change, Hold
from tusserver.keeper import Keeper, Timing
from tusserver.protocol.refusals import Refusal, StoreUnavailable, TakenOver, UploadBusy
from tusserver.protocol.rules import Want
from tusserver.protocol.upload import ANYWHERE, Lease, Upload
from tusserver.stores.base import Conflict, SessionStore


class Leases:
    """The leases of one process. ``holder`` names the process in the sessions, and is never used twice.
    ``preempted`` is called when an upload was taken over from a holder that ``saved`` or had to be ``fenced``."""

    def __init__(
        self,
        sessions: SessionStore,
        *,
        holder: str,
        timing: Timing,
        preempted: Callable[[str], None] = lambda how: None,
    ) -> None:
        self.timing = timing
        self._preempted = preempted
        self._ending: Callable[[], Refusal] | None = None
        self._sessions = sessions
        self._holder = holder
        self._keeper = Keeper(sessions, holder=holder, timing=timing)
        self._holds = self._keeper.holds

    async def run(self) -> None:
        """Keep the leases for ever. When this is cancelled, those that are still held run out by themselves."""
        await self._keeper.run()

    def interrupt(self, reason: Callable[[], Refusal]) -> list[Hold]:
        """Ask every writer of this process to end, and whoever waits for a lease to give up; returns what is held, to
        wait for."""
        self._ending = reason
        holds = list(self._holds.values())
        for hold in holds:
            hold.interrupt(reason())
        return holds

    def held(self) -> list[str]:
        """The ids of the uploads that are held here, those that were taken last at the end."""
        return list(self._holds)

    async def drain(self, reason: Callable[[], Refusal], seconds: float) -> None:
        """Ask them to end, and wait so long until they have. One whose store does not answer by then is told that it
        need not wait; its lease runs out."""
        holds = self.interrupt(reason)
        try:
            async with asyncio.timeout(seconds):
                await asyncio.gather(*(hold.ended.wait() for hold in holds))
        except TimeoutError:
            for hold in holds:
                hold.trouble(StoreUnavailable())

    @property
    def awaited(self) -> int:
        """Bytes that the uploads held here are still to receive, where their lengths are known."""
        return sum(hold.upload.remaining or 0 for hold in self._holds.values())

    async def create(self, upload: Upload) -> Hold:
        """Store a new upload with its lease already taken. Raises Conflict when the id is taken."""
        lease_id = _lease_id()
        return self._hold(await self._sessions.create(self._acquired(upload, lease_id)), lease_id)

    async def take(self, upload_id: str, want: Want | None) -> Hold | Upload:
        """The lease of the upload, if that meets ``want``; otherwise the upload as it is, to be looked at."""
        if want is None:
            return await self._sessions.get(upload_id)
        lease = Lease(id=_lease_id(), holder=self._holder, ttl=self.timing.ttl)
        upload = await self._sessions.take(upload_id, want, lease)
        return self._hold(upload, lease.id) if upload.held_by(lease.id) else upload

    async def acquire(self, upload: Upload, check: Change, *, wants: int) -> Hold:
        """The lease of the upload, for writing from ``wants``, once its present holder has ended.

        ``check`` is asked of each newer value before anything is done to it; it may raise a refusal. Raises
        UploadBusy when the holder does not end within the patience.
        """
        deadline = _now() + self.timing.patience
        pauses = self._pauses()
        while True:
            check(upload)
            if upload.leased or self._settling(upload):
                upload = await self._preempt(upload, wants, deadline, next(pauses))
                continue
            lease_id = _lease_id()
            try:
                stored = await self._sessions.swap(upload, self._acquired(upload, lease_id))
            except Conflict:
                upload = await self._sessions.get(upload.id)
                continue
            if upload.lease is not None:
                self._preempted("fenced")
            return self._hold(stored, lease_id)

    async def quiet(self, upload: Upload) -> Upload:
        """The upload once nobody writes to it: its holder has saved and ended, or has been fenced.

        Raises UploadBusy when the holder does not end within the patience.
        """
        deadline = _now() + self.timing.patience
        pauses = self._pauses()
        while upload.lease is not None:
            if upload.leased or self._settling(upload):
                upload = await self._preempt(upload, ANYWHERE, deadline, next(pauses))
                continue
            try:
                upload = await self._sessions.swap(upload, upload.fenced())
                self._preempted("fenced")
            except Conflict:
                upload = await self._sessions.get(upload.id)
        return upload

    async def release(self, hold: Hold, change: Change = lambda upload: upload, *, why: str | None = None) -> Upload:
        """Store a last change and give the lease back in the same swap. Only once the writer is closed. ``why``: what
        ended the writer before the body did.

        While the session store is away this goes on trying (and sets ``hold.troubled``): what is durable is counted
        when the store is back, unless somebody has taken the upload over.
        """
        hold.releasing = True
        try:
            while True:
                try:
                    return await hold.change(lambda upload: change(upload).released(why))
                except StoreUnavailable as refusal:
                    hold.trouble(refusal)
                    await asyncio.sleep(self.timing.beat)
        finally:
            self._keeper.drop(hold)

    async def _preempt(self, upload: Upload, wants: int, deadline: float, pause: float) -> Upload:
        if self._ending is not None:
            raise self._ending()
        if _now() >= deadline:
            raise UploadBusy(upload=upload, retry_after=1)
        hold = self._holds.get(upload.id)
        if hold is not None and upload.held_by(hold.lease_id):
            await self._preempt_here(hold, wants, deadline)
        else:
            await self._preempt_there(upload, wants, min(pause, max(0.0, deadline - _now())))
        return await self._sessions.get(upload.id)

    async def _preempt_here(self, hold: Hold, wants: int, deadline: float) -> None:
        if hold.passed(wants):  # it comes too late: what has passed is counted, so that it is told how far
            await self._keeper.beat(hold)
            await asyncio.sleep(min(self.timing.poll, max(0.0, deadline - _now())))
            return
        hold.interrupt(TakenOver())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, deadline - _now())):
                await hold.ended.wait()
                self._preempted("saved")

    async def _preempt_there(self, upload: Upload, wants: int, pause: float) -> None:
        lease = upload.lease
        if lease is not None and lease.contest not in (wants, ANYWHERE):
            with contextlib.suppress(Conflict):
                await self._sessions.swap(upload, upload.contested(wants))
                return
        await asyncio.sleep(pause)

    def _settling(self, upload: Upload) -> bool:
        """Whether this process has bytes of it that only wait to be counted, though the lease has run out meanwhile."""
        hold = self._holds.get(upload.id)
        return hold is not None and hold.releasing and upload.held_by(hold.lease_id)

    def _pauses(self) -> Iterator[float]:
        """Seconds between looks at a contested lease: a holder that is well answers within milliseconds."""
        pause = self.timing.poll / 8
        while True:
            yield min(pause, self.timing.poll)
            pause *= 1.5

    def _acquired(self, upload: Upload, lease_id: str) -> Upload:
        return upload.acquired(lease_id=lease_id, holder=self._holder, ttl=self.timing.ttl)

    def _hold(self, stored: Upload, lease_id: str) -> Hold:
        hold = Hold(self._sessions, stored, lease_id)
        self._keeper.keep(hold)
        return hold


async def unlocked(sessions: SessionStore, upload_id: str) -> Upload:
    """Take the lease of the upload from whoever has it, as an operator may; the upload as it was before.

    Nothing is lost that was counted: the former holder can write no more. Raises UploadNotFound.
    """
    while True:
        upload = await sessions.get(upload_id)
        if upload.lease is None:
            return upload
        with contextlib.suppress(Conflict):
            await sessions.swap(upload, upload.fenced("unlocked"))
            return upload


def _lease_id() -> str:
    return secrets.token_hex(8)


def _now() -> float:
    return asyncio.get_running_loop().time()
