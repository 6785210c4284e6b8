"""One worker's acceptor, by itself: what it counts, however a connection ends, in either event loop."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import trustme
import uvloop

from tests.e2e.server import wait_for
from tusserver.accepting import Acceptor
from tusserver.shares import Shares, make


class Echo(asyncio.Protocol):
    """Says what it hears; as uvicorn's, it can be told to leave."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)

    def shutdown(self) -> None:
        self.transport.close()


class Accepting:
    """An acceptor in an event loop in a thread, and the file that it shows its connections in."""

    def __init__(
        self, path: Path, factory: Callable[[], asyncio.AbstractEventLoop], tls: ssl.SSLContext | None
    ) -> None:
        make(path, 1)
        self._path = path
        self.loop = factory()
        self._tls = tls
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = self.listener.getsockname()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        self.acceptor = self.do(self._made)

    def do(self, work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        return asyncio.run_coroutine_threadsafe(work(), self.loop).result(10)

    def shown(self) -> tuple[bool, int]:
        """Whether it takes connections, and how many it has."""
        looked, connections = memoryview(self._path.read_bytes()[:16]).cast("q")
        return looked > 0, connections

    def stop(self) -> None:
        async def close() -> None:
            self.acceptor.close()

        self.do(close)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()
        self.listener.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    async def _made(self) -> Acceptor:
        with self._path.open("r+b") as file:
            return Acceptor(self.loop, self.listener, Shares(file.fileno(), 0), Echo, self._tls)


Start = Callable[..., Accepting]


@pytest.fixture(params=[uvloop.new_event_loop, asyncio.SelectorEventLoop], ids=["uvloop", "asyncio"])
def start(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Start]:
    started: list[Accepting] = []

    def starter(tls: ssl.SSLContext | None = None) -> Accepting:
        started.append(Accepting(tmp_path / "connections", request.param, tls))
        return started[-1]

    yield starter
    for each in started:
        each.stop()


def said_back(raw: socket.socket) -> bool:
    raw.sendall(b"hello")
    return raw.recv(5) == b"hello"


def test_what_is_open_is_counted(start: Start) -> None:
    accepting = start()
    assert accepting.shown() == (True, 0)
    with socket.create_connection(accepting.address, 10) as first:
        with socket.create_connection(accepting.address, 10) as second:
            assert said_back(first) and said_back(second)
            assert accepting.shown() == (True, 2)
        wait_for(lambda: accepting.shown() == (True, 1))
        assert said_back(first)
    wait_for(lambda: accepting.shown() == (True, 0))


def test_what_never_becomes_tls_is_not_counted_for_ever(start: Start) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    accepting = start(context)
    with socket.create_connection(accepting.address, 10) as raw:
        wait_for(lambda: accepting.shown() == (True, 1))
        raw.sendall(b"this is no handshake")
        wait_for(lambda: accepting.shown() == (True, 0))
    with socket.create_connection(accepting.address, 10):
        wait_for(lambda: accepting.shown() == (True, 1))
    wait_for(lambda: accepting.shown() == (True, 0))
    client = ssl.create_default_context()
    authority.configure_trust(client)
    with client.wrap_socket(socket.create_connection(accepting.address, 10), server_hostname="127.0.0.1") as raw:
        assert said_back(raw)
        assert accepting.shown() == (True, 1)
    wait_for(lambda: accepting.shown() == (True, 0))


def test_once_closed_it_takes_none_and_keeps_what_it_has(start: Start) -> None:
    accepting = start()
    with socket.create_connection(accepting.address, 10) as kept:
        assert said_back(kept)

        async def close() -> None:
            accepting.acceptor.close()
            accepting.acceptor.close()
            await accepting.acceptor.wait_closed()

        accepting.do(close)
        assert accepting.shown() == (False, 1)
        with socket.create_connection(accepting.address, 10):
            assert said_back(kept)
            assert accepting.shown() == (False, 1)
            accepting.listener.setblocking(True)
            accepting.listener.accept()[0].close()  # still queued, for anybody else


def test_one_taken_in_the_last_moment_is_told_to_leave(start: Start) -> None:
    accepting = start()

    async def taken_while_closing() -> socket.socket:
        raw = socket.create_connection(accepting.address, 10)
        accepting.acceptor._accept()
        accepting.acceptor.close()
        return raw

    with accepting.do(taken_while_closing) as raw:
        assert raw.recv(100) == b""
    wait_for(lambda: accepting.shown() == (False, 0))


def test_one_that_another_worker_leaves_is_taken_soon_and_the_next_at_once(start: Start, tmp_path: Path) -> None:
    accepting = start()
    with (tmp_path / "connections").open("r+b") as file:
        idle = Shares(file.fileno(), 1)
    idle.enter(time.monotonic_ns())
    with (
        socket.create_connection(accepting.address, 10) as first,
        socket.create_connection(accepting.address) as second,
    ):
        assert said_back(first) and said_back(second)
        assert accepting.acceptor._resting is not None
        rested = accepting.acceptor._resting
        with socket.create_connection(accepting.address, 10) as third:
            assert said_back(third)
        assert accepting.acceptor._resting is rested
