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
import socket
import threading
import time
from collections.abc import Callable
from typing import Final

from tusserver.stores.disk_calls import write_all

PIPE: Final = 1024 * 1024
TURN: Final = 0.02
FAST: Final = 256 * 1024
"""Bytes in one turn from which on it is worth waiting for more: a slow client must not keep a thread."""
LINGER: Final = 2
"""Milliseconds that a turn then waits for more before it gives its thread back."""
ENOUGH: Final = 512 * 1024
"""Bytes to wait for then: to be woken costs both sides as much as it costs to move many, and the file takes them in
larger pieces."""
NO_SPLICE: Final = frozenset({errno.EINVAL, errno.ENOSYS, errno.EPERM, errno.EOPNOTSUPP})

_own = threading.local()


class CannotSplice(Exception):
    """This system does not splice from that socket; nothing was taken."""


def turn(source: int, target: int, position: int, size: int, moved: Callable[[int], None]) -> bool:
    """Move what arrives on the non-blocking socket ``source`` into the file ``target`` at ``position``, ``size`` bytes
    at most; ``moved`` is told how many bytes each time that some lie in the file. Returns whether the stream has ended
    or broken. Raises OSError for the file's errors: what then is still in between is lost, and was never told."""
    wait = _Wait(source)
    try:
        return _turn(source, target, position, size, moved, wait)
    finally:
        wait.end()


def _turn(source: int, target: int, position: int, size: int, moved: Callable[[int], None], wait: _Wait) -> bool:
    way = _way()
    until, came, more = time.monotonic() + TURN, 0, True
    while came < size:
        try:
            taken = way.take(source, min(size - came, PIPE))
        except CannotSplice:
            way = _own.way = _Buffer()
            continue
        except BlockingIOError:
            if came < FAST or not more or time.monotonic() > until:
                return False
            more = wait.more(size - came)
            continue
        except OSError:
            return True
        if not taken:
            return True
        way.empty(taken, target, position + came, moved)
        came, more = came + taken, True
        if time.monotonic() > until:
            return False
    return False


class _Wait:
    """For more from a socket: while this lasts, the kernel wakes nobody for less than ENOUGH bytes."""

    def __init__(self, source: int) -> None:
        self._source = source
        self._least = 1

    def more(self, size: int) -> bool:
        """Whether ENOUGH is there soon, or all of ``size``, or the end. Otherwise some may be."""
        self._set(min(size, ENOUGH))
        return _comes(self._source)

    def end(self) -> None:
        """Whoever waits next is woken for each byte."""
        self._set(1)

    def _set(self, least: int) -> None:
        if least == self._least:
            return
        self._least = least
        stream = socket.socket(socket.AF_INET, socket.SOCK_STREAM, fileno=self._source)  # of whatever family it is
        try:
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, least)
        except OSError:  # then it wakes for less
            return
        finally:
            stream.detach()


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
        write_all(target, block, position)
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
        write_all(target, self._block, position)
        moved(size)


def _way() -> _Pipe | _Buffer:
    way: _Pipe | _Buffer | None = getattr(_own, "way", None)
    if way is None:
        way = _own.way = _Pipe() if hasattr(os, "splice") else _Buffer()
    return way


def _comes(source: int) -> bool:
    poll = select.poll()
    poll.register(source, select.POLLIN)
    return bool(poll.poll(LINGER))
