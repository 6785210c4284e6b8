"""What a page of another origin may do: the CORS headers of every answer, errors included."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from tusserver.protocol.messages import Request

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

_EXPOSED = ", ".join(EXPOSED)
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


class Cors:
    """``origins``: "*" for any, or exact origins such as ``https://example.org``; empty: no CORS headers at all.
    ``credentials``: whether pages may send cookies, which browsers allow for named origins only."""

    def __init__(self, origins: str | Sequence[str], credentials: bool = False) -> None:
        self._any = origins in ("*", ("*",), ["*"])
        self._origins = frozenset() if self._any or isinstance(origins, str) else frozenset(origins)
        self._credentials = credentials
        self._vary = (("Vary", "Origin"),) if self._origins else ()

    def headers(self, request: Request) -> Sequence[tuple[str, str]]:
        """What to add to the answer of this request.

        An OPTIONS need not be a preflight, but a page's own question, so that its answer has to be readable too.
        """
        origin = request.fields.get("origin")
        if origin is None or not (self._any or origin in self._origins):
            return self._vary
        allowed = [("Access-Control-Allow-Origin", "*" if self._any else origin)]
        if self._credentials and not self._any:
            allowed.append(("Access-Control-Allow-Credentials", "true"))
        if request.method == "OPTIONS":
            allowed += [
                ("Access-Control-Allow-Methods", METHODS),
                ("Access-Control-Allow-Headers", ", ".join(_wanted(request))),
                ("Access-Control-Max-Age", MAX_AGE),
            ]
        return [*allowed, ("Access-Control-Expose-Headers", _EXPOSED), *self._vary]


def _wanted(request: Request) -> list[str]:
    """The headers of tus, and whatever else the page asks to send: applications have their own."""
    known = {name.lower() for name in ALLOWED}
    asked = [name.strip() for name in request.fields.get("access-control-request-headers", "").split(",")]
    return [*ALLOWED, *(name for name in asked if _TOKEN.fullmatch(name) and name.lower() not in known)]
