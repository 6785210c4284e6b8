"""Uploads as records for machines and as lines for people."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from tusserver.protocol.headers import filename, media_type, parse_metadata
from tusserver.protocol.refusals import BadMetadata
from tusserver.protocol.upload import Status, Upload
from tusserver.stores.base import Tally
from tusserver.units import about_duration, about_size

_LINE: Final = "{:<32}  {:<9}  {:<28}  {:>12}  {:>5}  {:>5}  {:<20}  {}"
_TALLY: Final = "{:<9}  {:>9}  {:>10}  {:>10}"
_TIMES: Final = ("created_at", "updated_at", "expires_at", "completed_at", "ended_at")

HEADING: Final = _LINE.format("ID", "STATUS", "OFFSET / LENGTH", "SPEED", "AGE", "IDLE", "HOLDER", "NAME")


def record(upload: Upload) -> dict[str, Any]:
    """What is known about an upload; sizes in bytes, times as ISO 8601 in UTC."""
    metadata = _metadata(upload)
    lease = upload.lease
    return {
        "id": upload.id,
        "status": upload.status.value,
        "kind": upload.kind.value,
        "offset": upload.offset,
        "length": upload.length,
        "name": filename(metadata),
        "media_type": media_type(metadata),
        "metadata": upload.metadata,
        "owner": upload.owner,
        "concat": upload.concat.raw if upload.concat else None,
        **{name: _time(getattr(upload, name)) for name in _TIMES},
        "leased": upload.leased,
        "holder": lease.holder if lease else None,
        "bytes_per_second": None if upload.speed is None else round(upload.speed),
        "lease_expires_at": _time(lease.expires_at) if lease else None,
        "contested": lease is not None and lease.contest is not None,
        "parts": len(upload.parts),
        "token": upload.token,
        "version": upload.version,
        "stored": upload.stored,
        "place": upload.place,
        "timeline": [
            {"at": _time(moment.at), "what": moment.what, "offset": moment.offset, "by": moment.by}
            for moment in upload.timeline
        ],
    }


def place(upload: Upload) -> str:
    """Where a list, newest first, goes on after this upload."""
    return f"{round(upload.created_at * 1000)}-{upload.id}"


def line(upload: Upload) -> str:
    """One line of the list below ``HEADING``."""
    return _LINE.format(
        upload.id,
        upload.status.value,
        progress(upload),
        "-" if upload.speed is None else f"{about_size(round(upload.speed))}/s",
        about_duration(upload.as_of - upload.created_at),
        about_duration(upload.as_of - upload.updated_at),
        upload.lease.holder if upload.lease and upload.leased else "-",
        filename(_metadata(upload)) or "-",
    ).rstrip()


def progress(upload: Upload) -> str:
    """How far the upload is: ``1.0 MiB / 4.0 MiB (25%)``; a length that is not known yet is ``?``."""
    if upload.length is None:
        return f"{about_size(upload.offset)} / ?"
    # Rounded down, so that only a complete upload is at 100%
    percent = 100 if upload.offset == upload.length else upload.offset * 100 // upload.length
    return f"{about_size(upload.offset)} / {about_size(upload.length)} ({percent}%)"


def sheet(fields: Mapping[str, Any]) -> str:
    """One field a line, those without a value left out; what happened below them."""
    plain = {name: value for name, value in fields.items() if value is not None and name != "timeline"}
    width = max(len(name) for name in plain)
    lines = [f"{name:{width}}  {_shown(value)}" for name, value in plain.items()]
    for moment in fields["timeline"]:
        by = f"  {moment['by']}" if moment["by"] else ""
        lines.append(f"{moment['at']}  {moment['what']:<12}  at {about_size(moment['offset'])}{by}")
    return "\n".join(lines)


def tallied(tallies: Mapping[Status, Tally]) -> dict[str, dict[str, int]]:
    """Counts and bytes by status, every status included."""
    by_status = {status: tallies.get(status, Tally()) for status in Status}
    return {
        status.value: {"count": tally.count, "held": tally.held, "remaining": tally.remaining}
        for status, tally in by_status.items()
    }


def tally_table(tallies: Mapping[Status, Tally]) -> str:
    """The same as a table."""
    lines = [_TALLY.format("STATUS", "UPLOADS", "HELD", "TO COME")]
    for status, tally in tallied(tallies).items():
        # What is missing from a removed upload is not to come
        remaining = about_size(tally["remaining"]) if status == Status.ACTIVE else "-"
        lines.append(_TALLY.format(status, tally["count"], about_size(tally["held"]), remaining))
    return "\n".join(lines)


def success(tallies: Mapping[Status, Tally]) -> float | None:
    """Which share of the uploads that have ended were completed, from 0 to 1; None when none has."""
    counts = {status: tallies.get(status, Tally()).count for status in Status if status is not Status.ACTIVE}
    ended = sum(counts.values())
    return counts[Status.COMPLETED] / ended if ended else None


def success_line(tallies: Mapping[Status, Tally]) -> str:
    """The same as a sentence."""
    share = success(tallies)
    return "No upload has ended yet." if share is None else f"{share:.1%} of the uploads that ended were completed."


def _metadata(upload: Upload) -> dict[str, bytes]:
    try:
        return parse_metadata(upload.metadata or "")
    except BadMetadata:
        return {}


def _time(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
