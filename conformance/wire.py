"""HTTP/1.1 below every library that would tidy it up: what is sent is what the case says, byte for byte.

Each exchange is kept, so that a failure can show it and somebody can repeat it.
"""

from __future__ import annotations

import shlex
import socket
import ssl
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import SplitResult, urlsplit

SHOWN: Final = 400
"""Bytes of a body that an exchange shows."""

SECRET: Final = frozenset({"authorization", "cookie", "proxy-authorization", "x-api-key"})

LATE: Final = "no answer in time"

Headers = Sequence[tuple[str, str]]


class NoAnswer(Exception):
    """The connection ended, or the time was over, before an answer came."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One response. Header names are compared without regard to case."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes = b""
    interim: tuple[int, ...] = ()

    def all(self, name: str) -> list[str]:
        """Every value of a header."""
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def get(self, name: str) -> str | None:
        """The header's value, several lines joined as one list (RFC 9110, section 5.3); None when it is absent."""
        values = self.all(name)
        return ", ".join(values) if values else None


@dataclass(slots=True)
class Exchange:
    """What was sent and what came, for people."""

    method: str
    url: str
    headers: list[tuple[str, str]]
    body: bytes = b""
    answer: Answer | None = None
    failure: str = ""
    seconds: float = 0.0
    raw: bool = False

    @property
    def vanished(self) -> bool:
        """Whether the connection was refused, or ended without an answer."""
        return self.answer is None and not self.raw and self.failure != LATE

    def curl(self) -> str:
        """A command that does the same, without secrets."""
        parts = ["curl", "-i"]
        if self.method == "HEAD":
            parts.append("--head")
        elif self.method != "GET":
            parts += ["-X", self.method]
        for name, value in self.headers:
            if name.lower() not in ("host", "content-length"):
                parts += ["-H", f"{name}: {'***' if name.lower() in SECRET else value}"]
        if self.body:
            parts += ["--data-binary", _printable(self.body[:SHOWN])]
        return shlex.join([*parts, self.url])

    def text(self) -> str:
        """Request and answer as they were."""
        lines = [f"> {self.method} {urlsplit(self.url).path or '/'}"]
        lines += [f"> {name}: {'***' if name.lower() in SECRET else value}" for name, value in self.headers]
        if self.body:
            lines.append(f"> ({len(self.body)} bytes) {_printable(self.body[:SHOWN])}")
        if self.answer is None:
            lines.append(f"< {self.failure or 'no answer'}")
        else:
            lines += [f"< {status} (interim)" for status in self.answer.interim]
            lines.append(f"< {self.answer.status}   after {self.seconds:.3f} s")
            lines += [f"< {name}: {value}" for name, value in self.answer.headers]
            if self.answer.body:
                lines.append(f"< {_printable(self.answer.body[:SHOWN])}")
        return "\n".join(lines)


@dataclass
class Wire:
    """Opens connections to one origin. ``exchanges`` are those so far."""

    timeout: float = 10.0
    insecure: bool = False
    exchanges: list[Exchange] = field(default_factory=list)
    open: list[Connection] = field(default_factory=list)

    def connect(self, url: str) -> Connection:
        """A new connection to where the URL points."""
        where = urlsplit(url)
        raw: socket.socket = socket.create_connection((str(where.hostname), port_of(where)), self.timeout)
        if where.scheme == "https":
            context = ssl.create_default_context()
            if self.insecure:
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            raw = context.wrap_socket(raw, server_hostname=where.hostname)
        connection = Connection(raw, self.timeout)
        self.open.append(connection)
        return connection

    def ask(
        self, method: str, url: str, headers: Headers = (), body: bytes | None = None, *, linger: bool = False
    ) -> Answer:
        """One request on a connection of its own, which is closed at once, or with ``linger`` only by ``close``.
        Raises NoAnswer, and OSError where nobody is there any more."""
        where = urlsplit(url)
        sent = [("Host", where.netloc), *headers]
        if body is not None or method in ("POST", "PATCH"):
            sent.append(("Content-Length", str(len(body or b""))))
        exchange = Exchange(method, url, sent, body or b"")
        self.exchanges.append(exchange)
        began = time.monotonic()
        connection = self.connect(url)
        try:
            try:
                ending = [] if linger else [("Connection", "close")]
                connection.send(head(method, where, [*sent, *ending]), body or b"")
                exchange.answer = connection.answer(method)
            finally:
                if not linger:
                    connection.close()
        except OSError as error:
            exchange.failure = str(error)
            raise NoAnswer(f"{method}: {error}") from error
        except NoAnswer as error:
            exchange.failure = str(error)
            raise
        finally:
            exchange.seconds = time.monotonic() - began
        return exchange.answer

    def close(self) -> None:
        """Close what a case left open."""
        for connection in self.open:
            connection.close()
        self.open.clear()


