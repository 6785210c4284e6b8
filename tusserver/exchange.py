"""One request on its way to an answer, and how its head is read."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any, Final

import msgspec

from tusserver.body import RequestBody
from tusserver.protocol.messages import Request

TRAILERS: Final = "tusserver.trailers"
"""The ASGI extension by which ``tusserver.connection`` hands over request trailers: a list that fills as they come."""

DIRECT: Final = "tusserver.direct"
"""The ASGI extension by which ``tusserver.connection`` offers a body at once (``tusserver.body.Direct``)."""

Scope = Any
Headers = Sequence[tuple[str, str]]
Send = Callable[[Any], Awaitable[None]]


class Exchange(msgspec.Struct, kw_only=True):
    """One request on its way to an answer, and what the log line says about it."""

    scope: Scope
    request: Request
    method: str
    client: str
    body: RequestBody
    started: float = msgspec.field(default_factory=time.perf_counter)
    upload_id: str | None = None
    since: int | None = None
    until: int | None = None
    code: str | None = None


def decoded(headers: Iterable[tuple[bytes, bytes]]) -> tuple[tuple[str, str], ...]:
    """As text. httptools leaves the white space behind a value, which is no part of it (RFC 9110 section 5.5)."""
    return tuple([(name.decode("latin-1").lower(), value.decode("latin-1").strip(" \t")) for name, value in headers])


def on_the_wire(headers: Headers) -> list[tuple[bytes, bytes]]:
    """Headers as ASGI has them."""
    return [(_name(name), value.encode("latin-1")) for name, value in headers]


@lru_cache(256)
def _name(name: str) -> bytes:
    return name.lower().encode("latin-1")


def has_body(headers: tuple[tuple[str, str], ...]) -> bool:
    """Whether a body may follow these headers."""
    for name, value in headers:
        if name == "transfer-encoding" or (name == "content-length" and value not in ("", "0")):
            return True
    return False


def awaits_continue(exchange: Exchange) -> bool:
    """Whether the client still waits for permission to send its body, so that there is nothing to drain."""
    expects = any(value.lower() == "100-continue" for value in exchange.request.all("expect"))
    return expects and not exchange.body.begun


def sent_whole(send: Send, status: int, headers: Headers, body: bytes) -> bool:
    """Send a whole answer in one go, where ``send`` is that of ``tusserver.connection`` itself: ``answer_whole`` is its
    neighbour. False, and nothing has happened, where the answer has to be sent by ASGI messages: whoever wraps ``send``
    wants to see them."""
    at_once = getattr(getattr(send, "__self__", None), "answer_whole", None)
    return at_once is not None and at_once(status, headers, body)
