"""What ``tusserver serve`` listens at: a port, or a Unix socket.

Of several processes that accept from one socket, whichever is awake takes nearly all connections, and clients keep
theirs: fifteen of sixteen at one of two workers are no rarity. So where Linux can deal them out, each worker listens at
the port by a socket of its own (``SO_REUSEPORT``), from when it can serve until it stops.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from tusserver.settings import Settings

BACKLOG: Final = 2048

DEALT: Final = sys.platform == "linux"
"""Elsewhere the port may be shared, but connections are not dealt out."""


class CannotServe(Exception):
    """Why the server does not start: one sentence that says what to do."""


class Port(socket.socket):
    """Keeps a port for several processes, and does not listen. Sent to another process, it arrives as a socket of that
    one, bound to the same port."""

    def __reduce__(self) -> Any:
        return _bound, (self.family, self.getsockname())


@contextlib.contextmanager
def listening(settings: Settings) -> Iterator[socket.socket]:
    """The socket for the server, or for each of its workers. Raises CannotServe."""
    if settings.unix_socket is None:
        with _at_port(settings.host, settings.port, dealt=DEALT and settings.workers > 1) as listener:
            yield listener
        return
    path = Path(settings.unix_socket)
    with _at_path(path) as listener:
        try:
            yield listener
        finally:
            path.unlink(missing_ok=True)


def _at_port(host: str, port: int, *, dealt: bool) -> socket.socket:
    try:
        family, *_, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.create_server(where[:2], family=family, backlog=BACKLOG)
        if dealt:  # it is free: who shares a port is not told when another server has it
            with listener:
                address = listener.getsockname()
            return _bound(family, address)
    except OSError as error:
        raise CannotServe(
            f"Cannot listen on {host} port {port}: {error.strerror or error}. Choose others with --host and --port."
        ) from error
    listener.set_inheritable(True)
    return listener


def _bound(family: int, address: Any) -> Port:
    # ``socket.create_server`` would listen too, so that clients come to whoever does not accept, or not yet
    port = Port(family, socket.SOCK_STREAM)
    try:
        port.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        port.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            port.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        port.bind(address)
    except OSError:
        port.close()
        raise
    return port


def _at_path(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if path.exists() and stat.S_ISSOCK(os.stat(path).st_mode):
            path.unlink()
        listener.bind(str(path))
        path.chmod(0o666)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise CannotServe(f"Cannot listen on {path}: {error.strerror}. Choose another with --unix-socket.") from error
    listener.set_inheritable(True)
    return listener
