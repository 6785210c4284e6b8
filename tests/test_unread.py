"""Answers that the client does not read."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.e2e.server import wait_for
from tests.serving import serving
from tusserver import unread
from tusserver.connection import UploadProtocol

KIB = 1024
MIB = 1024 * KIB
SIZE = 16 * MIB
"""More than the connection takes up."""


class Large:
    """Answers with SIZE bytes, to ``/blocks`` one after the other, to ``/little`` with so many that some are left over
    that the connection does not take up. ``begun`` and ``ended``: how many answers."""

    def __init__(self) -> None:
        self.begun = self.ended = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.begun += 1
        if scope["path"] == "/little":
            return await self._little(send)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % SIZE)]})
        size = MIB if scope["path"] == "/blocks" else SIZE
        for sent in range(0, SIZE, size):
            await send({"type": "http.response.body", "body": bytes(size), "more_body": sent + size < SIZE})
        self.ended += 1

    async def _little(self, send: Any) -> None:
        transport = send.__self__._connection.transport
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while transport.get_write_buffer_size() == 0:
            await send({"type": "http.response.body", "body": bytes(KIB), "more_body": True})
        assert not send.__self__._connection.write_paused
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        self.ended += 1


@pytest.fixture
def large() -> Large:
    return Large()


@pytest.fixture
def port(large: Large, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(unread, "UNREAD_SECONDS", 1.0)
    with serving(large, lifespan=False, http=UploadProtocol, keep_alive=60) as url:
        yield urlsplit(url).port or 0


def asking(port: int, path: str, header: str = "X: y") -> socket.socket:
    connected = socket.create_connection(("127.0.0.1", port), timeout=20)
    connected.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n{header}\r\n\r\n".encode())
    return connected


def all_of(connected: socket.socket, at_once: int, pause: float) -> int:
    """Read to the end of the answer, or of the connection; how many bytes came."""
    came = 0
    with contextlib.suppress(ConnectionResetError):
        while came < SIZE and (block := connected.recv(at_once)):
            came += len(block)
            time.sleep(pause)
    return came


@pytest.mark.parametrize(
    ("path", "header"),
    [
        ("/whole", "X: y"),
        ("/blocks", "X: y"),
        ("/whole", "Connection: close"),
        ("/blocks", "Connection: close"),
        ("/little", "Connection: close"),
    ],
)
def test_who_reads_nothing_is_given_up(large: Large, port: int, path: str, header: str) -> None:
    with asking(port, path, header) as connected:
        wait_for(lambda: large.begun == 1)
        wait_for(lambda: large.ended == 1, what="the application to be let go")
        wait_for(lambda: not _open(port), what="the connection to end")
        assert all_of(connected, MIB, 0) < SIZE


def _open(port: int) -> bool:
    """Whether some connection to this port is open at the server's end."""
    wanted = f":{port:04X}"
    lines = [line.split() for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]]
    return any(line[1].endswith(wanted) and line[3] == "01" for line in lines)


@pytest.mark.parametrize("path", ["/whole", "/blocks"])
def test_who_reads_slowly_is_not(large: Large, port: int, path: str) -> None:
    with asking(port, path) as connected:
        began = time.monotonic()
        assert all_of(connected, SIZE // 64, 0.05) >= SIZE
        assert time.monotonic() - began > 2 * unread.UNREAD_SECONDS
