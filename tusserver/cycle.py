"""One request and its response on a connection of ``tusserver.connection``, as an ASGI application has them.

Beyond what ASGI asks for:

* ``receive()`` hands out what has arrived before it says that the client has gone.
* A body that has arrived whole can be had at once, and the rest of a larger one can be claimed: reading stops then, and
  whoever claimed it takes the bytes from the socket (``tusserver.body.Direct``, by the extension ``tusserver.direct``).
* An answer that is known whole can be sent in one go (``tusserver.exchange.sent_whole``).
"""

from __future__ import annotations

import asyncio
import http
import logging
import os
from collections.abc import Iterable
from typing import Protocol

from starlette.types import ASGIApp, Message, Scope
from uvicorn.server import ServerState

from tusserver.body import Claim
from tusserver.exchange import Headers
from tusserver.wire import (
    CLOSE,
    CONTINUE,
    END,
    LAST_CHUNK,
    STATUS_LINES,
    checked,
    chunk,
    lines,
    lines_of_all,
    raw_lines,
)

log = logging.getLogger("tusserver.connection")


class Connection(Protocol):
    """What a request needs of the connection that it came on. ``write_paused``: the client is slow to take what was
    written."""

    transport: asyncio.Transport
    state: ServerState
    write_paused: bool

    def pause_reading(self) -> None:
        """Leave what comes to the kernel."""
        ...

    def resume_reading(self) -> None:
        """Take what comes, where there is room for it."""
        ...

    async def writable(self) -> None:
        """Wait while writing is paused."""
        ...

    def close(self) -> None:
        """Once what was written has been read, or nobody reads it."""
        ...

    def answered(self) -> None:
        """The response is complete."""
        ...

    def body_taken(self) -> None:
        """A claimed body has come whole; what follows is the next request."""
        ...


