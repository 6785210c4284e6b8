"""Clients that vanish, stall, race or come back: nothing that arrived is lost, and nobody waits for the dead."""

from __future__ import annotations

import fcntl
import socket
import struct
import termios
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
import requests

from tests.e2e.server import OCTETS, ServerProcess, received, sha256, some_bytes, wait_for
from tests.http.asking import kept

pytestmark = pytest.mark.parametrize("way", ["direct", "plain"], indirect=True)

MIB = 1024 * 1024


def figure(server: ServerProcess, name: str) -> float:
    """What ``/metrics`` says, without labels."""
    for line in requests.get(f"{server.origin}/metrics", timeout=5).text.splitlines():
        if line.startswith(f"tusserver_{name} "):
            return float(line.split()[1])
    raise AssertionError(f"no {name}")


def reset(raw: socket.socket) -> None:
    """End the connection by RST."""
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    raw.close()


def in_queue(raw: socket.socket) -> int:
    """Bytes that this socket's peer has not acknowledged yet."""
    return int(struct.unpack("i", fcntl.ioctl(raw.fileno(), termios.TIOCOUTQ, b"\0\0\0\0"))[0])


def delivered(raw: socket.socket) -> bool:
    """Whether the peer's kernel has everything."""
    return in_queue(raw) == 0


@pytest.mark.requirement("CORE-38", "CORE-41")
@pytest.mark.parametrize("size", [1, 40_000, 3 * MIB + 17])
def test_what_arrived_before_a_fin_is_kept(server: ServerProcess, size: int) -> None:
    data = some_bytes(4 * MIB)
    url = server.create(len(data))
    raw = server.opened_patch(url, 0, len(data))
    raw.sendall(data[:size])
    raw.close()
    assert server.offset(url, timeout=2) == size or wait_for(lambda: server.offset(url) == size, 2)
    assert server.patch(url, size, data[size:]).status_code == 204
    assert server.stored(url) == data


