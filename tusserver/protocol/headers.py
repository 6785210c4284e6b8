"""Header values: one ``parse_x``/``build_x`` pair for each kind of value, and what can be read off metadata.

The rules of this file:

* ``parse_x`` takes a value exactly as it stood behind the colon and is strict; it raises a BadHeader that names the
  header and says what is right.
* ``build_x`` of what ``parse_x`` gave can be parsed again to the same. Where a client must get its own bytes back
  (CREA-24, CONC-22), the received value is kept beside what it says; it is never built anew.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from base64 import b64encode
from binascii import a2b_base64
from collections.abc import Callable, Mapping, Sequence
from email.utils import formatdate
from functools import lru_cache
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

from tusserver.protocol.commands import Checksum
from tusserver.protocol.refusals import BadChecksum, BadConcat, BadHeader, BadMetadata
from tusserver.protocol.upload import Concat, Kind

ALGORITHMS: Final = ("sha1", "sha256", "sha512", "md5")
"""The checksum algorithms offered, by their names in hashlib and in tus alike (CSUM-10, CSUM-11)."""

OFFSET_OCTET_STREAM: Final = "application/offset+octet-stream"

MAX_INTEGER: Final = 2**63 - 1
"""The largest length or offset, in bytes: what every session store can hold (AMB-06)."""

_DIGEST_SIZES = {name: hashlib.new(name, usedforsecurity=False).digest_size for name in ALGORITHMS}
_LAST_SECOND = 253402300799  # of the year 9999, beyond which an IMF-fixdate cannot say anything
_UPLOAD_ID = re.compile(r"[A-Za-z0-9_-]{16,64}")
_INTEGER = re.compile(r"0*+([0-9]{0,19})")
_KEY = re.compile(r"[!-+\--~]+")
_BASE64 = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")
_TOKEN = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"
_MEDIA_TYPE = re.compile(f"{_TOKEN}/{_TOKEN}")
_PORTS = {"http": 80, "https": 443}


# Upload ids and URLs


def is_upload_id(text: str) -> bool:
    """Whether the text could be the id of an upload here; nothing else is worth asking a store about (AMB-36)."""
    return _UPLOAD_ID.fullmatch(text) is not None


def build_location(base_url: str, upload_id: str) -> str:
    """``Location``: the URL of an upload below the base URL (CREA-28, CREA-29)."""
    return f"{base_url}/{upload_id}"


def parse_location(url: str, base_url: str) -> str | None:
    """The id of the upload that a URL names, None when it is not an upload URL below ``base_url`` (CONC-24).

    Understood are an absolute URL, a path from the root, and the id alone. An absolute URL has to have the host and
    port of ``base_url``; its scheme does not matter, as TLS may end in front of this server. Where ``base_url`` is
    only a path, the host is not known here and any will do: the id must be known here all the same.
    """
    if is_upload_id(url):
        return url
    try:
        named, base = urlsplit(url), urlsplit(base_url)
        elsewhere = bool(named.netloc and base.netloc) and _address(named) != _address(base)
    except ValueError:
        return None
    if elsewhere or named.scheme not in ("", "http", "https") or "?" in url or "#" in url:
        return None
    parent, _, upload_id = named.path.rpartition("/")
    found = named.path.startswith("/") and unquote(parent) == unquote(base.path) and is_upload_id(upload_id)
    return upload_id if found else None


def _address(url: SplitResult) -> tuple[str | None, int | None]:
    usual = url.port == _PORTS.get(url.scheme)
    return url.hostname, None if usual else url.port


# Numbers, dates, media types


def parse_integer(raw: str, name: str) -> int:
    """A length or an offset in bytes: ASCII digits, at most 2**63 - 1 (CORE-02, CORE-03, AMB-06)."""
    # int() is given no more digits than can be right: it refuses thousands of them, and is slow long before.
    digits = _INTEGER.fullmatch(raw)
    if digits and raw:
        value = int(digits[1] or "0")
        if value <= MAX_INTEGER:
            return value
    raise BadHeader(f"{name.title()} must be a whole number of bytes, digits only, from 0 to {MAX_INTEGER}.")


def build_integer(value: int) -> str:
    """A length or an offset in bytes, digits only."""
    return str(value)


def build_http_date(seconds: float) -> str:
    """A time, in seconds since the epoch, as IMF-fixdate (EXP-10, RFC 9110 section 5.6.7)."""
    return _http_date(int(min(seconds, _LAST_SECOND)))


@lru_cache(4096)
def _http_date(second: int) -> str:
    return formatdate(second, usegmt=True)


def is_offset_octet_stream(content_type: str | None) -> bool:
    """Whether a ``Content-Type`` says that the body is upload bytes; case and parameters don't matter (AMB-04)."""
    return content_type is not None and _bare(content_type) == OFFSET_OCTET_STREAM


def _bare(media_type: str) -> str:
    return media_type.partition(";")[0].strip().lower()


# Upload-Metadata


