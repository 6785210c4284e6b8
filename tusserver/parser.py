"""Requests as they come on a connection of HTTP/1.1: heads, bodies and trailers, read by httptools."""

from __future__ import annotations

from typing import Final, Protocol

import httptools
from httptools.parser.url_parser import URL as Url

from tusserver.wire import END, raw_lines

MAX_TRAILERS: Final = 8 * 1024
FRAMING: Final = (b"content-length", b"transfer-encoding")

Fields = list[tuple[bytes, bytes]]


class NotHttp(Exception):
    """What has arrived is no request."""


class TrailersTooLarge(Exception):
    """More than MAX_TRAILERS bytes of them."""


class Listener(Protocol):
    """Who is told of requests."""

    def on_head(self, method: str, version: str, url: Url, keep_alive: bool) -> None:
        """A head has come whole. ``version`` of HTTP; ``keep_alive``: the client wants to send more requests."""
        ...

    def on_body(self, block: bytes) -> None:
        """A part of the body that belongs to the last head."""
        ...

    def on_end(self) -> None:
        """That body has come whole, with its trailers."""
        ...


class Parser:
    """``headers`` of the last head, names in lower case. ``trailers``: a list to which those are added that come behind
    its body. ``head``: bytes that have been fed after those in which a head began that has not come whole; None where
    there is none.
    """

    head: int | None = None
    _fed = 0
    _asks_for_other = False

    def __init__(self, listener: Listener) -> None:
        self._on_head = listener.on_head
        self._on_end = listener.on_end
        self.on_body = listener.on_body
        self.trailers: Fields = []
        self.renew()

    def renew(self) -> None:
        """Go on with a new request; what was left of the last one has been taken otherwise."""
        self._requests = httptools.HttpRequestParser(self)
        # who sends several requests at once may say early that one of them is the last
        self._requests.set_dangerous_leniencies(lenient_data_after_close=True)

    def close(self) -> None:
        """No more will come. All of these hold on to each other."""
        del self._requests, self._on_head, self._on_end, self.on_body

    def feed(self, data: bytes) -> None:
        """Bytes have arrived. Raises NotHttp, TrailersTooLarge, and what the listener raises."""
        rest: bytes | memoryview = data
        self._fed = len(data)
        try:
            while rest:
                rest = self._feed(rest)
        except httptools.HttpParserError as error:
            cause = error.__context__ if isinstance(error, httptools.HttpParserCallbackError) else None
            if cause is not None and not isinstance(cause, httptools.HttpParserError):
                raise cause from None
            raise NotHttp(str(error)) from error
        if self.head is not None:
            self.head += len(data)
        if self.trailers:
            self._check_trailers()

    # httptools's side

    def on_message_begin(self) -> None:
        """A request begins."""
        self._target = b""
        self.headers: Fields = []
        self._fields = self.headers
        self.head = -self._fed

    def on_url(self, part: bytes) -> None:
        """A part of the request's target."""
        self._target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or after the body a trailer."""
        self._fields.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """The head is complete."""
        self.head = None
        if self._asks_for_other:  # this is its head once more
            self._asks_for_other = False
            return
        requests = self._requests
        self._asks_for_other = requests.should_upgrade()
        self._fields = self.trailers = []
        url = httptools.parse_url(self._target)
        self._on_head(requests.get_method().decode(), requests.get_http_version(), url, requests.should_keep_alive())

    def on_message_complete(self) -> None:
        """The body is; of a request that asks for another protocol, httptools leaves it to that."""
        if self.trailers:
            self._check_trailers()
        if not self._asks_for_other:
            self._on_end()

    def _feed(self, data: bytes | memoryview) -> bytes | memoryview:
        """What is left of it to be fed."""
        try:
            self._requests.feed_data(data)
        except httptools.HttpParserUpgrade as asked:
            self._stay()
            return memoryview(data)[asked.args[0] :]
        return b""

    def _check_trailers(self) -> None:
        if sum([len(name) + len(value) for name, value in self.trailers]) > MAX_TRAILERS:
            raise TrailersTooLarge

    def _stay(self) -> None:
        """Go on in HTTP/1.1 with a request that asks for another protocol beside, as a server may (RFC 9110 section
        7.8). httptools has left off behind its head, where the other protocol would begin; it is told once more how the
        body is found, and takes what follows for that."""
        headers = self.headers
        framing = raw_lines(header for header in headers if header[0] in FRAMING)
        self.renew()
        self._requests.feed_data(b"POST / HTTP/1.1\r\n" + framing + END)
        self.headers, self._fields = headers, self.trailers
