"""One writer per upload, across processes: acquire, contest, fence, and the heartbeat.

* Whoever wants an upload that is being written contests the lease. The holder sees it (at once in its own process,
  within ``poll`` seconds elsewhere), saves what it has, and releases.
* A contested lease is not renewed: a holder that does not answer is fenced when the lease runs out.
* Safety does not rest on time: every commit is a compare-and-set, and a fenced holder's token is spent.
* One keeper task per process tends all leases; a task group per request would turn refusals into groups of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tusserver.hold import Change, Hold
from tusserver.protocol.refusals import Refusal, TakenOver, UploadBusy
from tusserver.protocol.upload import ANYWHERE, Upload
from tusserver.stores.base import Conflict, Query, SessionStore

log = logging.getLogger("tusserver.leases")


@dataclass(frozen=True, kw_only=True, slots=True)
class Timing:
    """Seconds. ``ttl``: how long a lease lasts without renewal. ``beat``: between two renewals of a lease, each of
    which commits the progress. ``poll``: between two looks for contests, and at a contested lease. ``patience``: how
    long a request waits for the present holder."""

    ttl: float = 3.0
    beat: float = 1.0
    poll: float = 0.05
    patience: float = 10.0


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
        self._sessions = sessions
        self._holder = holder
        self._holds: dict[str, Hold] = {}
        self._held = asyncio.Event()
        self._beats: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Keep the leases for ever. When this is cancelled, those that are still held run out by themselves."""
        try:
            await self._keep()
        finally:
            for beat in self._beats:
                beat.cancel()
            await asyncio.gather(*self._beats, return_exceptions=True)

    def interrupt(self, reason: Callable[[], Refusal]) -> list[Hold]:
        """Ask every writer of this process to end; returns what they hold, to wait for."""
        holds = list(self._holds.values())
        for hold in holds:
            hold.interrupt(reason())
        return holds

    @property
    def awaited(self) -> int:
        """Bytes that the uploads held here are still to receive, where their lengths are known."""
        return sum(hold.upload.remaining or 0 for hold in self._holds.values())

    async def create(self, upload: Upload) -> Hold:
        """Store a new upload with its lease already taken. Raises Conflict when the id is taken."""
        lease_id = _lease_id()
        return self._hold(await self._sessions.create(self._acquired(upload, lease_id)), lease_id)

    async def acquire(self, upload: Upload, check: Change, *, wants: int) -> Hold:
        """The lease of the upload, for writing from ``wants``, once its present holder has ended.

        ``check`` is asked of each newer value before anything is done to it; it may raise a refusal. Raises
        UploadBusy when the holder does not end within the patience.
        """
        deadline = _now() + self.timing.patience
        while True:
            check(upload)
            if upload.leased:
                upload = await self._preempt(upload, wants, deadline)
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
        while upload.lease is not None:
            if upload.leased:
                upload = await self._preempt(upload, ANYWHERE, deadline)
                continue
            try:
                upload = await self._sessions.swap(upload, upload.fenced())
                self._preempted("fenced")
            except Conflict:
                upload = await self._sessions.get(upload.id)
        return upload

    async def release(self, hold: Hold, change: Change = lambda upload: upload) -> Upload:
        """Store a last change and give the lease back in the same swap. Only once the writer is closed."""
        try:
            return await hold.change(lambda upload: change(upload).released())
        finally:
            self._drop(hold)

    async def _preempt(self, upload: Upload, wants: int, deadline: float) -> Upload:
        if _now() >= deadline:
            raise UploadBusy(upload=upload, retry_after=1)
        hold = self._holds.get(upload.id)
        if hold is not None and upload.held_by(hold.lease_id):
            await self._preempt_here(hold, wants, deadline)
        else:
            await self._preempt_there(upload, wants, deadline)
        return await self._sessions.get(upload.id)

    async def _preempt_here(self, hold: Hold, wants: int, deadline: float) -> None:
        if hold.passed(wants):  # it comes too late: what has passed is counted, so that it is told how far
            await self._beat(hold)
            await asyncio.sleep(min(self.timing.poll, max(0.0, deadline - _now())))
            return
        hold.interrupt(TakenOver())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, deadline - _now())):
                await hold.ended.wait()
                self._preempted("saved")

    async def _preempt_there(self, upload: Upload, wants: int, deadline: float) -> None:
        lease = upload.lease
        if lease is not None and lease.contest not in (wants, ANYWHERE):
            with contextlib.suppress(Conflict):
                await self._sessions.swap(upload, upload.contested(wants))
                return
        await asyncio.sleep(min(self.timing.poll, max(0.0, deadline - _now())))

    def _acquired(self, upload: Upload, lease_id: str) -> Upload:
        return upload.acquired(lease_id=lease_id, holder=self._holder, ttl=self.timing.ttl)

    def _hold(self, stored: Upload, lease_id: str) -> Hold:
        hold = Hold(self._sessions, stored, lease_id)
        self._holds[stored.id] = hold
        self._held.set()
        return hold

    def _drop(self, hold: Hold) -> None:
        if self._holds.get(hold.upload.id) is hold:
            del self._holds[hold.upload.id]
        if not self._holds:
            self._held.clear()
        hold.ended.set()

    # The keeper

    async def _keep(self) -> None:
        due: dict[Hold, float] = {}
        while True:
            await self._held.wait()
            now = _now()
            due = {hold: due.get(hold, now + self.timing.beat) for hold in self._holds.values()}
            for hold, at in due.items():
                if at <= now:
                    due[hold] = now + self.timing.beat
                    self._spawn(self._beat(hold))
            await self._guard(self._answer_contests(), "looking for contests")
            await asyncio.sleep(self.timing.poll)

    async def _answer_contests(self) -> None:
        async for upload in self._sessions.find(Query(holder=self._holder, contested=True)):
            hold = self._holds.get(upload.id)
            if hold is None or not upload.held_by(hold.lease_id) or upload.lease is None:
                continue
            if not hold.passed(upload.lease.contest or 0):
                hold.interrupt(TakenOver())
            else:
                self._spawn(self._beat(hold))

    async def _beat(self, hold: Hold) -> None:
        if hold.ended.is_set():
            return
        with contextlib.suppress(TakenOver):  # its writer hears of that, or has ended by itself
            if hold.beating:  # the last one still waits for a slow disk; the lease must not run out over that
                return await self._guard(hold.renew(), "renewing a lease")
            hold.beating = True
            try:
                await self._guard(hold.beat(), "committing progress")
            finally:
                hold.beating = False

    async def _guard(self, work: Awaitable[None], what: str) -> None:
        try:
            await work
        except TakenOver:
            raise
        except Refusal as refusal:
            log.warning("%s failed: %s", what, refusal.text, extra={"code": refusal.code})
        except Exception:
            log.exception("%s failed", what)

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._beats.add(task)
        task.add_done_callback(self._beats.discard)


def _lease_id() -> str:
    return secrets.token_hex(8)


def _now() -> float:
    return asyncio.get_running_loop().time()
