"""One request's bytes on their way into the store: written under a lease, made durable, then counted.

The order is everything: bytes durable first, then the offset by compare-and-set, then the lease given back, and only
once the writer is closed, so that nobody writes under a token that somebody else has been given.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from tusserver.body import RequestBody
from tusserver.digest import Digest, cut
from tusserver.hold import Hold
from tusserver.protocol import rules
from tusserver.protocol.commands import Append
from tusserver.protocol.refusals import BodyIncomplete, ChecksumMismatch, Refusal
from tusserver.protocol.rules import Limits
from tusserver.protocol.upload import Upload
from tusserver.stores.base import ByteStore, ByteWriter


@dataclass(kw_only=True)
class Intake:
    """What is written for one upload by one request. ``flushed`` is the offset up to which bytes are known to be
    durable; ``counts`` says whether they may be counted before the request has ended (not while a checksum is open).
    """

    hold: Hold
    writer: ByteWriter
    limits: Limits
    clock: Callable[[], float]
    counts: bool
    committed: Callable[[Upload], Awaitable[None]]
    flushed: int

    @classmethod
    async def begin(
        cls,
        hold: Hold,
        store: ByteStore,
        *,
        limits: Limits,
        clock: Callable[[], float],
        counts: bool,
        committed: Callable[[Upload], Awaitable[None]],
    ) -> Intake:
        """Open the writer and take care of the hold's heartbeats. Raises StorageFull, BytesMissing."""
        writer = await store.open(hold.upload)
        intake = cls(
            hold=hold,
            writer=writer,
            limits=limits,
            clock=clock,
            counts=counts,
            committed=committed,
            flushed=hold.upload.offset,
        )
        if counts:
            hold.position = lambda: writer.position
        hold.beat = intake.beat
        return intake

    async def beat(self) -> None:
        """Make durable and count what has arrived so far, and renew the lease, in one swap."""
        if self.counts:
            self.flushed = await self.writer.flush()
        before = self.hold.upload.offset
        upload = await self.hold.change(self._progress)
        if upload.offset > before:
            await self.committed(upload)

    async def receive(self, body: RequestBody, command: Append, algorithms: Sequence[str]) -> None:
        """Write the body. Raises whatever ended it early, BodyIncomplete, LengthExceeded or TooLarge, or
        ChecksumMismatch; the writer's position says what arrived."""
        end = rules.bound(self.hold.upload, command, self.limits)
        digest = Digest(command.body, algorithms)
        self.hold.interrupted = body.interrupt
        if self.hold.reason is not None:
            body.interrupt(self.hold.reason)
        over = None if digest.needed else await body.pour(self.writer, end)
        if over is None:
            over = await self._carry(body, digest, end)
        if over:
            raise rules.overflow(self.hold.upload, command)
        if command.body.size is not None and body.received < command.body.size:
            raise BodyIncomplete
        checksum = command.body.checksum
        if command.body.checksum_follows and body.trailer is not None:
            checksum = body.trailer()
        if checksum is not None and not digest.matches(checksum):
            raise ChecksumMismatch

    async def _carry(self, body: RequestBody, digest: Digest, end: int | None) -> bool:
        """Write what arrives up to the position ``end``; whether there was more."""
        async with contextlib.aclosing(body.batches()) as batches:
            async for batch in batches:
                blocks, over = cut(batch, None if end is None else end - self.writer.position)
                await digest.update(blocks)
                await self.writer.write(blocks)
                if over:
                    return True
        return False

    async def settle(self, *, keep: bool) -> Refusal | None:
        """Make durable what arrived and close the writer; ``flushed`` is then what may be counted. Returns what
        kept bytes from becoming durable. With ``keep`` false nothing that arrived counts."""
        refusal = None
        self.hold.beat = self.hold.renew  # the writer is about to be closed
        try:
            if keep:
                self.flushed = await self.writer.flush(last=True)
        except Refusal as raised:
            refusal = raised
        finally:
            await self.writer.close()
        return refusal

    def _progress(self, upload: Upload) -> Upload:
        """Count, unless that would complete the upload: the request itself does that, with all that belongs to it."""
        if upload.offset < self.flushed != upload.length:
            upload = rules.counted(upload, self.flushed, limits=self.limits, now=self.clock())
        contest = upload.lease.contest if upload.lease is not None else None
        if contest is not None and self.hold.passed(contest):
            upload = upload.uncontested()
        return upload.renewed()
