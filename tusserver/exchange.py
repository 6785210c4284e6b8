"""One request on its way to an answer, and how its head is read."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from operator import methodcaller
from typing import Any, Final

import msgspec

from tusserver.body import RequestBody
from tusserver.protocol.messages import Request

TRAILERS: Final = "tusserver.trailers"
"""The ASGI extension by which ``tusserver.connection`` hands over request trailers: a list that fills as they come."""

DIRECT: Final = "tusserver.direct"
"""The ASGI extension by which ``tusserver.connection`` offers a body at once (``tusserver.body.Direct``)."""

_bare: Final[Callable[[str], str]] = methodcaller("strip", " \t")  # called for each value of each request

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


def decoded(headers: Sequence[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    """As text. httptools leaves the white space behind a value, which is no part of it (RFC 9110 section 5.5)."""
    said = b"\n".join(chain.from_iterable(headers)).decode("latin-1").split("\n")
    if len(said) != 2 * len(headers):  # none, or a server that lets a line's end pass
        return [(name.decode("latin-1").lower(), _bare(value.decode("latin-1"))) for name, value in headers]
    return list(zip(map(str.lower, said[::2]), map(_bare, said[1::2]), strict=True))


def on_the_wire(headers: Headers) -> list[tuple[bytes, bytes]]:
    """Headers as ASGI has them."""
    return [(_name(name), value.encode("latin-1")) for name, value in headers]


@lru_cache(256)
def _name(name: str) -> bytes:
    return name.lower().encode("latin-1")


def has_body(fields: Mapping[str, str]) -> bool:
    """Whether a body may follow these headers."""
    return "transfer-encoding" in fields or fields.get("content-length", "0") not in ("", "0")


def awaits_continue(exchange: Exchange) -> bool:
    """Whether the client still waits for permission to send its body, so that there is nothing to drain."""
    expected = exchange.request.fields.get("expect", "").lower().split(",")
    return "100-continue" in map(_bare, expected) and not exchange.body.begun


def sent_whole(send: Send, status: int, headers: Headers, body: bytes) -> bool:
    """Send a whole answer in one go, where ``send`` is that of ``tusserver.connection`` itself: ``answer_whole`` is its
    neighbour. False, and nothing has happened, where the answer has to be sent by ASGI messages: whoever wraps ``send``
    wants to see them."""
    at_once = getattr(getattr(send, "__self__", None), "answer_whole", None)
    return at_once is not None and at_once(status, headers, body)
