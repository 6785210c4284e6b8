"""What a page of another origin may do: the CORS headers of every answer, errors included."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

ALLOWED: Final = (
    "Authorization", "Origin", "X-Requested-With", "X-Request-ID", "X-HTTP-Method-Override", "Content-Type", "Range",
    "If-Range", "If-Match", "If-None-Match", "Tus-Resumable", "Upload-Length", "Upload-Offset", "Upload-Metadata",
    "Upload-Defer-Length", "Upload-Concat", "Upload-Checksum",
)  # fmt: skip
EXPOSED: Final = (
    "Location", "Tus-Version", "Tus-Resumable", "Tus-Max-Size", "Tus-Extension", "Tus-Checksum-Algorithm",
    "Upload-Offset", "Upload-Length", "Upload-Metadata", "Upload-Defer-Length", "Upload-Concat", "Upload-Expires",
    "Retry-After", "Content-Disposition", "Content-Range", "Accept-Ranges", "ETag",
)  # fmt: skip
METHODS: Final = "POST, HEAD, PATCH, OPTIONS, GET, DELETE"
MAX_AGE: Final = "86400"

Headers = Sequence[tuple[bytes, bytes]]

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


class Cors:
    """``origins``: "*" for any, or exact origins such as ``https://example.org``; empty: no CORS headers at all.
    ``credentials``: whether pages may send cookies, which browsers allow for named origins only."""

    def __init__(self, origins: str | Sequence[str], credentials: bool = False) -> None:
        self._any = origins in ("*", ("*",), ["*"])
        self._origins = frozenset() if self._any or isinstance(origins, str) else frozenset(origins)
        self._credentials = credentials

    def headers(self, request: Headers, *, preflight: bool) -> list[tuple[bytes, bytes]]:
        """What to add to the answer of a request with these headers; ``preflight``: its method is OPTIONS.

        An OPTIONS need not be a preflight, but a page's own question, so that its answer has to be readable too.
        """
        if not self._any and not self._origins:
            return []
        vary = [] if self._any else [(b"vary", b"Origin")]
        origin = _value(request, b"origin")
        if origin is None or not (self._any or origin in self._origins):
            return vary
        allowed = [(b"access-control-allow-origin", b"*" if self._any else origin.encode("latin-1"))]
        if self._credentials and not self._any:
            allowed.append((b"access-control-allow-credentials", b"true"))
        if preflight:
            allowed += [
                (b"access-control-allow-methods", METHODS.encode()),
                (b"access-control-allow-headers", ", ".join(_wanted(request)).encode()),
                (b"access-control-max-age", MAX_AGE.encode()),
            ]
        return [*allowed, (b"access-control-expose-headers", ", ".join(EXPOSED).encode()), *vary]


def _wanted(request: Headers) -> list[str]:
    """The headers of tus, and whatever else the page asks to send: applications have their own."""
    known = {name.lower() for name in ALLOWED}
    asked = [name.strip() for name in (_value(request, b"access-control-request-headers") or "").split(",")]
    return [*ALLOWED, *(name for name in asked if _TOKEN.fullmatch(name) and name.lower() not in known)]


def _value(headers: Headers, name: bytes) -> str | None:
    return next((value.decode("latin-1").strip(" \t") for key, value in headers if key == name), None)
