"""GET of a finished upload (outside tus): whole or one range of it, and safe to open in a browser.

What an upload says of itself is not believed: a type is passed on, and shown in place, only when it is on the
operator's list; everything else is a download of unknown bytes. No lease is taken and no writer disturbed.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Set
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import quote

from tusserver.protocol.headers import build_http_date, filename, media_type, parse_metadata
from tusserver.protocol.refusals import UploadNotFinished
from tusserver.protocol.upload import Upload

Headers = tuple[tuple[str, str], ...]
Send = Callable[[dict[str, Any]], Awaitable[None]]

UNKNOWN: Final = "application/octet-stream"
POLICY: Final = "sandbox; default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'"
"""A document made of upload bytes can run and load nothing; a browser's own image or video page still works."""

_RANGE = re.compile(r"bytes\s*=\s*([0-9]*)\s*-\s*([0-9]*)", re.IGNORECASE)


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


def plan(upload: Upload, request: Headers, inline_types: Set[str]) -> Download:
    """What to answer to a GET with these headers (lower-case names). Raises UploadNotFinished.

    Preconditions as in RFC 9110 section 13.2.2, ranges as in section 14: one range is served; several, or one that
    is malformed, count as none.
    """
    if not upload.completed or upload.completed_at is None:
        raise UploadNotFinished
    asked = dict(request)
    size = upload.offset
    etag = f'"{upload.id}-{size}"'
    headers = _headers(upload, etag, inline_types)
    if not _matches(asked.get("if-match"), etag, missing=True):
        return _answer(412, headers)
    if _matches(asked.get("if-none-match"), etag, missing=False):
        return _answer(304, headers)
    if "range" in asked and _still_the_same(asked.get("if-range"), etag, upload.completed_at):
        found = _range(asked["range"], size)
        if found == "unsatisfiable":
            return _answer(416, [*headers, ("Content-Range", f"bytes */{size}")])
        if isinstance(found, tuple):
            start, stop = found
            return _answer(206, [*headers, ("Content-Range", f"bytes {start}-{stop - 1}/{size}")], start, stop)
    return _answer(200, headers, 0, size)


async def send(download: Download, blocks: AsyncGenerator[bytes, None], send: Send) -> None:
    """Send the answer, with the blocks as its body; however it ends, they are closed."""
    async with contextlib.aclosing(blocks):
        await send({"type": "http.response.start", "status": download.status, "headers": list(download.headers)})
        if download.start < download.stop:
            async for block in blocks:
                await send({"type": "http.response.body", "body": block, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def content_disposition(name: str | None, *, inline: bool) -> str:
    """``Content-Disposition`` (RFC 6266), with the name for old clients and, where that loses something, the real one
    (RFC 8187)."""
    kind = "inline" if inline else "attachment"
    if name is None:
        return kind
    plain = re.sub(r'[^ !#$&-\[\]-~]|["%\\]', "_", name)
    if plain == name:
        return f'{kind}; filename="{name}"'
    return f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='', errors='replace')}"


def _answer(status: int, headers: Iterable[tuple[str, str]], start: int = 0, stop: int = 0) -> Download:
    named = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers]
    if status != 304:
        named.append((b"content-length", str(stop - start).encode()))
    return Download(status=status, headers=tuple(named), start=start, stop=stop)


def _headers(upload: Upload, etag: str, inline_types: Set[str]) -> list[tuple[str, str]]:
    metadata = parse_metadata(upload.metadata or "")
    kind = media_type(metadata)
    inline = kind in inline_types
    return [
        ("Content-Type", kind if inline and kind else UNKNOWN),
        ("Content-Disposition", content_disposition(filename(metadata), inline=inline)),
        ("ETag", etag),
        ("Last-Modified", build_http_date(upload.completed_at or 0)),
        ("Accept-Ranges", "bytes"),
        ("Cache-Control", "private, no-cache"),
        ("X-Content-Type-Options", "nosniff"),
        ("Content-Security-Policy", POLICY),
        ("Cross-Origin-Resource-Policy", "cross-origin"),
    ]


def _matches(condition: str | None, etag: str, *, missing: bool) -> bool:
    if condition is None:
        return missing
    listed = [each.strip().removeprefix("W/") for each in condition.split(",")]
    return "*" in listed or etag in listed


def _still_the_same(if_range: str | None, etag: str, modified: float) -> bool:
    if if_range is None or if_range.strip() == etag:
        return True
    with contextlib.suppress(ValueError, TypeError):
        return parsedate_to_datetime(if_range).timestamp() == int(modified)
    return False


def _range(value: str, size: int) -> tuple[int, int] | str | None:
    found = _RANGE.fullmatch(value.strip())
    if found is None or max(map(len, found.groups())) > 19:
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
