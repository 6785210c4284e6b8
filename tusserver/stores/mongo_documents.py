"""A session as a document in MongoDB: fields that people can read and search. docs/mongodb.md describes them; they are
only ever added to.

Times are BSON dates, bytes 64-bit integers. What the store stamps on the server's clock is left to an update pipeline.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from bson.binary import Binary
from bson.datetime_ms import DatetimeMS
from bson.int64 import Int64

from tusserver.protocol.headers import filename, parse_metadata
from tusserver.protocol.refusals import BadMetadata
from tusserver.protocol.upload import Status, Upload
from tusserver.stores.documents import from_document, to_document

FIELDS: Final = (
    "version", "status", "kind", "created_at", "updated_at", "expires_at", "completed_at", "ended_at", "length",
    "upload_metadata", "owner", "concat", "parts", "token", "lease", "stored", "place", "timeline", "written_at",
)  # fmt: skip
"""What an upload is read from; the other fields are for people."""

Document = dict[str, Any]


def to_session(upload: Upload, *, version: int) -> Document:
    """The whole document, but for what ``stamps`` adds."""
    document = to_document(upload)
    raw = document.pop("metadata")
    ended_at = _date(upload.ended_at)
    document |= {
        "_id": document.pop("id"),
        "version": version,
        "kind": upload.kind.value,
        "offset": Int64(upload.offset),
        "length": None if upload.length is None else Int64(upload.length),
        "upload_metadata": raw,
        **described(raw),
        "created_at": _date(upload.created_at),
        "updated_at": _date(upload.updated_at),
        "expires_at": _date(upload.expires_at),
        "completed_at": _date(upload.completed_at),
        "ended_at": ended_at,
        "cancelled_at": ended_at if upload.status is Status.CANCELLED else None,
        "expired_at": ended_at if upload.status is Status.EXPIRED else None,
        "parts": [_wide(part, "start", "stop") for part in document["parts"]],
        "timeline": [_wide(moment, "offset") | {"at": _date(moment["at"])} for moment in document["timeline"]],
    }
    if upload.lease is not None:
        lease = _wide(document["lease"], "start")
        document["lease"] = lease | {"expires_at": _date(lease["expires_at"]), "since": _date(lease["since"])}
    return document


def stored_by(upload: Upload, *, version: int, now: Any) -> list[Document]:
    """The update pipeline that makes the stored document this upload's, stamped where it asks for it. ``now`` is the
    aggregation expression of the store's clock."""
    document = to_session(upload, version=version)
    return [{"$replaceWith": {"$literal": document}}, {"$set": _stamps(upload, document, now)}]


def from_session(document: Mapping[str, Any]) -> Upload:
    """The upload, from ``FIELDS`` and ``now``. The answer to a write that a driver has repeated over a fail-over comes
    without what a projection computes, so without ``now``: it is as of when it was written."""
    plain = _plain(document)
    as_of = plain.get("now", plain["written_at"])
    return from_document({**plain, "id": plain["_id"], "metadata": plain["upload_metadata"]}, as_of=as_of)


def _stamps(upload: Upload, document: Document, now: Any) -> Document:
    stamps: Document = {"written_at": now}
    lease = upload.lease
    if lease is not None and lease.expires_at is None:
        stamps["lease.expires_at"] = {"$add": [now, round(lease.ttl * 1000)]}
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


def described(raw: str | None) -> Document:
    """``Upload-Metadata`` for people, as ``metadata`` and ``file_name``: what is no text is binary, and names that
    MongoDB reads as operators or as paths are left out."""
    try:
        pairs = parse_metadata(raw) if raw is not None else {}
    except BadMetadata:
        pairs = {}
    shown = {key: _value(value) for key, value in pairs.items() if "." not in key and not key.startswith("$")}
    return {"metadata": shown, "file_name": filename(pairs)}


def _value(value: bytes) -> str | Binary:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return Binary(value)


def _wide(document: Document, *names: str) -> Document:
    return document | {name: Int64(document[name]) for name in names}


def _date(time: float | None) -> DatetimeMS | None:
    return None if time is None else DatetimeMS(round(time * 1000))


def _plain(value: Any) -> Any:
    """Dates as seconds since the epoch."""
    if isinstance(value, DatetimeMS):
        return int(value) / 1000
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return int(value) if isinstance(value, Int64) else value
