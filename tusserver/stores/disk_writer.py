"""Writing one upload's bytes into a file at their positions, off the event loop.

* Positional writes only: what lies beyond the offset is overwritten, never appended to.
* A write that is under way when its task is cancelled is waited for by ``close``: after that, nothing more is written.
* A failed sync is remembered: the kernel reports it once and forgets, and what it failed for must not be counted.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from tusserver.protocol.refusals import BytesMissing, Refusal, StorageFull, StoreUnavailable
from tusserver.protocol.upload import Upload
from tusserver.stores.base import Buffer

T = TypeVar("T")

VECTOR: Final = 1024
"""Blocks that one system call takes (IOV_MAX)."""

BLOCK: Final = 1024 * 1024
STEP: Final = 64 * BLOCK
FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
NO_KERNEL_COPY: Final = frozenset({errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM})

Source = tuple[Path, int, int]
"""Bytes ``[start, stop)`` of a file."""


def explained(error: OSError) -> Refusal:
    """What an error of the operating system means for an upload."""
    if error.errno in FULL:
        return StorageFull()
    return StoreUnavailable(f"The byte store failed ({error.strerror or error}); an operator has to look at it.")


class DiskWriter:
    """A byte writer (see ``ByteWriter``) on an open file. ``sources`` finds where an upload's bytes lie, and
    ``open_source`` opens one of those; ``durable`` makes ``flush`` wait for the disk; ``directory`` is synced once, so
    that the file's name is durable too."""

    def __init__(
        self,
        fd: int,
        position: int,
        *,
        executor: Executor,
        durable: bool,
        directory: Path,
        sources: Callable[[Upload, int, int], list[Source]],
        open_source: Callable[[Upload, Path], int],
    ) -> None:
        self._fd: int | None = fd
        self._position = position
        self._executor = executor
        self._durable = durable
        self._directory: Path | None = directory
        self._sources = sources
        self._open_source = open_source
        self._flushed = position
        self._failure: Refusal | None = None
        self._running: set[asyncio.Future[Any]] = set()
        self._flushing = asyncio.Lock()

    @property
    def position(self) -> int:
        """See ``ByteWriter``."""
        return self._position

    async def write(self, blocks: Sequence[Buffer]) -> None:
        """See ``ByteWriter``."""
        await self._run(partial(self._write, list(blocks)))

    async def copy(self, source: Upload, start: int, stop: int) -> None:
        """See ``ByteWriter``: the kernel copies, in steps, so that closing need not wait long."""
        while start < stop:
            end = min(stop, start + STEP)
            await self._run(partial(self._copy, source, start, end))
            start = end

    async def flush(self) -> int:
        """See ``ByteWriter``."""
        async with self._flushing:
            if self._failure is not None:
                raise self._failure
            position = self._position
            if self._durable and position > self._flushed:
                try:
                    await self._run(self._sync)
                except Refusal as refusal:
                    self._failure = refusal
                    raise
            self._flushed = position
            return position

    async def close(self) -> None:
        """See ``ByteWriter``."""
        while self._running:
            await asyncio.wait(self._running)
        fd, self._fd = self._fd, None
        if fd is not None:
            await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._executor, os.close, fd))

    async def _run(self, work: Callable[[int], T]) -> T:
        if self._fd is None:
            raise StoreUnavailable("The writer is closed.")
        running = asyncio.get_running_loop().run_in_executor(self._executor, work, self._fd)
        self._running.add(running)
        running.add_done_callback(self._running.discard)
        try:
            return await asyncio.shield(running)
        except FileNotFoundError as error:
            raise BytesMissing from error
        except OSError as error:
            raise explained(error) from error

    def _write(self, blocks: list[Buffer], fd: int) -> None:
        while blocks:
            written = os.pwritev(fd, blocks[:VECTOR], self._position)
            self._position += written
            blocks = _beyond(blocks, written)

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
        os.fdatasync(fd)
        if self._directory is not None:
            sync_directory(self._directory)
            self._directory = None


def copy_range(source: int, target: int, start: int, at: int, size: int) -> int:
    """Copy up to ``size`` bytes between two open files, in the kernel where it can; returns how many."""
    try:
        return os.copy_file_range(source, target, size, start, at)
    except OSError as error:
        if error.errno not in NO_KERNEL_COPY:
            raise
    block = os.pread(source, min(size, BLOCK), start)
    return os.pwrite(target, block, at) if block else 0


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _beyond(blocks: list[Buffer], written: int) -> list[Buffer]:
    for number, block in enumerate(blocks):
        if written < len(block):
            return [memoryview(block)[written:], *blocks[number + 1 :]]
        written -= len(block)
    return []
