"""An HTTP request and response as the protocol sees them: no connection, no body stream, only what was said."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

import msgspec

NOTHING: Final[frozenset[str]] = frozenset()


class Request(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One request's head.

    ``upload_id`` is what follows the base path, percent-decoded; None for the base path itself. ``fields`` has
    the headers' values by lower-case name: one that is there on several lines is one list (RFC 9110 section 5.3), and
    its name is in ``repeated``. ``base_url`` is the URL of the base path as this client should
    see it, without a final slash: absolute (``https://host/files``) or, where the outside address is not known,
    a path (``/files``). ``has_body`` says whether a body may follow (chunked, or a Content-Length above zero).
    ``trailers`` says whether this connection can deliver request trailers.
    """

    method: str
    upload_id: str | None
    fields: dict[str, str]
    base_url: str
    repeated: frozenset[str] = NOTHING
    has_body: bool = False
    trailers: bool = False


def by_name(headers: Collection[tuple[str, str]]) -> tuple[dict[str, str], frozenset[str]]:
    """Headers with lower-case names as a ``Request`` has them: its ``fields``, and its ``repeated``. (HTTP/2 cuts
    cookies up: RFC 9113, section 8.2.3.)"""
    fields = dict(headers)
    if len(fields) == len(headers):
        return fields, NOTHING
    lines: dict[str, list[str]] = {}
    for name, value in headers:
        lines.setdefault(name, []).append(value)
    repeated = frozenset(name for name, values in lines.items() if len(values) > 1)
    return {name: ("; " if name == "cookie" else ", ").join(values) for name, values in lines.items()}, repeated


class Response(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One response; ``headers`` with their names as documented (``Upload-Offset``)."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    def with_headers(self, more: Iterable[tuple[str, str]]) -> Response:
        """The same response with further headers."""
        return Response(status=self.status, headers=(*self.headers, *more), body=self.body)
