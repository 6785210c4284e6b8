"""SIGTERM: what arrived is saved, clients are told, and the process is gone, stalled clients or not."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest
import requests

from tests.e2e.server import ServerProcess, received, some_bytes, wait_for
from tests.e2e.test_interruptions import in_queue

pytestmark = pytest.mark.parametrize("way", ["direct", "plain"], indirect=True)

MIB = 1024 * 1024


@pytest.mark.parametrize("workers", [1, 2])
def test_stalled_uploads_are_saved_and_answered(start: Callable[..., ServerProcess], workers: int) -> None:
    server = start(workers=workers, shutdown_timeout="60s")
    data = some_bytes(MIB)
    uploads = [(url := server.create(MIB), server.opened_patch(url, 0, MIB)) for _ in range(5)]
    for _, raw in uploads:
        raw.sendall(data[:400_000])
    wait_for(lambda: all(in_queue(raw) == 0 for _, raw in uploads))
    server.terminate(seconds=30)  # it waits for none of them
    for _, raw in uploads:
        raw.settimeout(5)
        answer = raw.recv(65536).decode()
        assert answer.startswith("HTTP/1.1 503")
        assert "upload-offset: 400000" in answer
        assert "retry-after: 1" in answer
    server.start()
    for url, _ in uploads:
        assert server.offset(url, timeout=2) == 400_000  # the lease was given back: nobody waits for it
        assert server.patch(url, 400_000, data[400_000:]).status_code == 204
        assert server.stored(url) == data


def test_a_download_that_is_cut_off_is_not_answered_twice(start: Callable[..., ServerProcess]) -> None:
    server = start(shutdown_timeout="1s")
    size = 32 * MIB  # more than the connection takes up
    url = server.create(size)
    assert server.patch(url, 0, bytes(size)).status_code == 204
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as raw:
        raw.sendall(f"GET {url[len(server.origin) :]} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert received(raw, b"\r\n\r\n").startswith(b"HTTP/1.1 200")
        server.terminate(seconds=20)
    assert "shutting_down" not in server.log.read_text()


def test_a_second_server_on_the_port_says_so(start: Callable[..., ServerProcess]) -> None:
    server = start()
    second = ServerProcess(server.directory, {"port": server.port}, name="second")
    with pytest.raises(AssertionError, match="Choose others with --host and --port"):
        # the first one answers, so look at the second's own end
        second.start()
        wait_for(lambda: second.process is not None and second.process.poll() is not None)
        raise AssertionError(second.log.read_text())
    assert requests.get(f"{server.origin}/healthz", timeout=5).ok
