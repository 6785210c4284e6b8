"""``tusserver serve --workers 2``: one socket, and each worker takes its share of the connections."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import resource
import signal
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme

from tests.e2e.server import ServerProcess, freeze, received, wait_for

HEALTH = b"GET /healthz HTTP/1.1\r\nHost: media.example\r\n\r\n"


def sockets_of(pid: int) -> set[str]:
    """The sockets that the process has; it may have ended."""
    found = set()
    with contextlib.suppress(OSError):
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):  # closed meanwhile
                found.add(os.readlink(descriptor))
    return {each for each in found if each.startswith("socket:")}


def connections_to(server: ServerProcess) -> set[str]:
    """Those that have been accepted, as ``sockets_of`` has them, whether the client has closed them or not."""
    if server.unix_socket:
        lines = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()]
        taken = [line[6] for line in lines if line[7:] == [str(server.unix_socket)] and line[5] == "03"]
    else:
        lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()]
        taken = [line[9] for line in lines if line[1].endswith(f":{server.port:04X}") and line[3] != "0A"]
    return {f"socket:[{inode}]" for inode in taken}


class Clients:
    """Connections to a server, and how many of them each of its workers has."""

    def __init__(self, server: ServerProcess, workers: int = 2) -> None:
        self.server = server
        self.open: list[socket.socket] = []
        self._workers = workers
        wait_for(lambda: len(self.ready()) == workers, what="the workers")
        self.shares()  # which are nobody's, once those have gone that asked whether it serves

    def ready(self) -> list[int]:
        """The pids of the workers that have said so, from the first one on."""
        lines = [json.loads(line) for line in self.server.log.read_text().splitlines() if line.startswith("{")]
        return [line["pid"] for line in lines if line["event"] == "worker ready"]

    def replaced(self) -> None:
        """Wait for the worker that is started for one that is gone."""
        wait_for(lambda: len(self.ready()) > self._workers, seconds=30, what="another worker")

    def connect(self) -> socket.socket:
        """One more."""
        path = self.server.unix_socket
        raw = socket.socket(socket.AF_UNIX if path else socket.AF_INET)
        self.open.append(raw)
        raw.settimeout(20)
        raw.connect(str(path) if path else ("127.0.0.1", self.server.port))
        return raw

    def close(self, *which: socket.socket) -> None:
        """These; all, where none are named."""
        for raw in which or tuple(self.open):
            self.open.remove(raw)
            raw.close()

    def shares(self) -> list[int]:
        """How many each worker has, as soon as all are taken."""

        def found() -> list[int]:
            now = [
                len(sockets_of(pid) & connections_to(self.server))
                for pid in self.ready()
                if Path(f"/proc/{pid}").exists()
            ]
            return now if sum(now) == len(self.open) else []

        shares: list[int] = wait_for(found, what="all connections")
        return shares

    def even_out(self, at_most: int) -> None:
        """Connect until all have as many; fails when that takes more connections."""
        for _ in range(at_most):
            if len(set(self.shares())) == 1:
                return
            assert answered(self.connect())
        assert len(set(self.shares())) == 1


def answered(raw: socket.socket) -> bool:
    raw.sendall(HEALTH)
    return raw.recv(65536).startswith(b"HTTP/1.1 200")


def mostly(attempt: Callable[[], bool]) -> bool:
    """Four times of five: where the machine has much to do, a worker may come too late for its turn."""
    return sum(attempt() for _ in range(5)) >= 4


@pytest.fixture(params=["port", "unix socket"])
def clients(start: Callable[..., ServerProcess], tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Clients]:
    where = {} if request.param == "port" else {"unix_socket": tmp_path / "tus.sock"}
    found = Clients(start(workers=2, **where))
    yield found
    found.close()


def test_connections_that_come_together(clients: Clients) -> None:
    def even() -> bool:
        clients.close()
        assert clients.shares() == [0, 0]
        for _ in range(16):
            clients.connect()
        return min(clients.shares()) >= 7

    assert mostly(even)
    assert all(answered(raw) for raw in clients.open)


def test_connections_that_come_one_by_one(clients: Clients) -> None:
    def even() -> bool:
        clients.close()
        assert clients.shares() == [0, 0]
        for _ in range(4):
            assert answered(clients.connect())
        return clients.shares() == [2, 2]

    assert mostly(even)


def test_shares_stay_even_while_clients_come_and_go(clients: Clients) -> None:
    for number in range(30):
        for _ in range(8):
            assert answered(clients.connect())
        clients.close(*clients.open[number % 2 :: 2][:8])
        clients.shares()
    clients.even_out(at_most=40)


def test_a_client_that_comes_before_the_workers_is_answered(
    start: Callable[..., ServerProcess], tmp_path: Path
) -> None:
    def came_before(number: int) -> bool:
        server = start(workers=2, unix_socket=tmp_path / f"tus-{number}.sock")  # which is there now
        with socket.socket(socket.AF_UNIX) as raw:
            raw.settimeout(20)
            raw.connect(str(server.unix_socket))
            before = "worker ready" not in server.log.read_text()
            assert answered(raw)
        return before

    assert any(came_before(number) for number in range(5))


def test_a_worker_that_hangs_leaves_its_connections_to_the_other(clients: Clients) -> None:
    hung, _ = clients.ready()
    freeze(hung)
    try:
        for _ in range(16):
            assert answered(clients.connect())
        assert clients.shares() == [0, 16]
    finally:
        os.kill(hung, signal.SIGCONT)
    clients.even_out(at_most=40)


def test_connections_while_a_worker_is_replaced(clients: Clients) -> None:
    killed, _ = clients.ready()
    os.kill(killed, signal.SIGKILL)
    for _ in range(8):
        assert answered(clients.connect())
    clients.replaced()
    clients.even_out(at_most=20)


def test_what_is_queued_when_a_worker_stops_goes_to_the_other(clients: Clients) -> None:
    leaving, hung = clients.ready()
    freeze(hung)
    try:
        os.kill(leaving, signal.SIGTERM)
        wait_for(lambda: not Path(f"/proc/{leaving}/fd").exists() or not sockets_of(leaving), what="it to stop")
        for _ in range(4):
            clients.connect().sendall(HEALTH)
    finally:
        os.kill(hung, signal.SIGCONT)
    assert all(received(raw, b"\r\n").startswith(b"HTTP/1.1 200") for raw in clients.open)


def test_over_tls(start: Callable[..., ServerProcess], tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "both.pem"))
    clients = Clients(start(workers=2, tls_certificate=tmp_path / "both.pem", tls_key=tmp_path / "both.pem"))
    context = ssl.create_default_context()
    authority.configure_trust(context)
    for _ in range(6):
        clients.connect().sendall(b"this is no handshake")
    clients.close()
    clients.shares()
    plain = [clients.connect() for _ in range(8)]
    clients.open = [context.wrap_socket(raw, server_hostname="127.0.0.1") for raw in plain]
    assert all(answered(raw) for raw in clients.open)
    assert min(clients.shares()) >= 3
    clients.close()


def test_a_worker_without_descriptors_takes_connections_again_when_it_has_some(clients: Clients) -> None:
    short, other = clients.ready()
    freeze(other)
    usual = resource.prlimit(short, resource.RLIMIT_NOFILE)
    try:
        in_use = {int(each.name) for each in Path(f"/proc/{short}/fd").iterdir()}
        free = next(number for number in itertools.count() if number not in in_use)
        resource.prlimit(short, resource.RLIMIT_NOFILE, (free, usual[1]))
        raw = clients.connect()
        wait_for(lambda: "cannot accept connections" in clients.server.log.read_text(), what="a warning")
        resource.prlimit(short, resource.RLIMIT_NOFILE, usual)
        assert answered(raw)
    finally:
        os.kill(other, signal.SIGCONT)
    assert clients.server.log.read_text().count("cannot accept connections") == 1
