"""GET of a finished upload (outside tus): whole or one range of it, and safe to open in a browser.

What an upload says of itself is not believed: a type is passed on, and shown in place, only when it is on the
operator's list; everything else is a download of unknown bytes. No lease is taken and no writer disturbed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Set
from dataclasses import dataclass, replace
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any, Final
from urllib.parse import quote

from tusserver.protocol.headers import build_http_date, filename, media_type, parse_metadata
from tusserver.protocol.refusals import Refusal, UploadNotFinished
from tusserver.protocol.upload import Upload

log = logging.getLogger("tusserver.downloads")

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

UNKNOWN: Final = "application/octet-stream"
CACHE_CONTROL: Final = "private, no-cache"
POLICY: Final = "sandbox; default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'"
"""A document made of upload bytes can run and load nothing; a browser's own image or video page still works."""

# Blanks in one place only: where two runs of them can meet, matching takes the square of their number
_RANGE = re.compile(r"bytes=[ \t]*([0-9]{0,19})-([0-9]{0,19})", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Download:
    """An answer: status, headers, and the bytes ``[start, stop)`` of the upload as its body."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    start: int = 0
    stop: int = 0

    def with_headers(self, more: Iterable[tuple[bytes, bytes]]) -> Download:
        """The same answer with further headers."""
        return replace(self, headers=(*self.headers, *more))


def plan(upload: Upload, asked: Mapping[str, str], inline_types: Set[str]) -> Download:
    """What to answer to a GET with these headers (``Request.fields``). Raises UploadNotFinished.

    Preconditions as in RFC 9110 section 13.2.2, ranges as in section 14: one range is served; several, or one that
    is malformed, count as none.
    """
    if not upload.completed or upload.completed_at is None:
        raise UploadNotFinished
    size = upload.offset
    etag = _etag(upload)
    headers = [*representation(upload, inline_types), ("Cache-Control", CACHE_CONTROL)]
    if not _is_the_one(asked, etag, upload.completed_at):
        return _answer(412, headers)
    if _is_known(asked, etag, upload.completed_at):
        return _answer(304, headers)
    if "range" in asked and asked.get("if-range", etag).strip() in (etag, build_http_date(upload.completed_at)):
        found = _range(asked["range"], size)
        if found == "unsatisfiable":
            return _answer(416, [*headers, ("Content-Range", f"bytes */{size}")])
        if isinstance(found, tuple):
            start, stop = found
            return _answer(206, [*headers, ("Content-Range", f"bytes {start}-{stop - 1}/{size}")], start, stop)
    return _answer(200, headers, 0, size)


async def send(download: Download, blocks: AsyncGenerator[bytes, None], receive: Receive, send: Send) -> None:
    """Send the answer, with the blocks as its body; however it ends, they are closed.

    When the client goes away, no more blocks are read. What reading the first block raises is raised before anything
    has been sent, so that it can still be answered.
    """
    gone = asyncio.ensure_future(_disconnected(receive))
    try:
        async with contextlib.aclosing(blocks):
            block = await anext(blocks, b"") if download.start < download.stop else b""
            await send({"type": "http.response.start", "status": download.status, "headers": list(download.headers)})
            try:
                while block and not gone.done():
                    await send({"type": "http.response.body", "body": block, "more_body": True})
                    block = await anext(blocks, b"")
            except Refusal as refusal:  # too late to say so: the server cuts an answer that ends short
                return log.error("download broken off: %s", refusal.text, extra={"code": refusal.code})
        if not gone.done():
            await send({"type": "http.response.body", "body": b"", "more_body": False})
    finally:
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)


def representation(upload: Upload, inline_types: Set[str]) -> list[tuple[str, str]]:
    """What GET says of a finished upload, and HEAD therefore too (RFC 9110 section 9.3.2), but for its length and how
    long it may be kept."""
    kind, name = _described(upload.metadata or "")
    inline = kind in inline_types
    return [
        ("Content-Type", kind if inline and kind else UNKNOWN),
        ("Content-Disposition", content_disposition(name, inline=inline)),
        ("ETag", _etag(upload)),
        ("Last-Modified", build_http_date(upload.completed_at or 0)),
        ("Accept-Ranges", "bytes"),
        ("X-Content-Type-Options", "nosniff"),
        ("Content-Security-Policy", POLICY),
        ("Cross-Origin-Resource-Policy", "cross-origin"),
    ]


@lru_cache(512)
def _described(metadata: str) -> tuple[str | None, str | None]:
    """The media type and the name that ``Upload-Metadata`` gives. A player asks for one upload again and again."""
    parsed = parse_metadata(metadata)
    return media_type(parsed), filename(parsed)


def _etag(upload: Upload) -> str:
    return f'"{upload.id}-{upload.offset}"'


@lru_cache(512)
def content_disposition(name: str | None, *, inline: bool) -> str:
    """``Content-Disposition`` (RFC 6266), with the name for old clients and, where that loses something, the real one
    (RFC 8187)."""
    kind = "inline" if inline else "attachment"
    if name is None:
        return kind
    plain = re.sub(r"[^ !#$&-\[\]-~]", "_", name)
    if plain == name:
        return f'{kind}; filename="{name}"'
    return f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='', errors='replace')}"


def _answer(status: int, headers: Iterable[tuple[str, str]], start: int = 0, stop: int = 0) -> Download:
    named = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers]
    if status != 304:
        named.append((b"content-length", str(stop - start).encode()))
    return Download(status=status, headers=tuple(named), start=start, stop=stop)


async def _disconnected(receive: Receive) -> None:
    """Return when the client has gone. Servers don't say so on ``send``: uvicorn takes blocks for nobody."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _is_the_one(asked: Mapping[str, str], etag: str, modified: float) -> bool:
    """``If-Match``, which compares strongly, or else ``If-Unmodified-Since``."""
    if "if-match" in asked:
        return not {"*", etag}.isdisjoint(_listed(asked["if-match"]))
    since = _date(asked.get("if-unmodified-since"))
    return since is None or int(modified) <= since


def _is_known(asked: Mapping[str, str], etag: str, modified: float) -> bool:
    """``If-None-Match``, which compares weakly, or else ``If-Modified-Since``."""
    if "if-none-match" in asked:
        return not {"*", etag, f"W/{etag}"}.isdisjoint(_listed(asked["if-none-match"]))
    since = _date(asked.get("if-modified-since"))
    return since is not None and int(modified) <= since


def _listed(etags: str) -> list[str]:
    return [each.strip() for each in etags.split(",")]


def _date(value: str | None) -> float | None:
    """Seconds since the epoch; None for what is no date, which counts as absent (RFC 9110 sections 13.1.3, 13.1.4)."""
    try:
        date = parsedate_to_datetime(value or "")
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def _range(value: str, size: int) -> tuple[int, int] | str | None:
    found = _RANGE.fullmatch(value.strip())
    if found is None:
        return None
    first, last = found.groups()
    if not first:
        if not last:
            return None
        return (max(0, size - int(last)), size) if int(last) and size else "unsatisfiable"
    if last and int(last) < int(first):
        return None
    if int(first) >= size:
        return "unsatisfiable"
    return int(first), min(int(last) + 1, size) if last else size
