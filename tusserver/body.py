"""A request body as batches of blocks: bounded in memory, timed, hashed, interruptible.

A task of its own reads from the server all the time, since servers drop what they have received and not delivered
when the client goes away. Whatever ends the body early, the blocks that arrived before come out first.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, MutableMapping
from functools import cache, cached_property
from typing import Any, Protocol, cast

from tusserver.digest import cut
from tusserver.protocol.commands import Checksum
from tusserver.protocol.refusals import BodyTimeout, ClientGone, LengthExceeded, Refusal
from tusserver.protocol.upload import Upload
from tusserver.stores.base import ByteWriter, PouringWriter

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

BUFFER = 256 * 1024
HOP = 64 * 1024
TURNS = 4
"""Turns of the loop in which the reader has what had arrived by the end of a body: the server may have stopped reading
until somebody asks, and then looks at the connection in the next one."""


class Claim:
    """The rest of a body, taken off its connection. ``block`` had arrived, ``remaining`` bytes are to come through the
    non-blocking socket ``descriptor``, which is closed by ``release``."""

    def __init__(self, block: bytes, remaining: int, descriptor: int, released: Callable[[int], None]) -> None:
        self.block = block
        self.remaining = remaining
        self.descriptor = descriptor
        self._released = released
        self._loop = asyncio.get_running_loop()

    def watch(self, arrived: Callable[[], None]) -> None:
        """Call once there is something to be read, or the end."""

        def readable() -> None:
            self.unwatch()
            arrived()

        self._loop.add_reader(self.descriptor, readable)

    def unwatch(self) -> None:
        """Do not call any more."""
        self._loop.remove_reader(self.descriptor)

    def release(self) -> None:
        """Give the connection back; what is still ``remaining`` has not been taken."""
        self.unwatch()
        os.close(self.descriptor)
        self._released(self.remaining)


class Direct(Protocol):
    """A server's offer to hand over a body otherwise than by ``receive``."""

    def whole(self) -> bytes | None:
        """The body, where all of it has arrived; None, and nothing has happened, where more is to come."""
        ...

    def claim(self) -> Claim | None:
        """Stop reading, and hand over the body; None where that can't be or is not worth it. A client that waits for
        permission to send gets it. A claim that was released before its end can be claimed again."""
        ...


