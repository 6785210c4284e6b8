"""The load: tus requests over plain sockets, cheap enough not to be what is measured.

Bodies go out by ``sendfile`` from a file in memory; each connection of a parallel workload is a process of its own. How
far that can go shows against a sink that only throws away (``bench.sink``).
"""

from __future__ import annotations

import functools
import multiprocessing
import os
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection as Pipe
from multiprocessing.synchronize import Barrier
from urllib.parse import urlsplit

MIB = 1024 * 1024
SMALL = 16 * 1024
SOURCE = 8 * MIB
CONNECTIONS = 16

PATCHING = "Content-Type: application/offset+octet-stream\r\n"
# some servers want a file name and a type
NAMED = "Upload-Metadata: filename YmVuY2gubXA0,filetype dmlkZW8vbXA0\r\n"


class Connection:
    """A keep-alive connection to a server whose uploads are created at ``path``. One that does not speak tus gets each
    PATCH as a PUT of its own. ``seconds``: what each request took."""

    def __init__(self, port: int, path: str, tus: bool = True) -> None:
        self.seconds: list[float] = []
        self._port = port
        self._path = path
        self._tus = tus
        self._socket = self._connected()

    def create(self, length: int) -> str:
        """POST; returns the upload's path."""
        if not self._tus:
            return f"/{os.urandom(8).hex()}"
        headers = self._request("POST", self._path, f"Upload-Length: {length}\r\n{NAMED}", 0, 201)
        return urlsplit(headers["location"]).path

    def create_with(self, size: int) -> str:
        """POST of a whole upload; returns its path."""
        headers = f"Upload-Length: {size}\r\n{NAMED}{PATCHING}"
        return urlsplit(self._request("POST", self._path, headers, size, 201)["location"]).path

    def patch(self, path: str, offset: int, size: int) -> None:
        """PATCH ``size`` bytes at ``offset``."""
        if not self._tus:
            self._request("PUT", f"{path}.{offset}" if offset else path, "", size, 201)
            return
        headers = self._request("PATCH", path, f"Upload-Offset: {offset}\r\n{PATCHING}", size, 204)
        if headers.get("upload-offset") != str(offset + size):
            raise RuntimeError(f"PATCH of {size} bytes at {offset} was answered {headers}")

    def head(self, path: str) -> None:
        """HEAD."""
        self._request("HEAD", path, "", 0, 200)

    def delete(self, path: str) -> None:
        """DELETE; where several PUTs made an upload, the others stay until the server's directory goes."""
        self._request("DELETE", path, "", 0, 204)

    def begin(self, path: str, size: int) -> None:
        """The head of a PATCH of ``size`` bytes; ``push`` sends some of them, and nobody waits for an answer."""
        head = f"PATCH {path} HTTP/1.1\r\nHost: x\r\nTus-Resumable: 1.0.0\r\nContent-Length: {size}\r\n"
        self._socket.sendall(f"{head}Upload-Offset: 0\r\n{PATCHING}\r\n".encode())

    def push(self, size: int) -> None:
        """Some bytes of the body that was begun."""
        self._socket.sendall(bytes(size))

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def upload(self, size: int, step: int) -> str:
        """A whole upload, ``step`` bytes in each PATCH; returns its path."""
        path = self.create(size)
        for offset in range(0, size, step):
            self.patch(path, offset, min(step, size - offset))
        return path

    def _connected(self) -> socket.socket:
        connected = socket.create_connection(("127.0.0.1", self._port))
        # sendfile wants a blocking socket, which Python's own timeouts do not leave it
        for direction in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            connected.setsockopt(socket.SOL_SOCKET, direction, struct.pack("ll", 120, 0))
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connected

    def _request(self, method: str, path: str, headers: str, size: int, expected: int) -> dict[str, str]:
        began = time.perf_counter()
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\nTus-Resumable: 1.0.0\r\n"
            f"Content-Length: {size}\r\n{headers}\r\n"
        )
        self._socket.sendall(head.encode(), socket.MSG_MORE if size else 0)
        self._send(size)
        answer = b""
        while b"\r\n\r\n" not in answer:
            received = self._socket.recv(65536)
            if not received:
                raise ConnectionError(f"{method} {path}: the server closed the connection")
            answer += received
        lines = answer.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
        said = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        self.seconds.append(time.perf_counter() - began)
        if int(lines[0].split()[1]) != expected:
            raise RuntimeError(f"{method} {path} was answered {lines[0]} instead of {expected}")
        if said.get("connection", "").lower() == "close":
            self._socket.close()
            self._socket = self._connected()
        elif method != "HEAD":
            missing = int(said.get("content-length", 0)) - len(answer.partition(b"\r\n\r\n")[2])
            while missing > 0:
                missing -= len(self._socket.recv(missing))
        return said

    def _send(self, size: int) -> None:
        while size:
            step, start = min(size, SOURCE), 0
            while start < step:
                start += os.sendfile(self._socket.fileno(), _source(), start, step - start)
            size -= step