def test_each_byte_that_arrives_is_in_the_figures_once(start: Callable[..., ServerProcess]) -> None:
    """Also those that were counted before the rest came."""
    server = start(progress_every="100ms")
    url = server.create(MIB)
    raw = server.opened_patch(url, 0, MIB)
    raw.sendall(bytes(MIB // 2))
    wait_for(lambda: figure(server, "offset_commits_total") > 0, what="half of it to be counted")
    raw.sendall(bytes(MIB // 2))
    assert received(raw, b"\r\n\r\n").startswith(b"HTTP/1.1 204")
    assert figure(server, "received_bytes_total") == MIB


@pytest.mark.requirement("CORE-38", "CORE-41")
def test_what_arrived_before_a_rst_is_kept(server: ServerProcess) -> None:
    data = some_bytes(4 * MIB)
    url = server.create(len(data))
    raw = server.opened_patch(url, 0, len(data))
    raw.sendall(data[: 2 * MIB])
    wait_for(lambda: in_queue(raw) == 0)
    first = server.offset(url, timeout=3)  # pre-empts: whatever had been delivered is counted
    reset(raw)
    assert 0 < first <= 2 * MIB
    assert server.patch(url, first, data[first:]).status_code == 204
    assert server.stored(url) == data


@pytest.mark.requirement("CORE-38")
def test_a_rst_alone_loses_at_most_what_the_kernel_held(server: ServerProcess) -> None:
    data = some_bytes(4 * MIB)
    url = server.create(len(data))
    raw = server.opened_patch(url, 0, len(data))
    raw.sendall(data[: 2 * MIB])
    wait_for(lambda: in_queue(raw) == 0)
    time.sleep(0.05)
    reset(raw)
    started = time.monotonic()
    offset = server.offset(url, timeout=3)
    assert time.monotonic() - started < 1.5
    assert offset > 0
    assert server.patch(url, offset, data[offset:]).status_code == 204
    assert sha256(server.stored(url)) == sha256(data)


def test_a_hung_connection_is_taken_over_at_once(server: ServerProcess) -> None:
    data = some_bytes(MIB)
    url = server.create(len(data))
    hung = server.opened_patch(url, 0, len(data))
    hung.sendall(data[:300_000])
    wait_for(lambda: in_queue(hung) == 0)
    started = time.monotonic()
    assert server.offset(url) == 300_000
    assert time.monotonic() - started < 1.0
    answer = received(hung).decode()
    assert answer.startswith("HTTP/1.1 409")
    assert "taken_over" in answer
    assert "upload-offset: 300000" in answer
    assert server.patch(url, 300_000, data[300_000:]).status_code == 204
    assert server.stored(url) == data


def test_a_patch_takes_over_from_a_silent_one(server: ServerProcess) -> None:
    data = some_bytes(MIB)
    url = server.create(len(data))
    hung = server.opened_patch(url, 0, len(data))
    wait_for(lambda: figure(server, "bodies_in_progress") >= 1)
    assert server.patch(url, 0, data).status_code == 204
    assert hung.recv(65536).startswith(b"HTTP/1.1 409")
    assert server.stored(url) == data


def test_a_late_patch_does_not_disturb_one_that_is_ahead(server: ServerProcess) -> None:
    data = some_bytes(MIB)
    url = server.create(len(data))
    first = server.opened_patch(url, 0, len(data))
    first.sendall(data[:500_000])
    wait_for(lambda: figure(server, "bodies_in_progress") >= 1)
    time.sleep(0.1)
    refused = server.patch(url, 0, data)
    assert refused.status_code == 409
    assert "Upload-Offset" in refused.headers
    first.sendall(data[500_000:])
    assert first.recv(65536).startswith(b"HTTP/1.1 204")
    assert server.stored(url) == data


def patch_at_the_gate(server: ServerProcess, url: str, gate: threading.Barrier, data: bytes) -> int:
    gate.wait(30)
    return server.patch(url, 0, data).status_code


@pytest.mark.requirement("CORE-30", "CORE-31")
@pytest.mark.parametrize(("workers", "durability"), [(1, "safe"), (2, "safe"), (2, "page-cache")])
def test_of_two_clients_racing_on_one_offset_exactly_one_wins(
    start: Callable[..., ServerProcess], workers: int, durability: str
) -> None:
    server = start(workers=workers, durability=durability)
    for attempt in range(10):
        bodies = [some_bytes(200_000, seed) for seed in (2 * attempt, 2 * attempt + 1)]
        url = server.create(200_000)
        gate = threading.Barrier(2)

        with ThreadPoolExecutor(2) as clients:
            racing = [clients.submit(patch_at_the_gate, server, url, gate, body) for body in bodies]
            statuses = [client.result() for client in racing]
        assert sorted(statuses) in ([204, 409], [204, 413]), statuses
        assert server.stored(url) == bodies[statuses.index(204)]


def test_take_over_between_worker_processes(start: Callable[..., ServerProcess]) -> None:
    server = start(workers=2)
    data = some_bytes(MIB)
    for _ in range(6):
        url = server.create(len(data))
        hung = server.opened_patch(url, 0, len(data))
        hung.sendall(data[:300_000])
        wait_for(partial(delivered, hung))
        wait_for(partial(kept, server, url), what="its worker to have begun")
        started = time.monotonic()
        assert server.offset(url) == 300_000
        assert time.monotonic() - started < 1.5
        assert server.patch(url, 300_000, data[300_000:]).status_code == 204
        assert server.stored(url) == data
        hung.close()


@pytest.mark.requirement("CORE-40")
def test_a_stalled_body_is_ended_by_the_idle_timeout(start: Callable[..., ServerProcess]) -> None:
    server = start(idle_timeout="500ms")
    url = server.create(MIB)
    raw = server.opened_patch(url, 0, MIB)
    raw.sendall(b"x" * 1000)
    answer = raw.recv(65536)
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"upload-offset: 1000" in answer
    raw.settimeout(5)
    while raw.recv(65536):
        pass
    assert server.offset(url) == 1000


def test_the_server_answers_quickly_while_uploads_contend(server: ServerProcess) -> None:
    """The event loop is never held up: other requests are answered while uploads run, stall and fight."""
    stop = threading.Event()
    urls = [server.create(64 * MIB) for _ in range(4)]

    def fight(url: str) -> None:
        while not stop.is_set():
            offset = server.offset(url)
            requests.patch(
                url,
                data=some_bytes(min(MIB, 64 * MIB - offset)),
                headers={**OCTETS, "Upload-Offset": str(offset)},
                timeout=30,
            )

    clients = [threading.Thread(target=fight, args=(url,)) for url in urls for _ in range(2)]
    for client in clients:
        client.start()
    slowest = 0.0
    try:
        for _ in range(100):
            started = time.monotonic()
            assert requests.get(f"{server.origin}/healthz", timeout=10).ok
            slowest = max(slowest, time.monotonic() - started)
    finally:
        stop.set()
        for client in clients:
            client.join()
    assert slowest < 1.0


def test_progress_is_committed_while_a_long_patch_runs(start: Callable[..., ServerProcess]) -> None:
    server = start(progress_every="100ms", lease_ttl="1s")
    data = some_bytes(MIB)
    url = server.create(len(data))
    raw = server.opened_patch(url, 0, len(data))
    raw.sendall(data[:700_000])
    wait_for(lambda: in_queue(raw) == 0)
    time.sleep(0.5)
    server.kill()
    server.start()
    assert server.offset(url) == 700_000
    assert server.patch(url, 700_000, data[700_000:]).status_code == 204
    assert server.stored(url) == data
