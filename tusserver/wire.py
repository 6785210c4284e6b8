"""How a response looks on the wire of HTTP/1.1 (RFC 9112)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from functools import lru_cache
from http.client import responses
from typing import Final

from tusserver.exchange import Headers

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
END: Final = b"\r\n"
CLOSE: Final = b"connection: close\r\n\r\n"
LAST_CHUNK: Final = b"0\r\n\r\n"

NO_NAME: Final = re.compile(rb"[^!#$%&'*+.^_`|~0-9A-Za-z-]")
"""What no header's name has (RFC 9110 section 5.6.2)."""

NO_VALUE: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
"""What no header's value has (RFC 9110 section 5.5)."""

STATUS_LINES: Final = {
    status: f"HTTP/1.1 {status} {responses.get(status, '')}\r\n".encode() for status in range(100, 600)
}


def checked(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The headers, with names in lower case. Raises ValueError where one has what none may have."""
    lower = [(name.lower(), value) for name, value in headers]
    if any(not name or NO_NAME.search(name) or NO_VALUE.search(value) for name, value in lower):
        raise ValueError("a header of the response has what no header may have")
    return lower


def raw_lines(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Their lines."""
    return b"".join([b"%b: %b\r\n" % header for header in headers])


lines_of_all: Final = lru_cache(4)(raw_lines)
"""The lines of headers that go with all responses, which are the same for a second."""


def lines(headers: Headers) -> list[bytes]:
    """Their lines. Raises ValueError where a value has what none may have."""
    return list(map(_line, headers))


@lru_cache(256)  # most are the same in many responses
def _line(header: tuple[str, str]) -> bytes:
    name, value = header
    raw = value.encode("latin-1")
    if NO_VALUE.search(raw):
        raise ValueError(f"{name} has what no header may have")
    return b"%b: %b\r\n" % (name.lower().encode("latin-1"), raw)


def chunk(body: bytes) -> bytes:
    """One of the body's chunks; nothing makes none, since that would end the body."""
    return b"%x\r\n%b\r\n" % (len(body), body) if body else b""


REFUSALS: Final = {
    "bad_request": (400, "This is not HTTP/1.1; look at the client, or at what is in between."),
    "headers_timeout": (408, "The request's headers did not arrive in time; ask again."),
    "headers_too_large": (431, "The request's headers are too large; shorten them."),
    "trailers_too_large": (431, "The request's trailers are too large; send a checksum only."),
}
"""What is answered to what is no request, or none that can be taken in."""


def refusal(code: str) -> bytes:
    """The whole answer, for one of REFUSALS."""
    status, message = REFUSALS[code]
    body = json.dumps({"error": code, "message": message}).encode()
    head = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    return b"".join([STATUS_LINES[status], *lines(head), CLOSE, body])