class Cycle:
    """``head_only``: the response is to have no body (HEAD). ``keep_alive``: the connection goes on after it.
    ``chunks``: the client knows chunks. ``awaits_continue``: it waits for permission to send its body. ``claimable``:
    bytes of a body that may be claimed.

    ``waiting``: bytes of the body that nobody has asked for yet. ``complete``: all of it has arrived. ``started``: the
    response has begun. ``answered``: it is complete. ``gone``: the client is, or has been told otherwise.
    """

    complete = started = answered = gone = False
    waiting = 0
    _told = _bodiless = _chunked = False
    _left: int | None = None
    _news: asyncio.Event | None = None

    def __init__(
        self,
        connection: Connection,
        *,
        head_only: bool,
        keep_alive: bool,
        chunks: bool,
        awaits_continue: bool,
        claimable: int | None,
    ) -> None:
        self._connection = connection
        self._head_only = head_only
        self.keep_alive = keep_alive
        self._chunks = chunks
        self._awaits_continue = awaits_continue
        self._claimable = claimable
        self._blocks: list[bytes] = []

    async def run(self, app: ASGIApp, scope: Scope) -> None:
        """Have the application answer. Whatever it does wrong ends this request only."""
        status = 500
        try:
            await app(scope, self.receive, self.send)
            if not (self.answered or self.gone):
                log.error("the application has not answered", extra={"method": scope["method"]})
        except asyncio.CancelledError:  # as the process ends, which is nobody's mistake
            status = 503
        except Exception:
            log.exception("the application failed", extra={"method": scope["method"]})
        if not (self.answered or self.gone):
            self._fail(status)

    # The connection's side

    def take(self, block: bytes) -> None:
        """A part of the body has arrived."""
        self._blocks.append(block)
        self.waiting += len(block)
        self.wake()

    def end_body(self) -> None:
        """All of it has."""
        self.complete = True
        self.wake()

    def lose(self) -> None:
        """The client has gone."""
        self.gone = True
        self.wake()

    def wake(self) -> None:
        """Let whoever waits in ``receive`` look again."""
        if self._news is not None:
            self._news.set()

    # ASGI

    async def receive(self) -> Message:
        """The next event; a disconnect only once everything that arrived has been handed out."""
        self._let_send()
        while not self.answered:
            if self._blocks or (self.complete and not self._told):
                self._told = self.complete
                return {"type": "http.request", "body": self._taken(), "more_body": not self.complete}
            if self.gone:
                break
            await self._wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """Send what the message says; nothing where the client has gone. Raises RuntimeError or ValueError where that
        is no response."""
        if not self.gone:
            await self._connection.writable()
        if self.gone:
            return
        if self.answered or message["type"] != ("http.response.body" if self.started else "http.response.start"):
            raise RuntimeError(f"{message['type']} has no place here in a response")
        if self.started:
            self._go_on(message.get("body", b""), message.get("more_body", False))
        else:
            self._start(message["status"], message.get("headers", ()))

    def answer_whole(self, status: int, headers: Headers, body: bytes) -> bool:
        """See ``tusserver.exchange.sent_whole``."""
        if self.started or self.gone or self._connection.write_paused:
            return False
        try:
            said = lines(headers)
        except ValueError:  # ``send`` has the words for it
            return False
        self._write(status, said, body if not self._head_only else b"")
        self._end()
        return True

    # tusserver.body.Direct

    def whole(self) -> bytes | None:
        """See ``Direct``."""
        return self._taken() if self.complete else None

    def claim(self) -> Claim | None:
        """See ``Direct``."""
        transport = self._connection.transport
        if self._claimable is None or self.complete or transport.is_closing():
            return None
        try:  # the transport's own descriptor may not be watched by anybody else
            descriptor = os.dup(transport.get_extra_info("socket").fileno())
        except OSError:  # no more descriptors: the plain way needs none
            return None
        self._connection.pause_reading()
        self._let_send()
        block = self._taken()
        return Claim(block, self._claimable - len(block), descriptor, self._release)

    def _release(self, remaining: int) -> None:
        """The claim is over. A body that came whole leaves a connection that goes on with the next request; after any
        other it only closes."""
        self._claimable = remaining
        if remaining == 0 and not self._connection.transport.is_closing():
            self.complete = True
            self._connection.body_taken()

    def _taken(self) -> bytes:
        block = b"".join(self._blocks)
        self._blocks.clear()
        self.waiting = 0
        return block

    async def _wait(self) -> None:
        self._connection.resume_reading()  # also to learn that the client has gone
        if self._news is None:
            self._news = asyncio.Event()
        self._news.clear()
        await self._news.wait()

    def _let_send(self) -> None:
        if self._awaits_continue and not self._connection.transport.is_closing():
            self._awaits_continue = False
            self._connection.transport.write(CONTINUE)

    # The response

    def _write(self, status: int, said: Iterable[bytes], body: bytes = b"") -> None:
        connection = self._connection
        if self._awaits_continue and not self.complete:  # it may send the body all the same, or not
            self.keep_alive = False
        always = lines_of_all(tuple(connection.state.default_headers))
        end = END if self.keep_alive else CLOSE
        connection.transport.write(b"".join((STATUS_LINES[status], always, *said, end, body)))
        self.started, self._awaits_continue = True, False

    def _start(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        said = checked(headers)
        framing = self._framing(status, dict(said))
        if any(
            b"close" in map(bytes.strip, value.lower().split(b",")) for name, value in said if name == b"connection"
        ):
            self.keep_alive = False
        rest = [each for each in said if each[0] != b"connection"]
        self._write(status, [raw_lines(rest), framing])

    def _framing(self, status: int, said: dict[bytes, bytes]) -> bytes:
        """How the end of the body is found (RFC 9112 section 6); what is to be said of it beside what the application
        has said."""
        self._bodiless = self._head_only or status in (204, 304)
        self._chunked = said.get(b"transfer-encoding", b"").lower() == b"chunked"
        self._left = int(said[b"content-length"]) if b"content-length" in said else None
        if self._bodiless or self._chunked or self._left is not None:
            return b""
        self._chunked = self._chunks
        self.keep_alive = self.keep_alive and self._chunks
        return b"transfer-encoding: chunked\r\n" if self._chunks else b""

    def _go_on(self, body: bytes, more: bool) -> None:
        if not self._bodiless:
            self._left = None if self._left is None else self._left - len(body)
            if self._left is not None and self._left < 0:
                raise RuntimeError("the body of the response is longer than its Content-Length")
            if self._chunked:
                body = chunk(body) + (b"" if more else LAST_CHUNK)
            self._connection.transport.write(body)
            if self._left and not more:
                raise RuntimeError("the body of the response is shorter than its Content-Length")
        if not more:
            self._end()

    def _end(self) -> None:
        self.answered = True
        self.wake()
        if not self.keep_alive:
            self._connection.close()
        self._connection.answered()

    def _fail(self, status: int) -> None:
        """What the client is told where the application has said nothing; otherwise it sees the connection's end."""
        self.keep_alive = False
        phrase = http.HTTPStatus(status).phrase
        if not self.answer_whole(
            status, [("Content-Type", "text/plain"), ("Content-Length", str(len(phrase)))], phrase.encode()
        ):
            self._connection.close()
