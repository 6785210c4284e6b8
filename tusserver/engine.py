"""The engine carries out commands against the stores. It has never heard of a header or of a status code."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from tusserver.assembly import Assembler, final_id
from tusserver.bodies import Bodies
from tusserver.body import RequestBody
from tusserver.hold import Hold
from tusserver.hooks import NOBODY, Caller, Hooks, answer, ask, tell
from tusserver.keeper import Timing
from tusserver.leases import Leases
from tusserver.metrics import Metrics
from tusserver.place import Place
from tusserver.prompt import Prompt
from tusserver.protocol import rules
from tusserver.protocol.commands import Append, Appended, Create, Created, Inspect, Inspected, Terminate, Terminated
from tusserver.protocol.refusals import BadChecksum, ChecksumMismatch, LengthExceeded, ShuttingDown, TooLarge
from tusserver.protocol.rules import Limits
from tusserver.protocol.upload import TOMBSTONES, Concat, Kind, Status, Upload
from tusserver.receiver import Receiver
from tusserver.room import Room
from tusserver.stores.base import ByteStore, Conflict, SessionStore
from tusserver.sweeper import erase

log = logging.getLogger("tusserver.engine")


class _Complete(Exception):
    """The upload was complete before the request could write."""

    def __init__(self, upload: Upload) -> None:
        self.upload = upload


class Engine:
    """Uploads, carried out. One engine per process and event loop. ``heard``: whether some hook is told who asks.

    ``holder`` names this process in the sessions. ``max_bodies`` bounds the bodies received at once. ``clock`` is
    seconds since the epoch. ``made`` is told of new uploads and their clients. Every command may raise any Refusal.
    """

    def __init__(
        self,
        sessions: SessionStore,
        storage: ByteStore,
        *,
        holder: str,
        limits: Limits,
        timing: Timing,
        hooks: Hooks,
        metrics: Metrics,
        max_bodies: int = 1000,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.sessions = sessions
        self.storage = storage
        self.holder = holder
        self.made: Callable[[str, str], None] = lambda upload_id, client: None
        self.draining = False
        self.heard = hooks != Hooks()
        self._limits = limits
        self._hooks = hooks
        self._metrics = metrics
        self._clock = clock
        self._bodies = Bodies(max_bodies, metrics)
        self.place = Place(sessions, storage)
        self._leases = Leases(sessions, holder=holder, timing=timing, preempted=metrics.preempted)
        self.receiving = self._leases.held
        self._room = Room(storage, lambda: self._leases.awaited)
        self._receiver = Receiver(storage, self._leases, limits=limits, hooks=hooks, metrics=metrics, clock=clock)
        prompt = Prompt.over(sessions, storage, holder=holder, limits=limits, clock=clock)
        self._prompt = prompt if hooks.pre_finish is None else None  # who asks a hook in between cannot be prompt
        self._assembler = Assembler(sessions, self._leases, self._receiver, clock=clock)
        self._receiver.material = self._assembler.nudge
        self._services: list[asyncio.Task[None]] = []

    # Living and ending

    async def start(self) -> None:
        """Start the stores and what runs beside the requests. Raises StoreUnavailable."""
        await self.sessions.start()
        await self.storage.start()
        services = (self._leases.run(), self._assembler.run(), self.place.look())
        self._services = [asyncio.create_task(service) for service in services]

    async def drain(self, seconds: float = 5.0) -> None:
        """Take no more work; every writer saves what arrived, gives its lease back and refuses with ShuttingDown."""
        self.draining = True
        await self._leases.drain(ShuttingDown, seconds)

    async def stop(self) -> None:
        """Drain, finish what goes on behind the answers, and close the stores."""
        await self.drain()
        for service in self._services:
            service.cancel()
        await asyncio.gather(*self._services, return_exceptions=True)
        await self._receiver.stop()
        await self.storage.close()
        await self.sessions.close()

    async def ping(self) -> None:
        """Return when requests can be served. Raises ShuttingDown or StoreUnavailable with the reason."""
        self._refuse_when_draining()
        await self.sessions.ping()
        await self.storage.ping()
        await self.place.claim()

    # Commands

    async def create(self, command: Create, body: RequestBody, caller: Caller = NOBODY) -> Created:
        """Make an upload, and take in the body that came along."""
        self._refuse_when_draining()
        if not self.place.claimed:
            await self.place.claim()
        if command.concat is not None and command.concat.kind is Kind.FINAL:
            return Created(upload=await self._create_final(command, command.concat, caller))
        upload = rules.created(command, upload_id=secrets.token_hex(16), limits=self._limits, now=self._clock())
        upload = upload.placed(self.storage.place)
        upload = await self._as_allowed(upload, caller)
        await self._room.check(upload.length or 0)
        if command.body is not None and command.body.size != 0 and not upload.completed:
            append = Append(upload_id=upload.id, offset=0, body=command.body)
            made = await self._to_its_end(self._create_at_once(upload, append, body, caller))
            if made is None:
                return await self._create_with(upload, append, body, caller)
            return Created(upload=made, received=True)
        if command.body is not None:
            await body.expect_nothing()
        upload = await self.sessions.create(upload)
        await self._note_creation(upload, caller)
        if upload.completed:
            await self._receiver.follow_up(upload, caller)
        return Created(upload=upload, received=command.body is not None)

    async def append(self, command: Append, body: RequestBody, caller: Caller = NOBODY) -> Appended:
        """Add the body at the command's offset, once whoever writes now has ended."""
        self._refuse_when_draining()
        upload = await self.find(command.upload_id, caller) if self._hooks.authorize is not None else None
        counted = await self._to_its_end(self._append_at_once(command, body, caller))
        if counted is not None:
            return Appended(upload=counted)
        if upload is None and self._bodies.full:
            upload = await self.find(command.upload_id)
        with self._bodies.one_more(upload):
            try:
                hold = await self._held(command, upload)
            except _Complete as found:  # AMB-13
                await body.expect_nothing(found.upload)
                return Appended(upload=found.upload)
            return Appended(upload=await self._receiver.take_in(hold, command, body, caller))

    async def inspect(self, command: Inspect, caller: Caller = NOBODY) -> Inspected:
        """The upload, once whoever writes now has saved and ended: its offset is one to go on from (AMB-22)."""
        upload = await self.find(command.upload_id, caller)
        if upload.lease is not None or upload.kind is Kind.FINAL:
            upload = rules.alive(await self._settled(upload), self._clock())
        return Inspected(upload=upload)

    async def terminate(self, command: Terminate, caller: Caller = NOBODY) -> Terminated:
        """Give the upload up: whoever writes now ends, and the bytes are deleted."""
        upload = await self.find(command.upload_id, caller)
        await ask(self._hooks.pre_terminate, lambda: self._receiver.event(upload, caller))
        return Terminated(upload=await self._terminated(upload, caller))

    async def cancel(self, upload_id: str) -> Upload:
        """Give the upload up as an operator may: no hook is asked, and post_terminate is told."""
        return await self._terminated(await self.sessions.get(upload_id), NOBODY)

    async def find(self, upload_id: str, caller: Caller = NOBODY) -> Upload:
        """The upload as it is, if it is there and the application lets the caller have it; nobody is disturbed."""
        upload = rules.alive(await self.sessions.get(upload_id), self._clock())
        await ask(self._hooks.authorize, lambda: self._receiver.event(upload, caller))
        return upload

    # What the commands are made of

    async def _append_at_once(self, command: Append, body: RequestBody, caller: Caller) -> Upload | None:
        if self._prompt is None or self._bodies.full:
            return None
        counted = await self._prompt.append(command, body)
        if counted is None:
            return None
        upload, finished = counted
        await self._receiver.counted(upload, upload.offset - command.offset, caller, finished=finished)
        return upload

    async def _create_at_once(self, upload: Upload, append: Append, body: RequestBody, caller: Caller) -> Upload | None:
        """Not where a hook wants to hear of an upload before its bytes are there."""
        if self._prompt is None or self._hooks.post_create is not None or self._bodies.full:
            return None
        counted = await self._prompt.create(upload, append, body)
        if counted is None:
            return None
        made, finished = counted
        self.made(made.id, caller.client)
        self._metrics.created()
        await self._receiver.counted(made, made.offset, caller, finished=finished)
        return made

    async def _held(self, command: Append, upload: Upload | None) -> Hold:
        """The lease for the command, once whoever writes now has ended. ``upload``: as it is, where that is known."""
        if upload is None:
            want = rules.wanted(command, place=self.place.here, limits=self._limits, now=self._clock())
            found = await self._leases.take(command.upload_id, want)
            if isinstance(found, Hold):
                return found
            upload = found

        def check(current: Upload) -> Upload:
            current = rules.appendable(current, command, limits=self._limits, now=self._clock())
            if current.completed:
                raise _Complete(current)
            return self.place.reachable(current)

        return await self._leases.acquire(upload, check, wants=command.offset)

    def _to_its_end(self, work: Coroutine[Any, Any, Upload | None]) -> Awaitable[Upload | None]:
        """Hooks hear of what has been stored, even if the request is cancelled right then."""
        return self._receiver.see_through(work) if self.heard else work

    async def _settled(self, upload: Upload) -> Upload:
        if upload.kind is not Kind.FINAL:
            return await self._leases.quiet(upload)
        with contextlib.suppress(Conflict):
            upload = await self._assembler.measured(upload)
        return upload

    async def _create_with(self, upload: Upload, append: Append, body: RequestBody, caller: Caller) -> Created:
        with self._bodies.one_more():
            hold = await self._leases.create(upload)
            await self._note_creation(hold.upload, caller)
            try:
                return Created(upload=await self._receiver.take_in(hold, append, body, caller), received=True)
            except (LengthExceeded, TooLarge, ChecksumMismatch, BadChecksum) as refusal:  # CWU-11, CWU-12
                await self._cancel(hold.upload)
                refusal.upload = None
                raise

    async def _create_final(self, command: Create, concat: Concat, caller: Caller) -> Upload:
        partials = await self._assembler.partials(concat.parts)
        draft = rules.joined(command, concat, partials, upload_id="", limits=self._limits, now=self._clock())
        draft = await self._as_allowed(draft.placed(self.storage.place), caller)
        for attempt in itertools.count():
            upload_id = final_id(concat.parts, draft.metadata, draft.owner, attempt)
            try:
                upload = await self.sessions.create(draft.named(upload_id))
            except Conflict:
                upload = await self.sessions.get(upload_id)
                if upload.status in TOMBSTONES:
                    continue
                return upload
            await self._note_creation(upload, caller)
            await self._receiver.afterwards(self._assembler.join(upload))
            return await self.sessions.get(upload_id)
        raise AssertionError("unreachable")

    async def _as_allowed(self, draft: Upload, caller: Caller) -> Upload:
        if self._hooks.pre_create is None:
            return draft
        change = await answer(self._hooks.pre_create, self._receiver.event(draft, caller))
        return draft if change is None else change.applied_to(draft)

    async def _note_creation(self, upload: Upload, caller: Caller) -> None:
        self.made(upload.id, caller.client)
        self._metrics.created()
        await tell(self._hooks.post_create, lambda: self._receiver.event(upload, caller))

    async def _terminated(self, upload: Upload, caller: Caller) -> Upload:
        upload = await self._cancel(upload)
        self._metrics.terminated()
        await tell(self._hooks.post_terminate, lambda: self._receiver.event(upload, caller))
        return upload

    async def _cancel(self, upload: Upload) -> Upload:
        while True:
            upload = rules.alive(await self._leases.quiet(upload), self._clock())
            try:
                upload = await self.sessions.swap(upload, upload.to(Status.CANCELLED, now=self._clock()))
                break
            except Conflict:
                upload = await self.sessions.get(upload.id)
        await self._receiver.see_through(erase(upload, self.sessions, self.storage))
        return upload

    def _refuse_when_draining(self) -> None:
        if self.draining:
            raise ShuttingDown