class Connection:
    """One connection, for cases that send no ordinary request."""

    def __init__(self, raw: socket.socket, timeout: float) -> None:
        self.raw = raw
        self._timeout = timeout
        self._buffer = b""

    def send(self, *blocks: bytes) -> None:
        """Send; a peer that has closed may have answered all the same, so that is no error here."""
        try:
            for block in blocks:
                if block:
                    self.raw.sendall(block)
        except (BrokenPipeError, ConnectionResetError):
            return

    def answer(self, method: str, timeout: float | None = None) -> Answer:
        """The next response, interim ones noted. Raises NoAnswer."""
        deadline = time.monotonic() + (self._timeout if timeout is None else timeout)
        interim: list[int] = []
        while True:
            status, headers = self._head(deadline)
            if status >= 200:
                return Answer(status, headers, self._body(method, status, headers, deadline), tuple(interim))
            interim.append(status)

    def interim(self, timeout: float) -> int | None:
        """The status of the next response head within the time, whatever it is; None when none comes."""
        try:
            return self._head(time.monotonic() + timeout)[0]
        except NoAnswer:
            return None

    def reset(self) -> None:
        """End by RST."""
        self.raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        self.raw.close()

    def close(self) -> None:
        """End by FIN; closing twice is fine."""
        self.raw.close()

    def closed(self, timeout: float) -> bool:
        """Whether the peer ends the connection within the time."""
        deadline = time.monotonic() + timeout
        try:
            while self._more(deadline):
                continue
        except NoAnswer:
            return False
        return True

    def _head(self, deadline: float) -> tuple[int, tuple[tuple[str, str], ...]]:
        while b"\r\n\r\n" not in self._buffer:
            if not self._more(deadline):
                raise NoAnswer("the connection ended without an answer")
        raw, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        first, *lines = raw.decode("latin-1").split("\r\n")
        version, _, rest = first.partition(" ")
        if not version.startswith("HTTP/1.") or not rest[:3].isdecimal():
            raise NoAnswer(f"this is no HTTP answer: {first[:80]!r}")
        pairs = (line.partition(":") for line in lines)
        return int(rest[:3]), tuple((name.strip(), value.strip()) for name, _, value in pairs)

    def _body(self, method: str, status: int, headers: Iterable[tuple[str, str]], deadline: float) -> bytes:
        said = {name.lower(): value for name, value in headers}
        if method == "HEAD" or status in (204, 304):
            return b""
        if said.get("transfer-encoding", "").lower() == "chunked":
            return self._chunks(deadline)
        if "content-length" in said:
            return self._exactly(int(said["content-length"]), deadline)
        while self._more(deadline):
            continue
        body, self._buffer = self._buffer, b""
        return body

    def _chunks(self, deadline: float) -> bytes:
        body = b""
        while True:
            size = int(self._line(deadline).split(b";")[0] or b"0", 16)
            if size == 0:
                while self._line(deadline):
                    continue
                return body
            body += self._exactly(size, deadline)
            self._line(deadline)

    def _line(self, deadline: float) -> bytes:
        while b"\r\n" not in self._buffer:
            if not self._more(deadline):
                raise NoAnswer("the connection ended in the middle of an answer")
        line, _, self._buffer = self._buffer.partition(b"\r\n")
        return line

    def _exactly(self, size: int, deadline: float) -> bytes:
        while len(self._buffer) < size:
            if not self._more(deadline):
                raise NoAnswer("the connection ended in the middle of an answer")
        body, self._buffer = self._buffer[:size], self._buffer[size:]
        return body

    def _more(self, deadline: float) -> bool:
        left = deadline - time.monotonic()
        if left <= 0:
            raise NoAnswer(LATE)
        self.raw.settimeout(left)
        try:
            block = self.raw.recv(65536)
        except TimeoutError:
            raise NoAnswer(LATE) from None
        except OSError:
            return False
        self._buffer += block
        return bool(block)


def head(method: str, where: SplitResult, headers: Headers) -> bytes:
    """The bytes of a request's head."""
    target = (where.path or "/") + (f"?{where.query}" if where.query else "")
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape")


def port_of(where: SplitResult) -> int:
    """The port, said or usual."""
    return where.port or (443 if where.scheme == "https" else 80)


def _printable(body: bytes) -> str:
    return body.decode("ascii", "backslashreplace")