def parse_metadata(raw: str) -> dict[str, bytes]:
    """``Upload-Metadata`` as its keys and decoded values, in their order; an empty header means none (AMB-15).

    Raises BadMetadata, which says what is wrong (CREA-14 to CREA-20).
    """
    metadata: dict[str, bytes] = {}
    if not raw.strip(" \t"):
        return metadata
    for pair in raw.split(","):
        key, _, value = pair.partition(" ")
        if not _KEY.fullmatch(key):
            raise BadMetadata(
                "Upload-Metadata must be comma-separated pairs of a key and a Base64 value with one space in between; "
                "keys are printable ASCII without space and comma, and not empty."
            )
        if key in metadata:
            raise BadMetadata(f"Upload-Metadata has the key {key} twice; keys must be unique.")
        decoded = _decode_base64(value)
        if decoded is None:
            raise BadMetadata(
                f"Upload-Metadata's value for {key} must be Base64 with padding, after exactly one space."
            )
        metadata[key] = decoded
    return metadata


def build_metadata(metadata: Mapping[str, bytes]) -> str:
    """``Upload-Metadata`` for these keys and values. Raises ValueError for a key that the header cannot carry."""
    for key in metadata:
        if not _KEY.fullmatch(key):
            raise ValueError(f"metadata key {key!r}: use printable ASCII without space and comma")
    return ",".join(f"{key} {b64encode(value).decode()}" if value else key for key, value in metadata.items())


def filename(metadata: Mapping[str, bytes]) -> str | None:
    """The name that the client gave (key ``filename`` or ``name``), without any path; None when it gave none.

    It is safe to show and to quote, not to use as a path: control characters and those that change the direction of
    the text are gone (CREA-21).
    """
    for key in ("filename", "name"):
        last = re.split(r"[/\\]", _text(metadata.get(key, b"")))[-1]
        name = "".join(character for character in last if _shown(character)).strip()
        if name not in ("", ".", ".."):
            return name
    return None


def media_type(metadata: Mapping[str, bytes]) -> str | None:
    """The media type that the client gave (key ``filetype`` or ``type``), in lower case and without parameters; None
    when it gave none, or something else (CREA-21)."""
    for key in ("filetype", "type"):
        bare = _bare(_text(metadata.get(key, b"")))
        if _MEDIA_TYPE.fullmatch(bare):
            return bare
    return None


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _shown(character: str) -> bool:
    directs = unicodedata.bidirectional(character) in {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    return not directs and unicodedata.category(character) not in {"Cc", "Zl", "Zp"}


# Upload-Concat


def parse_concat(raw: str, resolve: Callable[[str], str | None]) -> Concat:
    """``Upload-Concat`` with the ids of the partial uploads, in their order (CONC-05 to CONC-07, CONC-25).

    ``resolve`` gives the upload id that a URL names, or None. Raises BadConcat.
    """
    if raw == "partial":
        return Concat(raw=raw, kind=Kind.PARTIAL)
    word, separator, urls = raw.partition(";")
    if word != "final" or not separator:
        raise BadConcat("Upload-Concat must be 'partial', or 'final;' and the partial uploads' URLs.")
    return Concat(raw=raw, kind=Kind.FINAL, parts=tuple(_part(url, resolve) for url in urls.split(" ")))


def build_concat(urls: Sequence[str] | None) -> str:
    """``Upload-Concat`` of a final upload over these URLs; None: of a partial upload."""
    return "partial" if urls is None else f"final;{' '.join(urls)}"


def _part(url: str, resolve: Callable[[str], str | None]) -> str:
    if not url:
        raise BadConcat("Upload-Concat's list must be the partial uploads' URLs with one space in between.")
    upload_id = resolve(url)
    if upload_id is None:
        raise BadConcat("Upload-Concat names a URL that is not an upload's URL on this server.")
    return upload_id


# Upload-Checksum


def parse_checksum(raw: str) -> Checksum:
    """``Upload-Checksum``: an algorithm that is offered and a digest (CSUM-14). Raises BadChecksum."""
    algorithm, _, encoded = raw.partition(" ")
    if algorithm not in ALGORITHMS:
        raise BadChecksum(f"Upload-Checksum must begin with one of these, in lower case: {', '.join(ALGORITHMS)}.")
    digest = _decode_base64(encoded)
    if not digest:
        size = _DIGEST_SIZES[algorithm]
        raise BadChecksum(f"Upload-Checksum must be {algorithm}, one space and the digest's {size} bytes in Base64.")
    # A digest of another size is no syntax error: it is one that no body has, which is a mismatch (CSUM-06).
    return Checksum(algorithm=algorithm, digest=digest)


def build_checksum(checksum: Checksum) -> str:
    """``Upload-Checksum`` for this checksum."""
    return f"{checksum.algorithm} {b64encode(checksum.digest).decode()}"


def _decode_base64(text: str) -> bytes | None:
    # Python's own validation differs between its versions, and lets surplus padding pass.
    return a2b_base64(text) if _BASE64.fullmatch(text) else None
