"""How several workers take connections from one listening socket: each one at a time, whoever has the fewest first.

The kernel wakes every worker for a connection, and without more whichever is awake would take nearly all; clients keep
theirs, so that the others would have nothing to do. So a worker that has more than another one leaves a connection to
it for a moment, in which it does not watch the socket; what is still there after that it takes.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import select
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from tusserver.shares import Shares, claim

try:
    from uvloop import Loop as FastestLoop
except ImportError:
    from asyncio import SelectorEventLoop as FastestLoop  # type: ignore[assignment]

log = logging.getLogger("tusserver.accepting")

PATIENCE: Final = 0.02
"""Seconds for which a connection is left to another worker. Those that are idle take it within a tenth of one."""

STEP: Final = 0.001
"""Seconds after which to look whether that one has taken it."""

PAUSE: Final = 1.0
"""Seconds without looking after the system has refused a connection, most likely for want of descriptors or memory."""

QUIET: Final = 60.0
"""Seconds for which that is not told again."""


TRANSIENT: Final = frozenset(
    getattr(errno, name, errno.EAGAIN)
    for name in (
        "EAGAIN", "ECONNABORTED", "EPERM", "EPROTO", "ENOPROTOOPT", "EOPNOTSUPP",
        "ENETDOWN", "ENETUNREACH", "EHOSTDOWN", "EHOSTUNREACH", "ENONET",
    )
)  # fmt: skip
"""Errors that concern one connection: another worker has it, or it has ended already (accept(2))."""


class Loop(FastestLoop):
    """An event loop of a worker, with the socket that it is given being shared with others."""

    shares: Shares

    async def create_server(self, protocol_factory: Any, *where: Any, **options: Any) -> Any:
        """See ``asyncio``; of its options, a listening socket is only asked for TLS."""
        if options.get("sock") is None:
            return await super().create_server(protocol_factory, *where, **options)
        server = Acceptor(self, options["sock"], self.shares, protocol_factory, options.get("ssl"))
        log.info("worker ready", extra={"pid": os.getpid()})
        return server


def loop(shares: Path) -> Loop:
    """One for this process. ``shares``: see ``tusserver.shares.make``."""
    made = Loop()
    made.shares = claim(shares)
    return made


class Connection(socket.socket):
    """An accepted connection that tells when it is closed, whichever way the event loop does it."""

    def __init__(self, accepted: socket.socket, closed: Callable[[], None]) -> None:
        super().__init__(accepted.family, accepted.type, accepted.proto, accepted.detach())
        self.setblocking(False)
        self._on_close: Callable[[], None] | None = closed

    def close(self) -> None:
        """asyncio closes it."""
        self._tell()
        super().close()

    def detach(self) -> int:
        """uvloop takes the descriptor when it closes it."""
        self._tell()
        return super().detach()

    def _tell(self) -> None:
        tell, self._on_close = self._on_close, None
        if tell is not None:
            tell()


class Acceptor:
    """Takes connections from ``listener`` until it is closed, as far as uvicorn asks that of an ``asyncio.Server``.
    ``factory``: makes a protocol of uvicorn's for each."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        listener: socket.socket,
        shares: Shares,
        factory: Callable[[], Any],
        tls: ssl.SSLContext | None,
    ) -> None:
        self._loop = loop
        self._listener = listener
        self._shares = shares
        self._factory = factory
        self._tls = tls
        self._opening: set[asyncio.Task[None]] = set()
        self._resting: asyncio.Handle | None = None
        self._left_until = 0.0  # while a connection is left to another worker
        self._closed = False
        self._quiet_until = 0.0
        self._queue = select.poll()
        self._queue.register(listener, select.POLLIN)
        listener.setblocking(False)
        shares.enter(time.monotonic_ns())
        self._watch()

    def close(self) -> None:
        """Take no more; what is queued is for the other workers. Connections go on."""
        if self._closed:
            return
        self._closed = True
        self._shares.leave()
        self._loop.remove_reader(self._listener)
        self._left_until = 0.0
        if self._resting is not None:
            self._resting.cancel()

    async def wait_closed(self) -> None:
        """It is closed at once."""

    def _watch(self) -> None:
        self._loop.add_reader(self._listener, self._look)

    def _rest(self, seconds: float, then: Callable[[], None]) -> None:
        # What is not taken would wake this worker again and again
        self._loop.remove_reader(self._listener)
        self._resting = self._loop.call_later(seconds, then)

    def _look(self) -> None:
        """Somebody has connected."""
        if self._shares.is_anothers_turn(time.monotonic_ns()):
            self._leave(self._loop.time() + PATIENCE)
        else:
            self._accept()

    def _leave(self, deadline: float) -> None:
        self._left_until = deadline
        self._rest(STEP, self._look_again)

    def _look_again(self) -> None:
        """It was another worker's turn."""
        now, deadline, self._left_until = time.monotonic_ns(), self._left_until, 0.0
        if not self._queue.poll(0):
            return self._watch()
        if self._shares.is_anothers_turn(now):
            if self._loop.time() < deadline:
                return self._leave(deadline)
            self._shares.go_on_without(now)
        self._watch()
        self._accept()

    def _lost(self) -> None:
        """A connection has been closed; now it may be this worker's turn."""
        self._shares.add(-1)
        if self._left_until and self._resting is not None:
            self._resting.cancel()
            self._resting = self._loop.call_soon(self._look_again)

    def _accept(self) -> None:
        try:
            accepted, _ = self._listener.accept()
        except OSError as error:
            return None if error.errno in TRANSIENT else self._refused(error)
        self._shares.add(1)
        connection = Connection(accepted, self._lost)
        task = self._loop.create_task(self._open(connection))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    def _refused(self, error: OSError) -> None:
        now = self._loop.time()
        if now >= self._quiet_until:
            self._quiet_until = now + QUIET
            log.warning("cannot accept connections: %s", error.strerror or error, extra={"pid": os.getpid()})
        self._rest(PAUSE, self._watch)

    async def _open(self, connection: Connection) -> None:
        try:
            protocol = self._factory()
            await self._loop.connect_accepted_socket(lambda: protocol, connection, ssl=self._tls)
        except OSError as error:
            connection.close()  # it counts no more, whether the loop has taken it or not
            log.debug("connection not opened: %s", error)
        except BaseException:
            connection.close()
            raise
        else:
            if self._closed:  # uvicorn has told those to leave that it knew of
                protocol.shutdown()
