"""What ``tusserver serve`` listens at: a port, or a Unix socket. From the start, clients wait until they are served."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from tusserver.settings import Settings

BACKLOG: Final = 2048


class CannotServe(Exception):
    """Why the server does not start: one sentence that says what to do."""


@contextlib.contextmanager
def listening(settings: Settings) -> Iterator[socket.socket]:
    """The socket for the server, or for its workers together. Raises CannotServe."""
    if settings.unix_socket is None:
        with _at_port(settings.host, settings.port) as listener:
            yield listener
        return
    path = Path(settings.unix_socket)
    with _at_path(path) as listener:
        try:
            yield listener
        finally:
            path.unlink(missing_ok=True)


def _at_port(host: str, port: int) -> socket.socket:
    try:
        family, *_, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.create_server(where[:2], family=family, backlog=BACKLOG)
    except OSError as error:
        raise CannotServe(
            f"Cannot listen on {host} port {port}: {error.strerror or error}. Choose others with --host and --port."
        ) from error
    listener.set_inheritable(True)
    return listener


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


def address(name: Any) -> tuple[str, int | None] | None:
    """As ASGI has it: host and port, or the path of a Unix socket that has one."""
    if isinstance(name, tuple):
        return str(name[0]), int(name[1])
    return (name, None) if name and isinstance(name, str) else None