class RequestBody:
    """The body of one request.

    ``idle_timeout``: seconds without a byte after which the body ends with BodyTimeout (CORE-40). ``trailer`` gives
    the checksum that came behind the body. ``direct``: the server's offer to hand it over. ``begun``: somebody has
    asked for it (and thereby let the client send it). ``received``: bytes that have arrived. ``complete``: it has
    arrived whole.
    """

    trailer: Callable[[], Checksum] | None = None
    complete = False
    begun = False
    received = 0
    _ending: Refusal | None = None
    _last = False
    _size = 0
    _pump: asyncio.Task[None] | None = None

    def __init__(
        self,
        receive: Receive,
        *,
        idle_timeout: float,
        direct: Direct | None = None,
    ) -> None:
        self._receive = receive
        self._direct = direct
        self._idle_timeout = idle_timeout
        self._blocks: list[bytes] = []

    def whole(self, most: int) -> bytes | None:
        """The body, where it has arrived whole and has ``most`` bytes at the most; it can still be read as before."""
        self._take_whole()
        if self.complete and len(self._blocks) == 1 and len(self._blocks[0]) <= most:
            return self._blocks[0]
        return None

    @cached_property  # most bodies have arrived before anybody asks
    def _arrived(self) -> asyncio.Event:
        return asyncio.Event()

    @cached_property
    def _room(self) -> asyncio.Event:
        return asyncio.Event()

    def interrupt(self, reason: Refusal) -> None:
        """End the body now; ``batches`` raises the reason once it has given out what arrived."""
        if self._ending is None:
            self._ending = reason
        self._arrived.set()

    async def batches(self) -> AsyncGenerator[list[bytes], None]:
        """What arrives, in lists of blocks of about 256 KiB at most.

        Raises ClientGone, BodyTimeout, or the reason of an interruption, after the last block that arrived.
        """
        self._take_whole()
        self.begun = True
        if self._pump is None and not self.complete:
            self._pump = asyncio.create_task(self._read())
        try:
            while await self._wait():
                batch, self._blocks, self._size = self._blocks, [], 0
                self._room.set()
                yield batch
            if self._ending is not None and not self.complete:
                raise self._ending
        finally:
            if self._pump is not None:
                self._pump.cancel()
                self._pump = None

    async def pour(self, writer: ByteWriter, end: int | None) -> bool | None:
        """Let the writer take the body from the connection by itself, up to the position ``end`` (None: all of it).
        Returns whether there was more; None where that can't be: nothing has happened then, and ``batches`` has it.

        Raises what ``batches`` raises, after the last byte that arrived.
        """
        if self._direct is None or not _pours(type(writer)):
            return None
        claim = self._direct.claim()
        if claim is None:
            return None
        self.begun = True
        try:
            return await self._pour(claim, cast(PouringWriter, writer), end)
        finally:
            self.complete = claim.remaining == 0
            claim.release()

    async def expect_nothing(self, upload: Upload | None = None) -> None:
        """Raises LengthExceeded, with the upload that it is for, where anything comes."""
        async with contextlib.aclosing(self.batches()) as batches:
            async for _ in batches:
                raise LengthExceeded(upload=upload)

    async def drain(self, size: int, seconds: float) -> None:
        """Throw away up to ``size`` bytes that still arrive within ``seconds``, so that a client that is still
        sending gets to read the answer before the connection closes."""
        if isinstance(self._ending, ClientGone):
            return
        self._ending, self._last = None, False
        with contextlib.suppress(TimeoutError, Refusal):
            async with asyncio.timeout(seconds):
                claim = self._direct.claim() if self._direct is not None else None
                await (self._discard(size) if claim is None else self._pour_away(claim, size))

    def _take_whole(self) -> None:
        block = None if self.begun or self._direct is None else self._direct.whole()
        if block is not None:
            self.begun = self.complete = True
            self.received = len(block)
            if block:
                self._blocks.append(block)

    async def _discard(self, size: int) -> None:
        async with contextlib.aclosing(self.batches()) as batches:
            async for batch in batches:
                size -= sum(map(len, batch))
                if size <= 0:
                    return

    async def _pour_away(self, claim: Claim, size: int) -> None:
        try:
            size -= len(claim.block)
            while claim.remaining and size > 0:
                await self._readable(claim)
                block = os.read(claim.descriptor, min(claim.remaining, HOP))
                claim.remaining -= len(block)
                size -= len(block)
                if not block:
                    return
        except OSError:
            return
        finally:
            claim.release()

    async def _pour(self, claim: Claim, writer: PouringWriter, end: int | None) -> bool:
        ahead, over = cut([claim.block], None if end is None else end - writer.position)
        arrived = sum(map(len, ahead))
        self.received += arrived
        while claim.remaining and not over:
            room = claim.remaining if end is None else min(claim.remaining, end - writer.position - arrived)
            if room == 0:
                over = True
                break
            ending = self._ending
            poured, gone = await writer.pour(claim.descriptor, room, ahead=ahead, last=room == claim.remaining)
            ahead, arrived = [], 0
            claim.remaining -= poured
            self.received += poured
            if gone:
                self.interrupt(ClientGone())
                raise self._ending or ClientGone()
            if ending is not None and claim.remaining:
                raise ending  # only now: what had arrived by then is kept
            if not poured:
                await self._readable(claim)
        if ahead:
            await writer.write(ahead)
        return over

    async def _readable(self, claim: Claim) -> None:
        """Wait until something arrives, or somebody interrupts, or too long."""
        if self._ending is not None:
            return
        self._arrived.clear()
        claim.watch(self._arrived.set)
        try:
            async with asyncio.timeout(self._idle_timeout):
                await self._arrived.wait()
        except TimeoutError:
            self.interrupt(BodyTimeout())
        finally:
            claim.unwatch()

    async def _wait(self) -> bool:
        """Whether there are blocks; False when there are none and none will come."""
        while not self._blocks:
            if self.complete or self._last:
                return False
            if self._ending is not None:
                self._last = True
                for _ in range(TURNS):
                    if not self._blocks:
                        await asyncio.sleep(0)
                continue
            self._arrived.clear()
            try:
                async with asyncio.timeout(self._idle_timeout):
                    await self._arrived.wait()
            except TimeoutError:
                self.interrupt(BodyTimeout())
        return True

    async def _read(self) -> None:
        more = True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                return self.interrupt(ClientGone())
            if block := message.get("body", b""):
                self._blocks.append(block)
                self._size += len(block)
                self.received += len(block)
            more = message.get("more_body", False)
            self.complete = not more
            self._arrived.set()
            while self._size >= BUFFER and more:
                self._room.clear()
                await self._room.wait()


@cache
def _pours(kind: type[ByteWriter]) -> bool:
    """Whether writers of this kind are PouringWriters; asked for each body, and ``isinstance`` takes its time."""
    return hasattr(kind, "pour")
