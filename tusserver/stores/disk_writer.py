"""Writing one upload's bytes into a file at their positions, off the event loop.

* Positional writes only: what lies beyond the offset is overwritten, never appended to.
* A write that is under way when its task is cancelled is waited for by the next one and by ``close``: after that,
  nothing more is written.
* A failed sync is remembered, even if nobody waits for it any more: the kernel reports it once and forgets, and what
  it failed for must not be counted.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from enum import Flag, auto
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from tusserver.protocol.refusals import BytesMissing, StoreUnavailable
from tusserver.protocol.upload import Upload
from tusserver.stores.base import Buffer
from tusserver.stores.disk_calls import BLOCK, copy_range, explained, explaining, sync_directory
from tusserver.stores.disk_early import WriteBack
from tusserver.stores.disk_splice import turn
from tusserver.stores.here import Here

T = TypeVar("T")

VECTOR: Final = 1024
"""Blocks that one system call takes (IOV_MAX)."""

HELD: Final = 64 * 1024
"""Bytes that are held until there are more."""

ENDING: Final = 16 * 1024 * 1024
"""Bytes that are poured in a few turns. Where they are the last ones, a flush may wait for them, and the turn that
takes the last one makes all durable and closes."""

CLOSED: Final = "The writer is closed."

STEP: Final = 64 * BLOCK

Source = tuple[str, int, int]
"""Bytes ``[start, stop)`` of a file."""


class Lane(Flag):
    """Work of one lane is done one after the other; the lanes do not wait for each other. Some work needs both."""

    BYTES = auto()
    SYNC = auto()


class DiskWriter:
    """A byte writer (see ``ByteWriter``) on the file ``fd``, or on one that ``opening`` makes once there is something
    to be written. ``here`` is told what is under way. ``sources`` finds where an upload's bytes lie, and
    ``open_source`` opens one of those; ``durable`` makes ``flush`` wait for the disk; ``directory`` is synced once, so
    that the file's name is durable too (None: it is already).

    Small blocks are held until there are more, or until they are to be made durable: an upload of a few of them then
    is opened, written, made durable and closed by one piece of work on one thread. What is held and how far blocks were
    taken (``_accepted``) belongs to the event loop, how far they lie in the file (``_position``) to the thread.
    """

    def __init__(
        self,
        fd: int | None,
        position: int,
        *,
        opening: Callable[[], int],
        executor: Executor,
        here: Here,
        durable: bool,
        directory: Path | None,
        sources: Callable[[Upload, int, int], list[Source]],
        open_source: Callable[[Upload, str], int],
    ) -> None:
        self._fd = fd
        self._position = self._accepted = position
        self._opening = opening
        self._held: list[Buffer] = []
        self._closed = False
        self._executor = executor
        self._here = here
        self._durable = durable
        self._directory = directory
        self._sources = sources
        self._open_source = open_source
        self._flushed = position
        self._write_back = WriteBack(position) if durable else None
        self._failure: OSError | None = None
        self._lanes: dict[Lane, asyncio.Future[Any]] = {}
        self._flushing = asyncio.Lock()
        self._closing: asyncio.Task[None] | None = None

    @property
    def position(self) -> int:
        """See ``ByteWriter``."""
        return self._accepted

    async def write(self, blocks: Sequence[Buffer]) -> None:
        """See ``ByteWriter``."""
        if self._closed:
            raise StoreUnavailable(CLOSED)
        size = sum(map(len, blocks))
        if size + sum(map(len, self._held)) <= HELD:
            self._held += map(bytes, blocks)
            self._accepted += size
        else:
            await self._run(Lane.BYTES, partial(self._write, list(blocks)))

    async def pour(
        self, source: int, size: int, *, ahead: Sequence[Buffer] = (), last: bool = False
    ) -> tuple[int, bool]:
        """See ``PouringWriter``."""
        before = self.position + sum(map(len, ahead))
        syncing = self._lanes.get(Lane.SYNC)
        ends = last and size <= ENDING and (syncing is None or syncing.done())
        lane = Lane.BYTES | Lane.SYNC if ends else Lane.BYTES
        running = await self._begin(lane, partial(self._pour, source, size, list(ahead), ends))
        with explaining():
            try:
                ended, complete = await asyncio.shield(running)
            except asyncio.CancelledError:
                await asyncio.wait({running})
                raise
        if complete:
            self._flushed = self._position
        return self._position - before, ended

    async def copy(self, source: Upload, start: int, stop: int) -> None:
        """See ``ByteWriter``: the kernel copies, in steps, so that closing need not wait long."""
        while start < stop:
            end = min(stop, start + STEP)
            await self._run(Lane.BYTES, partial(self._copy, source, start, end))
            start = end

    async def flush(self, *, last: bool = False) -> int:
        """See ``ByteWriter``."""
        async with self._flushing:
            if self._failure is not None:
                raise explained(self._failure) from self._failure
            position = self._position
            if self._held or (last and self._fd is not None):
                position = self._accepted
                await self._run(Lane.BYTES | Lane.SYNC, partial(self._sync_and_close, last))
            elif self._durable and position > self._flushed:
                await self._run(Lane.SYNC, self._sync)
            self._flushed = position
            return position

    async def close(self) -> None:
        """See ``ByteWriter``: goes on to its end even if its task is cancelled."""
        self._closed = True
        if self._fd is None and all(work.done() for work in self._lanes.values()):
            return
        if self._closing is None:
            self._closing = asyncio.create_task(self._end())
        await asyncio.shield(self._closing)

    async def _end(self) -> None:
        if self._lanes:
            await asyncio.wait(self._lanes.values())
        if self._fd is not None:
            fd, self._fd = self._fd, None
            with suppress(OSError):  # it could only speak of bytes for which no flush has vouched
                await asyncio.get_running_loop().run_in_executor(self._executor, os.close, fd)

    async def _run(self, lane: Lane, work: Callable[[int], T]) -> T:
        running = await self._begin(lane, work)
        with explaining():
            return await asyncio.shield(running)

    async def _begin(self, lane: Lane, work: Callable[[int], T]) -> asyncio.Future[T]:
        while earlier := [work for taken, work in self._lanes.items() if taken in lane and not work.done()]:
            await asyncio.wait(earlier)
        if self._closed:
            raise StoreUnavailable(CLOSED)
        held: list[Buffer] = []
        if Lane.BYTES in lane:
            held, self._held = self._held, held
        piece: Callable[[], T] = partial(self._on_file, held, work)
        if held and Lane.SYNC in lane:  # what is small might be put down in the loop as well
            piece = partial(self._here.there, piece)
        running = asyncio.get_running_loop().run_in_executor(self._executor, piece)
        running.add_done_callback(partial(self._returned, lane))
        self._lanes.update(dict.fromkeys(lane, running))
        return running

    def _returned(self, lane: Lane, work: asyncio.Future[Any]) -> None:
        if Lane.BYTES in lane:
            self._accepted = self._position + sum(map(len, self._held))
        if not work.cancelled():
            work.exception()  # seen; where nobody waits for it any more, ``_failure`` has it

    # In a thread

    def _on_file(self, held: list[Buffer], work: Callable[[int], T]) -> T:
        with self._here.underway():
            if self._fd is None:
                self._fd = self._opening()
            if held:
                self._write(held, self._fd)
            return work(self._fd)

    def _pour(self, source: int, size: int, ahead: list[Buffer], last: bool, fd: int) -> tuple[bool, bool]:
        def moved(written: int) -> None:
            self._here.got_on()
            self._position += written
            if self._write_back is not None:
                self._write_back.upto(fd, self._position)

        self._write(ahead, fd)
        stop = self._position + size
        ended = turn(source, fd, self._position, size, moved)
        complete = last and self._position == stop
        if complete:
            self._sync_and_close(True, fd)
        return ended, complete

    def _write(self, blocks: list[Buffer], fd: int) -> None:
        while blocks:
            written = os.pwritev(fd, blocks[:VECTOR], self._position)
            self._position += written
            blocks = _beyond(blocks, written)
        if self._write_back is not None:
            self._write_back.upto(fd, self._position)

    def _sync_and_close(self, last: bool, fd: int) -> None:
        if self._durable and self._position > self._flushed:
            self._sync(fd)
        if last:
            self._fd = None
            try:
                os.close(fd)  # a network volume may say only now what it could not write
            except OSError as error:
                self._failure = error
                raise

    def _copy(self, source: Upload, start: int, stop: int, fd: int) -> None:
        for path, first, last in self._sources(source, start, stop):
            source_fd = self._open_source(source, path)
            try:
                while first < last:
                    copied = copy_range(source_fd, fd, first, self._position, last - first)
                    if copied == 0:
                        raise BytesMissing
                    self._position += copied
                    first += copied
            finally:
                os.close(source_fd)

    def _sync(self, fd: int) -> None:
        if self._failure is not None:
            raise self._failure
        try:
            os.fdatasync(fd)
            if self._directory is not None:
                sync_directory(self._directory)
                self._directory = None
        except OSError as error:
            self._failure = error
            raise


def _beyond(blocks: list[Buffer], written: int) -> list[Buffer]:
    for number, block in enumerate(blocks):
        if written < len(block):
            return [memoryview(block)[written:], *blocks[number + 1 :]]
        written -= len(block)
    return []
