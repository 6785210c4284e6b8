"""A session as a document in MongoDB: fields that people can read and search. docs/mongodb.md describes them; they are
only ever added to.

Times are BSON dates, bytes 64-bit integers. What the store stamps on the server's clock is left to an update pipeline.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final

from bson.binary import Binary
from bson.datetime_ms import DatetimeMS
from bson.int64 import Int64

from tusserver.protocol.headers import filename, parse_metadata
from tusserver.protocol.refusals import BadMetadata
from tusserver.protocol.upload import Status, Upload
from tusserver.stores.documents import as_stored, from_document, milliseconds, to_document

DATES: Final = ("created_at", "updated_at", "expires_at", "completed_at", "ended_at")
LEASE_DATES: Final = ("expires_at", "since")
MOMENT_DATES: Final = ("at",)
FIELDS: Final = (
    *DATES, "version", "status", "length", "upload_metadata", "owner", "concat", "parts", "token", "lease", "stored",
    "place", "timeline", "written_at",
)  # fmt: skip
"""What an upload is read from; the other fields are for people."""

WRITTEN: Final = ("written_at",)
"""What is not known of an upload that one has written oneself."""

Document = dict[str, Any]


def to_session(upload: Upload, *, version: int) -> Document:
    """The whole document, but for what ``stamps`` adds."""
    document = to_document(upload)
    raw = document.pop("metadata")
    ended_at = date(upload.ended_at)
    document |= {
        "_id": document.pop("id"),
        "version": version,
        "kind": upload.kind.value,
        "offset": Int64(upload.offset),
        "length": None if upload.length is None else Int64(upload.length),
        "upload_metadata": raw,
        **described(raw),
        "created_at": date(upload.created_at),
        "updated_at": date(upload.updated_at),
        "expires_at": date(upload.expires_at),
        "completed_at": date(upload.completed_at),
        "ended_at": ended_at,
        "cancelled_at": ended_at if upload.status is Status.CANCELLED else None,
        "expired_at": ended_at if upload.status is Status.EXPIRED else None,
        "parts": [_wide(part, "start", "stop") for part in document["parts"]],
        "timeline": [_wide(moment, "offset") | {"at": date(moment["at"])} for moment in document["timeline"]],
    }
    if upload.lease is not None:
        lease = _wide(document["lease"], "start")
        document["lease"] = lease | {"expires_at": date(lease["expires_at"]), "since": date(lease["since"])}
    return document


def stored_by(upload: Upload, *, version: int, now: Any) -> list[Document]:
    """The update pipeline that makes the stored document this upload's, stamped where it asks for it. ``now`` is the
    aggregation expression of the store's clock."""
    document = to_session(upload, version=version)
    return [{"$replaceWith": {"$literal": document}}, {"$set": _stamps(upload, document, now)}]


def written(upload: Upload, document: Mapping[str, Any], *, version: int) -> Upload:
    """The upload as ``stored_by`` has stored it, from ``WRITTEN``. The answer to a write that a driver has repeated
    over a fail-over says when it was written first."""
    return as_stored(upload, version=version, now=int(document["written_at"]) / 1000)


def from_session(document: Mapping[str, Any]) -> Upload:
    """The upload, from ``FIELDS``, as of ``now`` where that was asked for, otherwise as of when it was written."""
    lease = document.get("lease")
    plain = {
        **_seconds(document, DATES),
        "id": document["_id"],
        "metadata": document["upload_metadata"],
        "lease": None if lease is None else _seconds(lease, LEASE_DATES),
        "timeline": [_seconds(moment, MOMENT_DATES) for moment in document.get("timeline", ())],
    }
    return from_document(plain, as_of=int(document.get("now", document["written_at"])) / 1000)


def _stamps(upload: Upload, document: Document, now: Any) -> Document:
    stamps: Document = {"written_at": now}
    lease = upload.lease
    if lease is not None and lease.expires_at is None:
        stamps["lease.expires_at"] = {"$add": [now, milliseconds(lease.ttl)]}
    if lease is not None and lease.since is None:
        stamps["lease.since"] = now
    if any(moment.at is None for moment in upload.timeline):
        stamps["timeline"] = [
            {"$literal": moment} if moment["at"] is not None else _stamped(moment, now)
            for moment in document["timeline"]
        ]
    return stamps


def _stamped(moment: Document, now: Any) -> Document:
    return {"$mergeObjects": [{"$literal": moment}, {"at": now}]}


@lru_cache(64)  # of an upload that is written, several times
def described(raw: str | None) -> Mapping[str, Any]:
    """``Upload-Metadata`` for people, as ``metadata`` and ``file_name``: what is no text is binary, and names that
    MongoDB reads as operators or as paths are left out."""
    try:
        pairs = parse_metadata(raw) if raw is not None else {}
    except BadMetadata:
        pairs = {}
    shown = {key: _value(value) for key, value in pairs.items() if "." not in key and not key.startswith("$")}
    return MappingProxyType({"metadata": shown, "file_name": filename(pairs)})


def _value(value: bytes) -> str | Binary:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return Binary(value)


def _wide(document: Document, *names: str) -> Document:
    return document | {name: Int64(document[name]) for name in names}


def date(time: float | None) -> DatetimeMS | None:
    """Seconds since the epoch as BSON has them."""
    return None if time is None else DatetimeMS(milliseconds(time))


def _seconds(document: Mapping[str, Any], names: tuple[str, ...]) -> Document:
    """The document with the dates of these names as seconds since the epoch."""
    plain = dict(document)
    for name in names:
        if plain.get(name) is not None:
            plain[name] = int(plain[name]) / 1000
    return plain
