"""The keeper tends all leases of one process: a heartbeat for each, and an ear for who contests them.

One task for all; a task group per request would turn refusals into groups of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable
from dataclasses import dataclass

from tusserver.hold import Hold
from tusserver.protocol.refusals import Refusal, StoreUnavailable, TakenOver
from tusserver.protocol.upload import Upload
from tusserver.stores.base import SessionStore

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


class Keeper:
    """``holds``: what this process holds, by upload id. ``holder`` names the process in the sessions."""

    def __init__(self, sessions: SessionStore, *, holder: str, timing: Timing) -> None:
        self.holds: dict[str, Hold] = {}
        self._sessions = sessions
        self._holder = holder
        self._timing = timing
        self._held = asyncio.Event()
        self._beats: set[asyncio.Task[None]] = set()
        self._away = False

    async def run(self) -> None:
        """Keep the leases for ever. When this is cancelled, those that are still held run out by themselves."""
        hearing = asyncio.create_task(self._hear())
        try:
            await self._keep()
        finally:
            for task in (hearing, *self._beats):
                task.cancel()
            await asyncio.gather(hearing, *self._beats, return_exceptions=True)

    def keep(self, hold: Hold) -> None:
        """Tend this one from now on."""
        self.holds[hold.upload.id] = hold
        self._held.set()

    def drop(self, hold: Hold) -> None:
        """It has been given back."""
        if self.holds.get(hold.upload.id) is hold:
            del self.holds[hold.upload.id]
        if not self.holds:
            self._held.clear()
        hold.ended.set()

    async def beat(self, hold: Hold) -> None:
        """Commit its progress and renew its lease."""
        if hold.ended.is_set() or hold.releasing:
            return
        try:
            if not hold.beating:
                hold.beating = True
                try:
                    await self._guard(hold.beat(), "committing progress")
                finally:
                    hold.beating = False
            elif not hold.renewing:  # the last beat waits for a slow disk; the lease must not run out over that
                hold.renewing = True
                try:
                    await self._guard(hold.renew(), "renewing a lease")
                finally:
                    hold.renewing = False
        except TakenOver as refusal:  # the session store or the byte store has noticed
            hold.interrupt(refusal)

    async def _keep(self) -> None:
        due: dict[Hold, float] = {}
        loop = asyncio.get_running_loop()
        while True:
            await self._held.wait()
            now = loop.time()
            due = {hold: due.get(hold, now + self._timing.beat) for hold in self.holds.values()}
            for hold, at in due.items():
                if at <= now:
                    due[hold] = now + self._timing.beat
                    self._spawn(self.beat(hold))
            await asyncio.sleep(self._timing.poll)

    async def _hear(self) -> None:
        while True:
            await self._held.wait()
            await self._guard(self._answer_contests(), "listening for contests")
            await asyncio.sleep(self._timing.beat)

    async def _answer_contests(self) -> None:
        async with contextlib.aclosing(self._sessions.contests(self._holder, self._timing.poll)) as contests:
            async for upload in contests:
                self._answers()
                if upload is not None:
                    self._answer(upload)
                else:
                    await self._held.wait()

    def _answer(self, upload: Upload) -> None:
        hold = self.holds.get(upload.id)
        if hold is None or not upload.held_by(hold.lease_id) or upload.lease is None:
            return
        if not hold.passed(upload.lease.contest or 0):
            hold.interrupt(TakenOver())
        else:
            self._spawn(self.beat(hold))

    async def _guard(self, work: Awaitable[None], what: str) -> None:
        try:
            await work
            self._answers()
        except TakenOver:
            raise
        except StoreUnavailable as refusal:
            if not self._away:  # once, not once a second for each upload
                log.warning("%s failed: %s", what, refusal.text, extra={"code": refusal.code})
            self._away = True
        except Refusal as refusal:
            log.warning("%s failed: %s", what, refusal.text, extra={"code": refusal.code})
        except Exception:
            log.exception("%s failed", what)

    def _answers(self) -> None:
        if self._away:
            self._away = False
            log.info("storage answers again")

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._beats.add(task)
        task.add_done_callback(self._beats.discard)
