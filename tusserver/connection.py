"""The connection of ``tusserver serve``: uvicorn's, but it saves uploads at shutdown, loses nothing that it received,
and lets go of a body that can go straight from the socket to where it is stored.

What is changed of stock uvicorn, each tested against the versions that ``pyproject.toml`` allows:

* A shutdown first interrupts the uploads, which are saved and answered; uvicorn would wait for them to end.
* ``receive()`` hands out what has arrived before it says that the client has gone; uvicorn drops it.
* Request trailers come in a list of their own (the ASGI extension ``tusserver.trailers``); uvicorn adds them to the
  headers, where a client could add any header after these were checked.
* The head of a request is bounded in bytes and in seconds.
* A body that has arrived whole can be had at once, and the rest of a larger one can be claimed: reading stops then, and
  whoever claimed it takes the bytes from the socket (both by the ASGI extension ``tusserver.direct``).
* An answer that is known whole can be sent in one go; two ASGI messages take several times as long.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, cast

import httptools
import uvicorn
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from tusserver.app import TusApp
from tusserver.body import Claim
from tusserver.exchange import DIRECT, TRAILERS, Headers

log = logging.getLogger("tusserver.connection")

MAX_HEAD = 256 * 1024
MAX_TRAILERS = 8 * 1024
HEAD_SECONDS = 30.0
WORTH_CLAIMING: Final = 128 * 1024
"""Bytes of a body from which on taking it off the connection is cheaper than reading it."""


class UploadCycle(RequestResponseCycle):
    """One request and its response."""

    async def receive(self) -> Any:
        """The next ASGI event; a disconnect only once everything that arrived has been handed out."""
        message = await super().receive()
        if message["type"] == "http.disconnect" and self.body and not self.response_complete:
            body, self.body = bytes(self.body), bytearray()
            return {"type": "http.request", "body": body, "more_body": self.more_body}
        return message

    def answer_whole(self, status: int, headers: Headers, body: bytes) -> bool:
        """See ``tusserver.exchange.sent_whole``."""
        if self.response_started or self.disconnected or self.flow.write_paused:
            return False
        head = "".join([f"{name.lower()}: {value}\r\n" for name, value in headers])
        if head.count("\r") != len(headers) or head.count("\n") != len(headers) or "\0" in head:
            return False  # a value that would end its line: ``send`` refuses it
        closing = b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n"
        start = (STATUS_LINE[status], _lines(tuple(self.default_headers)), head.encode("latin-1"), closing)
        self.transport.write(b"".join(start if not body or self.scope["method"] == "HEAD" else (*start, body)))
        self.response_started = self.response_complete = True
        self.waiting_for_100_continue = False
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()
        return True


@lru_cache(4)  # they are the same for a second
def _lines(headers: tuple[tuple[bytes, bytes], ...]) -> bytes:
    return b"".join([each for name, value in headers for each in (name, b": ", value, b"\r\n")])


class DirectBody:
    """The body of the request that a connection is at (see ``tusserver.body.Direct``). ``length``: its bytes, where it
    may be claimed."""

    def __init__(self, protocol: UploadProtocol, cycle: RequestResponseCycle, length: int | None) -> None:
        self._protocol = protocol
        self._cycle = cycle
        self._remaining = length

    def whole(self) -> bytes | None:
        """See ``Direct``."""
        cycle = self._cycle
        if cycle.more_body:
            return None
        block, cycle.body = bytes(cycle.body), bytearray()
        return block

    def claim(self) -> Claim | None:
        """See ``Direct``."""
        cycle, transport = self._cycle, self._protocol.transport
        if self._remaining is None or transport.is_closing() or not cycle.more_body:
            return None
        try:  # the transport's own descriptor may not be watched by anybody else
            descriptor = os.dup(transport.get_extra_info("socket").fileno())
        except OSError:  # no more descriptors: the plain way needs none
            return None
        self._protocol.flow.pause_reading()
        if cycle.waiting_for_100_continue:
            transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            cycle.waiting_for_100_continue = False
        block, cycle.body = bytes(cycle.body), bytearray()
        return Claim(block, self._remaining - len(block), descriptor, self._release)

    def _release(self, remaining: int) -> None:
        """The claim is over. A body that came whole leaves a connection that goes on with the next request; the parser
        still waits for the body's bytes, so a new one takes over. After any other the connection only closes."""
        self._remaining = remaining
        protocol = self._protocol
        if remaining == 0 and not protocol.transport.is_closing():
            self._cycle.more_body = False
            protocol.parser = httptools.HttpRequestParser(protocol)
            protocol.parser.set_dangerous_leniencies(lenient_data_after_close=True)
            protocol.flow.resume_reading()


