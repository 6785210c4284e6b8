"""From a socket into a file without coming by: ``splice`` moves pages through a pipe, within the kernel. Where the
system does not know how, the bytes pass through a buffer.

A turn runs in a thread and lasts a few milliseconds: long enough that a thread hop costs little against what it moves,
short enough that many uploads share the threads, and that somebody who interrupts need not wait.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import threading
import time
from collections.abc import Callable
from typing import Final

PIPE: Final = 1024 * 1024
TURN: Final = 0.02
FAST: Final = 256 * 1024
"""Bytes in one turn from which on it is worth waiting for more: a slow client must not keep a thread."""
LINGER: Final = 2
"""Milliseconds that a turn then waits for more before it gives its thread back."""
NO_SPLICE: Final = frozenset({errno.EINVAL, errno.ENOSYS, errno.EPERM, errno.EOPNOTSUPP})

_own = threading.local()


class CannotSplice(Exception):
    """This system does not splice from that socket; nothing was taken."""


def turn(source: int, target: int, position: int, size: int, moved: Callable[[int], None]) -> bool:
    """Move what arrives on the non-blocking socket ``source`` into the file ``target`` at ``position``, ``size`` bytes
    at most; ``moved`` is told how many bytes each time that some lie in the file. Returns whether the stream has ended
    or broken. Raises OSError for the file's errors: what then is still in between is lost, and was never told."""
    way = _way()
    until, came = time.monotonic() + TURN, 0
    while came < size:
        try:
            taken = way.take(source, min(size - came, PIPE))
        except CannotSplice:
            way = _own.way = _Buffer()
            continue
        except BlockingIOError:
            if came < FAST or time.monotonic() > until or not _comes(source):
                return False
            continue
        except OSError:
            return True
        if not taken:
            return True
        way.empty(taken, target, position + came, moved)
        came += taken
        if time.monotonic() > until:
            return False
    return False


class _Pipe:
    """One thread's pipe; between turns it is empty."""

    def __init__(self) -> None:
        self._outlet, self._inlet = os.pipe()
        self._spliced = True
        with contextlib.suppress(OSError):  # more than this user may have: then with what there is
            fcntl.fcntl(self._inlet, fcntl.F_SETPIPE_SZ, PIPE)

    def __del__(self) -> None:
        os.close(self._outlet)
        os.close(self._inlet)

    def take(self, source: int, size: int) -> int:
        """Out of the socket; 0 at its end. Raises OSError for the socket's errors, CannotSplice."""
        try:
            return os.splice(source, self._inlet, size, flags=os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK)
        except OSError as error:
            if error.errno in NO_SPLICE:
                raise CannotSplice from error
            raise

    def empty(self, size: int, target: int, position: int, moved: Callable[[int], None]) -> None:
        """Into the file."""
        try:
            while size:
                written = self._step(size, target, position)
                size -= written
                position += written
                moved(written)
        except BaseException:
            _own.way = None  # what is left in it belongs to nobody
            raise

    def _step(self, size: int, target: int, position: int) -> int:
        if self._spliced:
            try:
                return os.splice(self._outlet, target, size, offset_dst=position, flags=os.SPLICE_F_MOVE)
            except OSError as error:
                if error.errno not in NO_SPLICE:
                    raise
                self._spliced = False  # a file system that does not know how
        block = os.read(self._outlet, size)
        _write(target, block, position)
        return len(block)


class _Buffer:
    """What one thread has read, where there is no splicing."""

    def __init__(self) -> None:
        self._block = b""

    def take(self, source: int, size: int) -> int:
        """Out of the socket; 0 at its end. Raises OSError for the socket's errors."""
        self._block = os.read(source, size)
        return len(self._block)

    def empty(self, size: int, target: int, position: int, moved: Callable[[int], None]) -> None:
        """Into the file."""
        _write(target, self._block, position)
        moved(size)


def _write(target: int, block: bytes, position: int) -> None:
    written = 0
    while written < len(block):
        written += os.pwrite(target, memoryview(block)[written:], position + written)


def _way() -> _Pipe | _Buffer:
    way: _Pipe | _Buffer | None = getattr(_own, "way", None)
    if way is None:
        way = _own.way = _Pipe() if hasattr(os, "splice") else _Buffer()
    return way


def _comes(source: int) -> bool:
    poll = select.poll()
    poll.register(source, select.POLLIN)
    return bool(poll.poll(LINGER))
