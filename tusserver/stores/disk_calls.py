"""System calls on files: copying, making names durable, and what their errors mean for an upload."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tusserver.protocol.refusals import BytesMissing, Refusal, StorageFull, StoreUnavailable
from tusserver.stores.base import Buffer

BLOCK: Final = 1024 * 1024
FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
NO_KERNEL_COPY: Final = frozenset({errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM})


def explained(error: OSError) -> Refusal:
    """What an error of the operating system means for an upload."""
    if isinstance(error, FileNotFoundError):
        return BytesMissing()
    if error.errno in FULL:
        return StorageFull()
    return StoreUnavailable(f"The byte store failed ({error.strerror or error}); an operator has to look at it.")


class explaining:
    """Raise what the operating system says as a Refusal. (Made of a generator, it would take several times as long,
    and there is one around each short piece of work.)"""

    __slots__ = ()

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Explain an OSError."""
        if isinstance(error, OSError):
            raise explained(error) from error


@contextmanager
def opened(path: Path | str, flags: int) -> Iterator[int]:
    """An open file's descriptor, closed at the end."""
    fd = os.open(path, flags | os.O_CLOEXEC, 0o644)
    try:
        yield fd
    finally:
        os.close(fd)


def write_all(target: int, block: Buffer, position: int) -> None:
    """Put the whole block down at the position."""
    left = memoryview(block)
    while left:
        written = os.pwrite(target, left, position)
        left, position = left[written:], position + written


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
