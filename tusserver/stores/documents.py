"""An upload as a session store writes it: a document of named fields that JSON can hold.

Fields are only ever added. A document without a field, from an older version, gets the field's default; a field that
is not known here, from a newer version, is ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from math import floor
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from tusserver.protocol.upload import Lease, Upload

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Upload).decode


def as_stored(upload: Upload, *, version: int, now: float) -> Upload:
    """The value that a store keeps for ``upload``: with its version, and stamped where it asks for it. ``now`` is
    seconds since the epoch on the store's clock. Times are kept to the millisecond."""
    timeline = upload.timeline
    if timeline and timeline[-1].at is None:  # what has been noted since is at the end
        timeline = tuple([each if each.at is not None else replace(each, at=now) for each in timeline])
    return replace(
        upload,
        version=version,
        as_of=now,
        created_at=_rounded(upload.created_at),
        updated_at=_rounded(upload.updated_at),
        expires_at=_rounded(upload.expires_at),
        completed_at=_rounded(upload.completed_at),
        ended_at=_rounded(upload.ended_at),
        timeline=timeline,
        lease=None if upload.lease is None else _stamped(upload.lease, now),
    )


def to_text(upload: Upload) -> str:
    """The document as JSON. Its ``as_of`` is when it was written, and is not what it is read as."""
    return _encode(upload).decode()


def from_text(text: str, as_of: float) -> Upload:
    """The upload that was written, handed out at ``as_of`` (seconds since the epoch, the store's clock).

    Raises ValueError for what ``to_text`` never wrote.
    """
    return replace(_decode(text), as_of=as_of)


def to_document(upload: Upload) -> dict[str, Any]:
    """The upload's fields, but for ``as_of``, as plain values."""
    document: dict[str, Any] = msgspec.to_builtins(upload)
    del document["as_of"]
    return document


def from_document(document: Mapping[str, Any], as_of: float) -> Upload:
    """What ``from_text`` gives, from plain values. Raises ValueError for what ``to_document`` never wrote."""
    return msgspec.convert({**document, "as_of": as_of}, Upload)


def milliseconds(seconds: float) -> int:
    """To the nearest, as every store keeps times."""
    return floor(seconds * 1000 + 0.5)  # round() goes by way of a decimal string


@lru_cache(64)  # most of an upload's times are one time
def _rounded(time: float | None) -> float | None:
    return None if time is None else milliseconds(time) / 1000


def _stamped(lease: Lease, now: float) -> Lease:
    return replace(
        lease,
        expires_at=(milliseconds(now) + milliseconds(lease.ttl)) / 1000
        if lease.expires_at is None
        else lease.expires_at,
        since=now if lease.since is None else lease.since,
    )
