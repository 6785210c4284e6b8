"""The load: tus requests over plain sockets, cheap enough not to be what is measured.

Bodies go out by ``sendfile`` from a file in memory. How far that can go shows against a sink that only throws away
(``bench.sink``).
"""

from __future__ import annotations

import functools
import os
import socket
import struct
import time
from urllib.parse import urlsplit

MIB = 1024 * 1024
SOURCE = 8 * MIB

PATCHING = "Content-Type: application/offset+octet-stream\r\n"
# some servers want a file name and a type
NAMED = "Upload-Metadata: filename YmVuY2gubXA0,filetype dmlkZW8vbXA0\r\n"


class Connection:
    """A keep-alive connection to a server whose uploads are created at ``path``. One that does not speak tus gets each
    PATCH as a PUT of its own. ``seconds``: what each request took, by method; ``made``: the paths of what lies at the
    server then."""

    def __init__(self, port: int, path: str, tus: bool = True) -> None:
        self.seconds: dict[str, list[float]] = {}
        self.made: list[str] = []
        self._port = port
        self._path = path
        self._tus = tus
        self._socket = self._connected()

    def create(self, length: int) -> str:
        """POST; returns the upload's path."""
        if not self._tus:
            return f"/{os.urandom(8).hex()}"
        return self._created(f"Upload-Length: {length}\r\n{NAMED}", 0)

    def create_with(self, size: int) -> str:
        """POST of a whole upload; returns its path."""
        return self._created(f"Upload-Length: {size}\r\n{NAMED}{PATCHING}", size)

    def patch(self, path: str, offset: int, size: int) -> None:
        """PATCH ``size`` bytes at ``offset``."""
        if not self._tus:
            self.made.append(f"{path}.{offset}")
            self._request("PUT", self.made[-1], "", size, 201)
            return
        headers = self._request("PATCH", path, f"Upload-Offset: {offset}\r\n{PATCHING}", size, 204)
        if headers.get("upload-offset") != str(offset + size):
            raise RuntimeError(f"PATCH of {size} bytes at {offset} was answered {headers}")

    def head(self, path: str) -> None:
        """HEAD."""
        self._request("HEAD", path, "", 0, 200)

    def delete(self, path: str) -> None:
        """DELETE."""
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

    def upload(self, size: int, step: int) -> None:
        """A whole upload, ``step`` bytes in each PATCH."""
        path = self.create(size)
        for offset in range(0, size, step):
            self.patch(path, offset, min(step, size - offset))

    def _created(self, headers: str, size: int) -> str:
        self.made.append(urlsplit(self._request("POST", self._path, headers, size, 201)["location"]).path)
        return self.made[-1]

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
        self.seconds.setdefault(method, []).append(time.perf_counter() - began)
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
                start += os.sendfile(self._socket.fileno(), source(), start, step - start)
            size -= step


@functools.cache
def source() -> int:
    """What bodies are sent from; made once, by whoever asks first."""
    source = os.memfd_create("bench")
    block = os.urandom(MIB)
    for _ in range(SOURCE // MIB):
        os.write(source, block)
    return source
