"""From a socket into a file without coming by: ``splice`` moves pages through a pipe, within the kernel.

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
LINGER: Final = 2
"""Milliseconds that a turn waits for more before it gives its thread back."""

_own = threading.local()


def turn(source: int, target: int, position: int, size: int, moved: Callable[[int], None]) -> bool:
    """Move what arrives on the non-blocking socket ``source`` into the file ``target`` at ``position``, ``size`` bytes
    at most; ``moved`` is told how many bytes each time that some lie in the file. Returns whether the stream has ended
    or broken. Raises OSError for the file's errors: what then is still in between is lost, and was never told."""
    pipe = _pipe()
    until = time.monotonic() + TURN
    while size:
        try:
            taken = os.splice(source, pipe.inlet, min(size, PIPE), flags=os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK)
        except BlockingIOError:
            if time.monotonic() > until or not _comes(source):
                return False
            continue
        except OSError:
            return True
        if not taken:
            return True
        size -= taken
        position = pipe.empty(taken, target, position, moved)
        if time.monotonic() > until:
            return False
    return False


class _Pipe:
    """One thread's pipe; between turns it is empty."""

    def __init__(self) -> None:
        self._outlet, self.inlet = os.pipe()
        self._spliced = True
        with contextlib.suppress(OSError):  # more than this user may have: then with what there is
            fcntl.fcntl(self.inlet, fcntl.F_SETPIPE_SZ, PIPE)

    def __del__(self) -> None:
        os.close(self._outlet)
        os.close(self.inlet)

    def empty(self, size: int, target: int, position: int, moved: Callable[[int], None]) -> int:
        """Into the file; returns the position behind it."""
        try:
            while size:
                written = self._step(size, target, position)
                size -= written
                position += written
                moved(written)
        except BaseException:
            _own.pipe = None  # what is left in it belongs to nobody
            raise
        return position

    def _step(self, size: int, target: int, position: int) -> int:
        if self._spliced:
            try:
                return os.splice(self._outlet, target, size, offset_dst=position, flags=os.SPLICE_F_MOVE)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                self._spliced = False  # a file system that does not know how
        block = memoryview(os.read(self._outlet, size))
        written = 0
        while written < len(block):
            written += os.pwrite(target, block[written:], position + written)
        return written


def _pipe() -> _Pipe:
    pipe: _Pipe | None = getattr(_own, "pipe", None)
    if pipe is None:
        pipe = _own.pipe = _Pipe()
    return pipe


def _comes(source: int) -> bool:
    poll = select.poll()
    poll.register(source, select.POLLIN)
    return bool(poll.poll(LINGER))
