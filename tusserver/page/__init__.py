"""The upload page at ``/``: what ``web/build.mjs`` has put into ``built/``, read once and served from memory.

Names of assets carry a hash of what they hold, so browsers keep them for good; the page itself is asked for each time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlsplit

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

BUILT: Final = Path(__file__).parent / "built"
TYPES: Final = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8"}
FOR_GOOD: Final = "public, max-age=31536000, immutable"
NOT_BUILT: Final = (
    "<!doctype html><html lang=en><meta charset=utf-8><title>tusserver</title>"
    "<p>Uploads are served, but this page is not built: install Node.js 20 or newer and run "
    "<code>make page</code>, then restart the server."
)


@dataclass(frozen=True, slots=True)
class Asset:
    """What is served under one name: ``plain`` bytes, and the same compressed with gzip."""

    media_type: str
    plain: bytes
    gzip: bytes


class Page:
    """``base_path``: where uploads are created. ``public_url``: the server's outside URL, when it is known; uploads
    are sent where the page itself was found, but that is where their addresses point. ``built``: the directory of
    what the build made; without it a sentence says how to build it."""

    def __init__(self, base_path: str, public_url: str | None = None, built: Path = BUILT) -> None:
        self._headers = {"Content-Security-Policy": _policy(public_url), **_HEADERS}
        self._assets = _assets(built)
        index = built / "index.html"
        markup = index.read_text(encoding="utf-8") if index.is_file() else NOT_BUILT
        # relative, so that it is right behind a proxy that puts a path in front
        uploads = quote(base_path.strip("/"), safe="/:@!$&'()*+,;=~")
        self._index = markup.replace("{uploads}", escape("./" + uploads)).encode()
        self._etag = f'"{hashlib.sha256(self._index).hexdigest()[:16]}"'

    def routes(self) -> list[Route]:
        """The page and what it loads."""
        return [
            Route("/", self._page, methods=["GET"]),
            Route("/page/{name}", self._asset, methods=["GET"]),
        ]

    async def _page(self, request: Request) -> Response:
        headers = {**self._headers, "Cache-Control": "no-cache", "ETag": self._etag}
        if self._etag in _listed(request.headers, "if-none-match"):
            return Response(status_code=304, headers=headers)
        return Response(self._index, headers=headers, media_type="text/html")

    async def _asset(self, request: Request) -> Response:
        asset = self._assets.get(request.path_params["name"])
        if asset is None:
            return Response("Not Found", 404, headers=self._headers, media_type="text/plain")
        headers = {**self._headers, "Cache-Control": FOR_GOOD, "Vary": "Accept-Encoding"}
        if "gzip" not in _listed(request.headers, "accept-encoding"):
            return Response(asset.plain, headers=headers, media_type=asset.media_type)
        return Response(asset.gzip, headers={**headers, "Content-Encoding": "gzip"}, media_type=asset.media_type)


_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}


def _policy(public_url: str | None) -> str:
    """The page runs its own scripts and styles, and talks to this server, under whichever address."""
    parts = urlsplit(public_url or "")
    here = f"'self' {parts.scheme}://{parts.netloc}" if parts.netloc else "'self'"
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
        f"media-src blob: {here}; connect-src {here}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def _assets(built: Path) -> dict[str, Asset]:
    found = {}
    for path in built.glob("*"):
        compressed = path.with_name(path.name + ".gz")
        if path.suffix in TYPES and compressed.is_file():
            found[path.name] = Asset(TYPES[path.suffix], path.read_bytes(), compressed.read_bytes())
    return found


def _listed(headers: Mapping[str, str], name: str) -> list[str]:
    """The elements of a list header; those that are refused (``q=0``) are left out."""
    elements = [each.strip() for each in headers.get(name, "").split(",")]
    return [each.partition(";")[0].strip() for each in elements if not each.replace(" ", "").endswith(";q=0")]
