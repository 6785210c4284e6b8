"""A TCP proxy that slows connections down and cuts them, as a bad network does."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import threading
from types import TracebackType

BLOCK = 64 * 1024


class Cut(Exception):
    """A connection has carried what it may carry."""


class Proxy:
    """Carries connections to a local port for as long as the context lasts.

    ``rate``: bytes per second of each direction of a connection (None: as they come). ``seed`` makes it faulty: each
    connection is cut, by FIN or by RST, after a random number of bytes between 2000 and ``reach``, both directions
    together. ``passed`` counts the bytes carried and ``cuts`` the connections cut so far.
    """

    def __init__(self, target: int, *, rate: float | None = None, seed: int | None = None, reach: int = 0) -> None:
        self.passed = 0
        self.cuts = 0
        self.rate = rate
        self._target = target
        self._random = None if seed is None else random.Random(seed)
        self._reach = reach
        # asyncio alone would let go of a task whose connections have both been half closed
        self._carrying: set[asyncio.Task[None]] = set()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/files"

    def __enter__(self) -> Proxy:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()

    async def _serve(self) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        listener = socket.socket()
        # little room on the way, so that what a client has sent has nearly arrived
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2 * BLOCK)
        listener.bind(("127.0.0.1", 0))
        self._port = listener.getsockname()[1]
        server = await asyncio.start_server(self._accept, sock=listener)
        self._ready.set()
        await self._over.wait()
        server.close()
        for task in self._carrying:
            task.cancel()
        await asyncio.gather(*self._carrying, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._connect(reader, writer))
        self._carrying.add(task)
        task.add_done_callback(self._carrying.discard)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            return end(writer, by_reset=True)
        connection = Connection(self, None if self._random is None else self._random.randrange(2000, self._reach))
        by_reset = False
        try:
            async with asyncio.TaskGroup() as directions:
                directions.create_task(connection.carry(reader, far_writer))
                directions.create_task(connection.carry(far_reader, writer))
        except* Cut:
            self.cuts += 1
            by_reset = self._random is not None and self._random.random() < 0.5
        finally:
            end(writer, by_reset)
            end(far_writer, by_reset)


class Connection:
    """One connection through the proxy; ``left``: bytes that it may still carry."""

    def __init__(self, proxy: Proxy, left: int | None) -> None:
        self._proxy = proxy
        self._left = left

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one direction to its end. Raises Cut."""
        try:
            while block := await reader.read(BLOCK):
                writer.write(self._allowed(block))
                if self._left == 0:
                    raise Cut
                await writer.drain()
                if self._proxy.rate is not None:
                    await asyncio.sleep(len(block) / self._proxy.rate)
            writer.write_eof()
        except OSError:
            # a sender that is gone takes the receiver along; a receiver that is gone may still have said something
            if reader.exception() is not None:
                end(writer, by_reset=True)

    def _allowed(self, block: bytes) -> bytes:
        if self._left is not None:
            block = block[: self._left]
            self._left -= len(block)
        self._proxy.passed += len(block)
        return block


def end(writer: asyncio.StreamWriter, by_reset: bool) -> None:
    """Close, by RST at once, or by FIN when all is sent."""
    if not by_reset:
        return writer.close()
    if (raw := writer.get_extra_info("socket")) is not None and raw.fileno() != -1:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
