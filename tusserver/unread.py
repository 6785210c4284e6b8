"""What has been written on a connection and is not read. A client that takes nothing of it for a while is given up:
it would keep the connection, and what is to be sent on it, for as long as it likes."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import sys
import termios
from contextlib import suppress
from typing import Final

log = logging.getLogger("tusserver.connection")

UNREAD_SECONDS: Final = 60.0


class Unread:
    """``watch`` begins where no more will be written until the client has read, or ever."""

    def __init__(self, loop: asyncio.AbstractEventLoop, transport: asyncio.Transport) -> None:
        self._loop = loop
        self._transport = transport
        self._timer: asyncio.TimerHandle | None = None

    def watch(self) -> None:
        """Give the client up where it takes nothing for UNREAD_SECONDS from now on, or later."""
        self.stop()
        left = self._left()
        if left:
            self._timer = self._loop.call_later(UNREAD_SECONDS, self._look, left)

    def stop(self) -> None:
        """It has read, or the connection has ended."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self, before: int) -> None:
        if self._left() < before:
            return self.watch()
        self._timer = None
        log.info("the client reads nothing", extra={"unread": before})
        self._transport.abort()

    def _left(self) -> int:
        """Bytes that the client has not confirmed: what waits here, and what the kernel has, which passes on little at
        a time to a client that is slow."""
        held = self._transport.get_write_buffer_size()
        with suppress(OSError, ValueError):
            descriptor = self._transport.get_extra_info("socket").fileno()
            held += int.from_bytes(fcntl.ioctl(descriptor, termios.TIOCOUTQ, bytes(4)), sys.byteorder)
        return held
