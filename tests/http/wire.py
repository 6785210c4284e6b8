"""A connection on which a test says exactly what it wants."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass

HEAD = "Host: 127.0.0.1\r\nTus-Resumable: 1.0.0\r\n"
OCTETS = HEAD + "Content-Type: application/offset+octet-stream\r\n"


@dataclass
class Answer:
    """A response; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class Wire:
    """``send`` bytes, and ``read`` one response at a time. ``context``: over TLS. ``raw``: the connection itself."""

    def __init__(self, port: int, context: ssl.SSLContext | None = None) -> None:
        plain = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.raw = plain if context is None else context.wrap_socket(plain, server_hostname="127.0.0.1")
        self._received = b""

    def send(self, *said: str | bytes) -> None:
        self.raw.sendall(b"".join(each.encode("latin-1") if isinstance(each, str) else each for each in said))

    def read(self, *, head_only: bool = False) -> Answer:
        while b"\r\n\r\n" not in self._received:
            self._more()
        head, self._received = self._received.split(b"\r\n\r\n", 1)
        status, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        size = 0 if head_only else int(headers.get("content-length", "0"))
        while len(self._received) < size:
            self._more()
        body, self._received = self._received[:size], self._received[size:]
        return Answer(int(status.split()[1]), headers, body)

    def silent(self, seconds: float = 0.3) -> bool:
        """Whether the server says nothing for this long."""
        self.raw.settimeout(seconds)
        try:
            return not self._received and not self.raw.recv(1, socket.MSG_PEEK)
        except TimeoutError:
            return True
        finally:
            self.raw.settimeout(10)

    def ended(self) -> bool:
        """Whether the server closes the connection, after whatever it still says."""
        try:
            while self.raw.recv(65536):
                pass
        except ConnectionResetError:
            return True
        return True

    def close(self) -> None:
        self.raw.close()

    def _more(self) -> None:
        more = self.raw.recv(65536)
        if not more:
            raise EOFError(self._received)
        self._received += more


def chunked(data: bytes, sizes: list[int]) -> bytes:
    """The body in chunks of these sizes, over and over; without the last, empty one."""
    out, at, turn = b"", 0, 0
    while at < len(data):
        chunk = data[at : at + sizes[turn % len(sizes)]]
        out += b"%x\r\n%s\r\n" % (len(chunk), chunk)
        at += len(chunk)
        turn += 1
    return out
