"""Memory stays flat: one upload of 5 GiB in one PATCH, and 200 slow ones at once."""

from __future__ import annotations

import shutil
import socket
import threading
import time
from collections.abc import Iterator
from types import TracebackType

import pytest
import requests

from tests.e2e.server import ServerProcess, some_bytes

pytestmark = pytest.mark.parametrize("way", ["direct", "plain"], indirect=True)

MIB = 1024 * 1024
GIB = 1024 * MIB
ROOM = 100 * MIB


class Memory(threading.Thread):
    """Watches the server for as long as the context lasts: ``growth`` is the most bytes that it took over what it
    had when idle."""

    def __init__(self, server: ServerProcess) -> None:
        super().__init__()
        self._server = server
        self._over = threading.Event()
        self._idle = server.memory()
        self.growth = 0

    def run(self) -> None:
        while not self._over.wait(0.02):
            self.growth = max(self.growth, self._server.memory() - self._idle)

    def __enter__(self) -> Memory:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._over.set()
        self.join()


@pytest.fixture
def tidy(server: ServerProcess) -> Iterator[None]:
    """Takes away what was uploaded, however the test ends: it is too much to keep."""
    yield
    server.stop()
    shutil.rmtree(server.uploads)


class Generated:
    """``size`` bytes that nobody holds: blocks of 1 MiB that all differ, each at its place."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._pool = memoryview(some_bytes(17 * MIB))

    def blocks(self) -> Iterator[memoryview]:
        """The blocks from the first to the last."""
        for number in range(self.size // MIB):
            start = number * 4099 % (16 * MIB)
            yield self._pool[start : start + MIB]


def answer_to(raw: socket.socket) -> bytes:
    """The head of the response."""
    answer = b""
    while b"\r\n\r\n" not in answer:
        more = raw.recv(65536)
        assert more, answer
        answer += more
    return answer.lower()


def assert_downloads(server: ServerProcess, url: str, source: Generated) -> None:
    """What GET gives is what was sent, block by block."""
    buffer = bytearray(MIB)
    with requests.get(url, stream=True, timeout=60) as answer:
        assert answer.headers["Content-Length"] == str(source.size)
        for number, block in enumerate(source.blocks()):
            view = memoryview(buffer)
            while view:
                got = answer.raw.readinto(view)
                assert got, f"ended in block {number}"
                view = view[got:]
            assert buffer == block, f"block {number} differs"
        assert answer.raw.read(1) == b""


@pytest.mark.timeout(600)
@pytest.mark.usefixtures("tidy")
@pytest.mark.requirement("CORE-25", "CORE-36")
def test_five_gib_in_one_patch(server: ServerProcess) -> None:
    source = Generated(5 * GIB)
    url = server.create(source.size)
    with Memory(server) as memory:
        with server.opened_patch(url, 0, source.size) as raw:
            for block in source.blocks():
                raw.sendall(block)
            answer = answer_to(raw)
        assert answer.startswith(b"http/1.1 204")
        assert f"upload-offset: {source.size}".encode() in answer
        assert_downloads(server, url, source)
    print(f"grew by {memory.growth / MIB:.0f} MiB")
    assert memory.growth < ROOM


class Dribble:
    """A client that sends its upload bit by bit; ``data`` is what it sends."""

    def __init__(self, server: ServerProcess, data: memoryview) -> None:
        self.data = data
        self.url = server.create(len(data))
        self.raw = server.opened_patch(self.url, 0, len(data))

    def send(self, start: int, stop: int) -> None:
        self.raw.sendall(self.data[start:stop])


@pytest.mark.timeout(300)
@pytest.mark.usefixtures("tidy")
@pytest.mark.requirement("CORE-36")
def test_two_hundred_slow_uploads_at_once(server: ServerProcess) -> None:
    size, rounds, seconds = 2 * MIB, 32, 8.0
    pool = memoryview(some_bytes(size + 200))
    piece = size // rounds
    slowest = 0.0
    with Memory(server) as memory:
        clients = [Dribble(server, pool[number : number + size]) for number in range(200)]
        began = time.monotonic()
        for number in range(rounds):
            for client in clients:
                client.send(number * piece, (number + 1) * piece)
            slowest = max(slowest, seconds_of_a_small_upload(server))
            # in even steps, so that each upload's offset is saved several times on the way
            time.sleep(max(0.0, began + (number + 1) * seconds / rounds - time.monotonic()))
        for client in clients:
            assert answer_to(client.raw).startswith(b"http/1.1 204")
            client.raw.close()
        for client in clients:
            assert server.stored(client.url) == client.data
    print(f"grew by {memory.growth / MIB:.0f} MiB; the slowest small upload took {slowest:.3f} s")
    assert memory.growth < ROOM
    assert slowest < 2.0


def seconds_of_a_small_upload(server: ServerProcess) -> float:
    """How long it takes to create an upload, fill it, and ask for its offset."""
    began = time.monotonic()
    url = server.create(1000)
    assert server.patch(url, 0, bytes(1000)).status_code == 204
    assert server.offset(url) == 1000
    return time.monotonic() - began