class UploadProtocol(HttpToolsProtocol):
    """One connection. ``direct``: whether large bodies may be claimed."""

    direct = True

    _head: int | None = None
    _trailers: list[tuple[bytes, bytes]] | None = None
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has connected; it has HEAD_SECONDS to say what it wants."""
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone."""
        self._unset_deadline()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes have arrived."""
        super().data_received(data)
        if self._head is not None:
            if self._deadline is None:
                self._expect_head()
            self._head += len(data)
            if self._head > MAX_HEAD and not self.transport.is_closing():
                self._refuse(431, "The request's headers are too large.")

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._head = 0
        self._trailers = None

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or after the body a trailer."""
        if self._trailers is None:
            return self.headers.append((name.lower(), value))
        self._trailers.append((name.lower(), value))
        if sum(len(each) + len(said) for each, said in self._trailers) > MAX_TRAILERS:
            self.transport.close()

    def on_headers_complete(self) -> None:
        """The head is complete; the application is started."""
        self._head = None
        self._unset_deadline()
        self._trailers = []
        extensions: dict[str, Any] = {TRAILERS: self._trailers}
        cast(dict[str, Any], self.scope)["extensions"] = extensions
        said = dict(self.headers)
        self.expect_100_continue = said.get(b"expect", b"").lower() == b"100-continue"
        super().on_headers_complete()
        # uvicorn looks its class up in its own module; the instance has not been used yet
        self.cycle.__class__ = UploadCycle
        length = self._claimable(said)
        extensions[DIRECT] = DirectBody(self, self.cycle, length)
        if length is not None:
            self.flow.pause_reading()

    def shutdown(self) -> None:
        """The server is stopping."""
        super().shutdown()
        app = self.config.loaded_app
        if isinstance(app, TusApp):
            app.begin_drain()

    def _claimable(self, said: Mapping[bytes, bytes]) -> int | None:
        """The length of a body that may be claimed: it is said, it is not small, and nobody has to decrypt it."""
        length = int(said.get(b"content-length", b"0"))
        if length < WORTH_CLAIMING or b"transfer-encoding" in said or not self.direct or self.scheme == "https":
            return None
        return length if self.scope["method"] in ("PATCH", "POST") else None

    def _expect_head(self) -> None:
        self._deadline = self.loop.call_later(HEAD_SECONDS, self._head_is_late)

    def _head_is_late(self) -> None:
        if not self.transport.is_closing():
            self._refuse(408, "The request's headers did not arrive in time.")

    def _unset_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _refuse(self, status: int, message: str) -> None:
        body = message.encode()
        head = f"HTTP/1.1 {status} \r\ncontent-type: text/plain\r\ncontent-length: {len(body)}\r\nconnection: close"
        self.transport.write(head.encode() + b"\r\n\r\n" + body)
        self.transport.close()


class PlainProtocol(UploadProtocol):
    """One connection whose bodies are always read and handed over block by block."""

    direct = False


def protocol(direct: bool) -> type[asyncio.Protocol] | str:
    """What uvicorn is to speak HTTP with: ours, unless this uvicorn is built differently, and then its own."""
    if not _is_known(HttpToolsProtocol, RequestResponseCycle):
        log.warning(
            "uvicorn %s is built in another way than tusserver knows; uploads work, but slower, and a shutdown waits "
            "for them. Install the uvicorn that tusserver asks for.",
            uvicorn.__version__,
        )
        return "auto"
    return UploadProtocol if direct else PlainProtocol


def _is_known(connection: type, cycle: type) -> bool:
    """Whether the internals that are leaned on here are there."""
    methods = ("data_received", "on_message_begin", "on_header", "on_headers_complete", "on_body", "shutdown")
    parameters = inspect.signature(cycle).parameters
    try:
        used = inspect.getsource(connection) + inspect.getsource(cycle)
    except OSError:  # installed without its source
        return False
    return (
        all(callable(getattr(connection, name, None)) for name in methods)
        and {"scope", "transport", "flow", "message_event", "expect_100_continue", "keep_alive"} <= parameters.keys()
        and all(
            name in used
            for name in (
                "self.more_body",
                "self.body",
                "self.parser",
                "self.waiting_for_100_continue",
                "self.default_headers",
                "self.expect_100_continue",
                "self.response_started",
                "self.response_complete",
                "self.on_response()",
                "flow.write_paused",
            )
        )
    )
