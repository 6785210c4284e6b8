"""An HTTP request and response as the protocol sees them: no connection, no body stream, only what was said."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from msgspec.structs import force_setattr


class Request(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One request's head.

    ``upload_id`` is what follows the base path, percent-decoded; None for the base path itself. ``headers`` holds
    (lower-case name, value) in the order of arrival. ``base_url`` is the URL of the base path as this client should
    see it, without a final slash: absolute (``https://host/files``) or, where the outside address is not known,
    a path (``/files``). ``has_body`` says whether a body may follow (chunked, or a Content-Length above zero).
    ``trailers`` says whether this connection can deliver request trailers. ``lines`` are the headers' values by name.
    """

    method: str
    upload_id: str | None
    headers: tuple[tuple[str, str], ...]
    base_url: str
    has_body: bool = False
    trailers: bool = False
    lines: dict[str, tuple[str, ...]] = {}

    def __post_init__(self) -> None:
        lines: dict[str, tuple[str, ...]] = {}
        for name, value in self.headers:
            lines[name] = (*lines[name], value) if name in lines else (value,)
        force_setattr(self, "lines", lines)

    def all(self, name: str) -> tuple[str, ...]:
        """Every value of a header, by its lower-case name."""
        return self.lines.get(name, ())


class Response(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One response; ``headers`` with their names as documented (``Upload-Offset``)."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    def with_headers(self, more: Iterable[tuple[str, str]]) -> Response:
        """The same response with further headers."""
        return Response(status=self.status, headers=(*self.headers, *more), body=self.body)
