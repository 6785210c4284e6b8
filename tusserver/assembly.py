"""Final uploads: joined from their partial uploads as soon as all of these are complete (tus 1.0.0, Concatenation).

A final upload is an ACTIVE upload that nobody sends bytes to. Whichever process sees first that its partial uploads
are complete takes its lease and lets the byte store copy them, committing its progress like any other writer; when
it dies, another goes on from there.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import AsyncIterator, Callable, Sequence

from tusserver.intake import Intake
from tusserver.leases import Leases
from tusserver.protocol import rules
from tusserver.protocol.refusals import HookRefused, Refusal, UploadBusy, UploadNotFound
from tusserver.protocol.upload import ANYWHERE, Kind, Status, Upload
from tusserver.receiver import Receiver
from tusserver.stores.base import Conflict, Query, SessionStore

log = logging.getLogger("tusserver.assembly")

STEP = 256 * 1024 * 1024
EVERY = 1.0
PAUSE = 30.0


def final_id(partials: Sequence[str], metadata: str | None, owner: str | None, attempt: int) -> str:
    """The id of the final upload over these partial uploads: the same request gives the same id, so that repeating
    it copies nothing twice. As hard to guess as the ids of the partial uploads are."""
    said = "\n".join(["final", *partials, metadata or "", owner or "", str(attempt)])
    return hashlib.sha256(said.encode()).hexdigest()[:32]


class Assembler:
    """Joins what can be joined, at each nudge and each second.

    ``clock`` is seconds since the epoch.
    """

    def __init__(
        self, sessions: SessionStore, leases: Leases, receiver: Receiver, *, clock: Callable[[], float]
    ) -> None:
        self._sessions = sessions
        self._leases = leases
        self._receiver = receiver
        self._clock = clock
        self._nudged = asyncio.Event()
        self._not_before: dict[str, float] = {}

    def nudge(self) -> None:
        """A partial upload has become complete."""
        self._nudged.set()

    async def run(self) -> None:
        """Join for ever."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(EVERY):
                    await self._nudged.wait()
            self._nudged.clear()
            now = self._clock()
            self._not_before = {upload_id: at for upload_id, at in self._not_before.items() if at > now}
            try:
                async for final in self._sessions.find(Query(statuses=frozenset({Status.ACTIVE}), kind=Kind.FINAL)):
                    await self.join(final)
            except Refusal as refusal:
                log.warning("looking for final uploads failed: %s", refusal.text, extra={"code": refusal.code})
            except Exception:
                log.exception("joining failed")

    async def partials(self, ids: Sequence[str]) -> list[Upload | None]:
        """The partial uploads of these ids, in order; None for one that is gone."""
        known: dict[str, Upload | None] = {}
        for partial_id in ids:
            if partial_id not in known:
                known[partial_id] = await self._get(partial_id)
        return [known[partial_id] for partial_id in ids]

    async def join(self, final: Upload) -> None:
        """Join the final upload if its partial uploads are complete and nobody else is at it. What fails is logged
        and tried again later."""
        if final.leased or final.status is not Status.ACTIVE or self._not_before.get(final.id, 0) > self._clock():
            return
        try:
            partials = await self._complete_partials(final)
            if partials is not None:
                await self._copy(final, partials)
            self._not_before.pop(final.id, None)
        except (Conflict, UploadBusy, UploadNotFound):
            return
        except HookRefused as refusal:
            log.warning("final upload refused: %s", refusal.text, extra={"upload": final.id})
            await self._give_up(final)
        except Refusal as refusal:
            self._not_before[final.id] = self._clock() + PAUSE
            log.warning("final upload not joined yet: %s", refusal.text, extra={"upload": final.id})

    async def measured(self, final: Upload) -> Upload:
        """The final upload with its length, if the lengths of its partial uploads are all known by now (CONC-21)."""
        if final.length is not None or final.concat is None:
            return final
        partials = await self.partials(final.concat.parts)
        length = rules.total([partial.length if partial else None for partial in partials])
        if length is None:
            return final
        return await self._sessions.swap(final, final.with_length(length, now=self._clock()))

    async def _complete_partials(self, final: Upload) -> list[Upload] | None:
        partials = await self.partials(final.concat.parts if final.concat else ())
        if any(partial is None or not partial.stored for partial in partials):
            log.warning("a partial upload is gone, so the final upload is given up", extra={"upload": final.id})
            await self._give_up(final)
            return None
        complete = [partial for partial in partials if partial is not None and partial.completed]
        return complete if len(complete) == len(partials) else None

    async def _copy(self, final: Upload, partials: Sequence[Upload]) -> None:
        final = await self.measured(final)
        if final.status is not Status.ACTIVE:
            return
        hold = await self._leases.acquire(final, _unless_leased, wants=ANYWHERE)
        intake = await self._receiver.begin(hold)
        ending: Refusal | None = None
        try:
            async for source, start, stop in _steps(partials, intake):
                await intake.writer.copy(source, start, stop)
        except Refusal as refusal:
            ending = refusal
        await self._receiver.settle(intake)
        if ending is not None:
            raise ending

    async def _give_up(self, final: Upload) -> None:
        with contextlib.suppress(Conflict, UploadNotFound):
            current = await self._sessions.get(final.id)
            await self._sessions.swap(current, current.to(Status.CANCELLED, now=self._clock()))

    async def _get(self, partial_id: str) -> Upload | None:
        try:
            return await self._sessions.get(partial_id)
        except UploadNotFound:
            return None


def _unless_leased(final: Upload) -> Upload:
    if final.leased or final.status is not Status.ACTIVE:
        raise UploadBusy
    return final


async def _steps(partials: Sequence[Upload], intake: Intake) -> AsyncIterator[tuple[Upload, int, int]]:
    """What is still to be copied, in steps short enough to end between them when the hold is to end."""
    base = 0
    for partial in partials:
        while (start := intake.writer.position - base) < partial.offset and intake.hold.reason is None:
            yield partial, start, min(partial.offset, start + STEP)
        base += partial.offset