@dataclass(frozen=True, kw_only=True, slots=True)
class Workload:
    """What is measured. ``unit`` says what ``amount`` counts: bytes or requests. ``run`` does one connection's share
    and returns the paths of the uploads that it made."""

    name: str
    unit: str
    amount: int
    connections: int
    run: Callable[[Connection], list[str]]
    only_tus: bool = False


def workloads(size: int, requests: int) -> list[Workload]:
    """The workloads, with ``size`` bytes in each of the big ones and ``requests`` in each of the small ones."""
    share, each = size // 8, requests // CONNECTIONS

    def whole(connection: Connection) -> list[str]:
        return [connection.upload(size, size)]

    def stepwise(connection: Connection) -> list[str]:
        return [connection.upload(size, 8 * MIB)]

    def parallel(connection: Connection) -> list[str]:
        return [connection.upload(share, 5 * MIB)]

    def small(connection: Connection) -> list[str]:
        return [connection.upload(SMALL, SMALL) for _ in range(each // 2)]

    def at_once(connection: Connection) -> list[str]:
        return [connection.create_with(SMALL) for _ in range(each // 2)]

    def head(connection: Connection) -> list[str]:
        path = connection.create(SMALL)
        for _ in range(each):
            connection.head(path)
        return [path]

    mib = size // MIB
    return [
        Workload(name=f"one PATCH of {mib} MiB", unit="bytes", amount=size, connections=1, run=whole),
        Workload(name=f"{mib} MiB in 8 MiB PATCHes", unit="bytes", amount=size, connections=1, run=stepwise),
        Workload(name="8 uploads at once, 5 MiB PATCHes", unit="bytes", amount=share * 8, connections=8, run=parallel),
        Workload(
            name="16 KiB uploads, 16 connections",
            unit="requests",
            amount=each // 2 * 2 * CONNECTIONS,
            connections=CONNECTIONS,
            run=small,
            only_tus=True,
        ),
        Workload(
            name="16 KiB uploads in one request, 16 connections",
            unit="requests",
            amount=each // 2 * CONNECTIONS,
            connections=CONNECTIONS,
            run=at_once,
            only_tus=True,
        ),
        Workload(
            name="HEAD, 16 connections",
            unit="requests",
            amount=each * CONNECTIONS,
            connections=CONNECTIONS,
            run=head,
            only_tus=True,
        ),
    ]


@dataclass(frozen=True, kw_only=True, slots=True)
class Driven:
    """What came of a load: ``seconds`` over all, and ``each`` request's; the paths of the uploads that it ``made``."""

    seconds: float
    each: list[float]
    made: list[str]


def drive(workload: Workload, port: int, path: str, tus: bool = True) -> Driven:
    """Put the load on. Raises RuntimeError when a share failed."""
    context = multiprocessing.get_context("fork")
    ready = context.Barrier(workload.connections + 1)
    receiving, sending = zip(*(context.Pipe(duplex=False) for _ in range(workload.connections)), strict=True)
    shares = [context.Process(target=_share, args=(workload, port, path, tus, ready, pipe)) for pipe in sending]
    for share in shares:
        share.start()
    ready.wait(60)
    started = time.perf_counter()
    # every pipe is drained before the join: a full one would hold its writer up
    answers: list[tuple[list[str], list[float]] | str] = [pipe.recv() for pipe in receiving]
    seconds = time.perf_counter() - started
    for share in shares:
        share.join()
    made: list[str] = []
    each: list[float] = []
    for answer in answers:
        if isinstance(answer, str):
            raise RuntimeError(answer)
        made += answer[0]
        each += answer[1]
    return Driven(seconds=seconds, each=each, made=made)


def _share(workload: Workload, port: int, path: str, tus: bool, ready: Barrier, pipe: Pipe) -> None:
    connection = Connection(port, path, tus)
    ready.wait(60)
    try:
        pipe.send((workload.run(connection), connection.seconds))
    except Exception as error:
        pipe.send(f"{workload.name}: {error!r}")


@functools.cache
def _source() -> int:
    source = os.memfd_create("bench")
    block = os.urandom(MIB)
    for _ in range(SOURCE // MIB):
        os.write(source, block)
    return source
