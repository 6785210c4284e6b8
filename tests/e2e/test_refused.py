"""What is refused early, by this server or by the kernel under it."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path

import pytest

from tests.e2e.measured import MeasuredServer
from tests.e2e.server import ServerProcess, received, sha256, some_bytes
from tests.e2e.test_direct import copied

MIB = 1024 * 1024
GIB = 1024 * MIB


def sent_until_refused(raw: socket.socket) -> int:
    """Send a body of 1 GiB without listening, as many clients do; the bytes that got away."""
    sent, block = 0, bytes(MIB)
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        while sent < GIB:
            sent += raw.send(block)
    return sent


@pytest.mark.parametrize("way", ["direct", "plain"], indirect=True)
def test_a_client_that_goes_on_sending_gets_to_read_why_not(server: ServerProcess) -> None:
    url = server.create(2 * GIB)
    raw = server.opened_patch(url, 5, GIB)
    assert sent_until_refused(raw) < 64 * MIB
    answer = received(raw, b"offset_mismatch").lower()
    assert answer.startswith(b"http/1.1 409")
    assert b"connection: close" in answer
    assert server.offset(url) == 0


def test_a_kernel_that_refuses_to_splice_is_not_asked_again(tmp_path: Path) -> None:
    server = MeasuredServer(tmp_path, {}, no_splice=True)
    server.start()
    try:
        data = some_bytes(16 * MIB)
        url = server.create(len(data))
        before = copied(server)
        assert server.patch(url, 0, data).status_code == 204
        assert copied(server) - before > 16 * MIB
        assert sha256(server.stored(url)) == sha256(data)
        assert "Traceback" not in server.log.read_text()
    finally:
        server.stop()
