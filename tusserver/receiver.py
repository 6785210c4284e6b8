"""Receive a body under a lease, and whatever follows: counting, completing, finishing, telling the application."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from tusserver.body import RequestBody
from tusserver.hold import Hold
from tusserver.hooks import NOBODY, Caller, Event, Hooks, ask, tell
from tusserver.intake import Intake
from tusserver.leases import Leases
from tusserver.metrics import Metrics
from tusserver.protocol import rules
from tusserver.protocol.commands import Append
from tusserver.protocol.headers import ALGORITHMS
from tusserver.protocol.refusals import Refusal
from tusserver.protocol.rules import Limits
from tusserver.protocol.upload import Kind, Upload
from tusserver.stores.base import ByteStore
from tusserver.stores.prompt import prompt_bytes

log = logging.getLogger("tusserver.receiver")
T = TypeVar("T")

AFTERWARDS = 5.0
"""Seconds that an answer waits for what follows completion (finishing the bytes, hooks, joining)."""


class Receiver:
    """``material`` is called when a partial upload has become complete; ``clock`` is seconds since the epoch."""

    def __init__(
        self,
        storage: ByteStore,
        leases: Leases,
        *,
        limits: Limits,
        hooks: Hooks,
        metrics: Metrics,
        clock: Callable[[], float],
    ) -> None:
        self.material: Callable[[], None] = lambda: None
        self._storage = storage
        self._prompt = prompt_bytes(storage)
        self._leases = leases
        self._limits = limits
        self._hooks = hooks
        self._metrics = metrics
        self._clock = clock
        self._work: set[asyncio.Task[Any]] = set()

    def event(self, upload: Upload, caller: Caller) -> Event:
        """What a hook is told about the upload."""
        return Event(upload=upload, caller=caller, location=self._storage.location(upload))

    async def take_in(self, hold: Hold, command: Append, body: RequestBody, caller: Caller) -> Upload:
        """Receive the body under the hold, and count what arrived however it ends. The lease is given back."""
        counts = not command.body.verified
        intake = await self.begin(hold, counts=counts, caller=caller)
        begun = intake.flushed
        ending: BaseException | None = None
        try:
            await intake.receive(body, command, ALGORITHMS)
        except BaseException as raised:
            ending = raised
        keep = ending is None or counts
        # what a disk that hangs has been given may have been counted before it is told here
        self._metrics.received(max(intake.writer.position, intake.flushed) - begun)
        why = ending.code if isinstance(ending, Refusal) else None
        settling = self.settle(intake, keep=keep, length=command.length if keep else None, caller=caller, why=why)
        upload = await self._given_back(hold, settling)
        if isinstance(ending, Refusal):
            ending.upload = upload
        if ending is not None:
            raise ending
        return upload

    async def begin(self, hold: Hold, *, counts: bool = True, caller: Caller = NOBODY) -> Intake:
        """Open the bytes of a held upload. Where that is refused, the lease is given back."""

        async def committed(upload: Upload) -> None:
            self._metrics.committed()
            await tell(self._hooks.post_receive, lambda: self.event(upload, caller))

        try:
            return await Intake.begin(
                hold, self._storage, limits=self._limits, clock=self._clock, counts=counts, committed=committed
            )
        except BaseException as raised:
            upload = await self._given_back(hold, self._leases.release(hold))
            if isinstance(raised, Refusal):
                raised.upload = upload
            raise

    async def settle(
        self,
        intake: Intake,
        *,
        keep: bool = True,
        length: int | None = None,
        caller: Caller = NOBODY,
        why: str | None = None,
    ) -> Upload:
        """Bytes durable, then the offset (and a declared length), then the lease given back; then what completion
        brings. With ``keep`` false nothing that arrived counts. ``why``: what ended it before the body did."""
        hold = intake.hold
        failure = await intake.settle(keep=keep)
        offset = intake.flushed if keep else hold.upload.offset

        def count(current: Upload) -> Upload:
            return rules.counted(current, offset, limits=self._limits, now=self._clock(), length=length)

        try:
            if count(hold.upload).completed and hold.upload.kind is not Kind.PARTIAL:
                await ask(self._hooks.pre_finish, lambda: self.event(hold.upload, caller))
        except Refusal as refusal:
            refusal.upload = await self._leases.release(hold, why=refusal.code)
            raise
        upload = await self._leases.release(hold, count, why=why)
        await intake.committed(upload)
        if upload.completed:
            await self.follow_up(upload, caller)
        if failure is not None:
            failure.upload = upload
            raise failure
        return upload

    async def counted(self, upload: Upload, size: int, caller: Caller, *, finished: bool) -> None:
        """So many bytes of the upload have been received and counted without a hold; what that brings. ``finished``:
        its bytes are, already."""
        self._metrics.received(size)
        self._metrics.committed()
        await tell(self._hooks.post_receive, lambda: self.event(upload, caller))
        if upload.completed:
            await self.follow_up(upload, caller, finished=finished)

    async def follow_up(self, upload: Upload, caller: Caller, *, finished: bool = False) -> None:
        """What a completed upload brings. ``finished``: its bytes are, already."""
        self._metrics.finished()
        if self._hooks.post_finish is None and (finished or self._finished_at_once(upload)):
            if upload.kind is Kind.PARTIAL:
                self.material()
        else:
            await self.afterwards(self._finish(upload, caller))

    async def see_through(self, work: Coroutine[Any, Any, T]) -> T:
        """Do it to its end, even if the request is cancelled meanwhile."""
        return await asyncio.shield(self._task(work))

    async def _given_back(self, hold: Hold, work: Coroutine[Any, Any, T]) -> T:
        """Do it to its end, even if the request is cancelled meanwhile or the session store is away: the request then
        hears so at once, and what is durable is counted later. Raises StoreUnavailable."""
        task = self._task(work)
        await asyncio.wait((task, hold.troubled), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise hold.troubled.result()

    async def afterwards(self, work: Coroutine[Any, Any, None]) -> None:
        """Do it, and let the answer wait for it for a while only."""
        await asyncio.wait({self._task(work)}, timeout=AFTERWARDS)

    async def stop(self) -> None:
        """Wait, for a while, for what goes on behind the answers; what then still waits for a store is given up."""
        if self._work:
            _, left = await asyncio.wait(self._work, timeout=AFTERWARDS)
            for task in left:
                task.cancel()

    def _finished_at_once(self, upload: Upload) -> bool:
        """Where that fails, it is tried again as ever, which tells why."""
        try:
            return self._prompt is not None and self._prompt.finish_at_once(upload)
        except Refusal:
            return False

    async def _finish(self, upload: Upload, caller: Caller) -> None:
        try:
            await self._storage.finish(upload)
        except Refusal as refusal:
            log.warning("bytes left in parts: %s", refusal.text, extra={"upload": upload.id})
        if upload.kind is Kind.PARTIAL:  # material, not a thing of its own: CONC-03
            self.material()
        else:
            await tell(self._hooks.post_finish, lambda: self.event(upload, caller))

    def _task(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work)
        self._work.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._work.discard(task)
        if not task.cancelled():
            task.exception()  # seen, also where the request that would have told it has gone
