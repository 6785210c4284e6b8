"""An upload as a session store writes it: a document of named fields that JSON can hold.

Fields are only ever added. A document without a field, from an older version, gets the field's default; a field that
is not known here, from a newer version, is ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from tusserver.protocol.timeline import Moment
from tusserver.protocol.upload import Concat, Kind, Lease, Part, Status, Upload

TIMES: Final = ("created_at", "updated_at", "expires_at", "completed_at", "ended_at")


def as_stored(upload: Upload, *, version: int, now: float) -> Upload:
    """The value that a store keeps for ``upload``: with its version, and stamped where it asks for it. ``now`` is
    seconds since the epoch on the store's clock. Times are kept to the millisecond."""
    fields = upload.__dict__
    changes: dict[str, Any] = {"version": version, "as_of": now}
    for name in TIMES:
        time = fields[name]
        if time is not None:
            changes[name] = int(time * 1000 + 0.5) / 1000  # round() goes by way of a decimal string
    if any([moment.at is None for moment in upload.timeline]):
        # _replace() takes several times as long
        changes["timeline"] = tuple(
            [moment if moment.at is not None else Moment(*moment[:3], now) for moment in upload.timeline]
        )
    if upload.lease is not None:
        changes["lease"] = _stamped(upload.lease, now)
    return upload.but(**changes)


def _stamped(lease: Lease, now: float) -> Lease:
    return replace(
        lease,
        expires_at=now + lease.ttl if lease.expires_at is None else lease.expires_at,
        since=now if lease.since is None else lease.since,
    )


def to_document(upload: Upload) -> dict[str, Any]:
    """The upload's fields, but for ``as_of``, which is not stored."""
    return {
        "id": upload.id,
        "version": upload.version,
        "status": upload.status._value_,  # ``value`` is a property written in Python
        "created_at": upload.created_at,
        "updated_at": upload.updated_at,
        "expires_at": upload.expires_at,
        "completed_at": upload.completed_at,
        "ended_at": upload.ended_at,
        "length": upload.length,
        "metadata": upload.metadata,
        "owner": upload.owner,
        "concat": _concat_document(upload.concat),
        "parts": [{"token": part.token, "start": part.start, "stop": part.stop} for part in upload.parts],
        "token": upload.token,
        "lease": _lease_document(upload.lease),
        "stored": upload.stored,
        "place": upload.place,
        "timeline": [{"what": what, "offset": offset, "by": by, "at": at} for what, offset, by, at in upload.timeline],
    }


def from_document(document: Mapping[str, Any], as_of: float) -> Upload:
    """The upload that was written, handed out at ``as_of`` (seconds since the epoch, the store's clock).

    Raises KeyError or ValueError for what ``to_document`` never wrote.
    """
    return Upload(
        id=document["id"],
        version=document["version"],
        status=Status(document["status"]),
        created_at=document["created_at"],
        updated_at=document["updated_at"],
        expires_at=document.get("expires_at"),
        completed_at=document.get("completed_at"),
        ended_at=document.get("ended_at"),
        length=document.get("length"),
        metadata=document.get("metadata"),
        owner=document.get("owner"),
        concat=_concat(document.get("concat")),
        parts=tuple(
            Part(token=part["token"], start=part["start"], stop=part["stop"]) for part in document.get("parts", ())
        ),
        token=document["token"],
        lease=_lease(document.get("lease")),
        stored=document.get("stored", True),
        place=document.get("place"),
        timeline=tuple(
            [
                Moment(moment["what"], moment["offset"], moment["by"], moment["at"])
                for moment in document.get("timeline", ())
            ]
        ),
        as_of=as_of,
    )


def _concat_document(concat: Concat | None) -> dict[str, Any] | None:
    if concat is None:
        return None
    return {"raw": concat.raw, "kind": concat.kind.value, "parts": list(concat.parts)}


def _concat(document: Mapping[str, Any] | None) -> Concat | None:
    if document is None:
        return None
    return Concat(raw=document["raw"], kind=Kind(document["kind"]), parts=tuple(document.get("parts", ())))


def _lease_document(lease: Lease | None) -> dict[str, Any] | None:
    if lease is None:
        return None
    return {
        "id": lease.id,
        "holder": lease.holder,
        "ttl": lease.ttl,
        "expires_at": lease.expires_at,
        "contest": lease.contest,
        "since": lease.since,
        "start": lease.start,
    }


def _lease(document: Mapping[str, Any] | None) -> Lease | None:
    if document is None:
        return None
    return Lease(
        id=document["id"],
        holder=document["holder"],
        ttl=document["ttl"],
        expires_at=document.get("expires_at"),
        contest=document.get("contest"),
        since=document.get("since"),
        start=document.get("start", 0),
    )
