"""What may be done to an upload, decided purely: each function returns the new value or raises the refusal.

The checks of an append stand in the order that a client can rely on: gone (404, 410), final (403), offset (409),
length (400), room (413). Version, content type and syntax were checked before, by the dialect.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tusserver.protocol.commands import Append, Create
from tusserver.protocol.headers import MAX_INTEGER
from tusserver.protocol.refusals import (
    BadConcat,
    FinalUploadFixed,
    LengthExceeded,
    LengthFixed,
    OffsetMismatch,
    Refusal,
    TooLarge,
    UploadExpired,
    UploadNotFound,
)
from tusserver.protocol.timeline import CREATED
from tusserver.protocol.upload import Concat, Kind, Status, Upload


class Limits(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a server allows. Sizes are bytes, durations seconds; None means without bound (or never)."""

    max_size: int | None = None
    expire_after: float | None = 24 * 3600.0
    expire_completed_after: float | None = None


def expiry(upload: Upload, limits: Limits, now: float) -> float | None:
    """When the upload expires if nobody touches it from now on (EXP-06: the time slides).

    A partial upload is only material for a final one, so it expires like an unfinished upload even when complete.
    """
    unfinished = upload.status is Status.ACTIVE or upload.kind is Kind.PARTIAL
    after = limits.expire_after if unfinished else limits.expire_completed_after
    return None if after is None else now + after


def kept(upload: Upload, limits: Limits, now: float) -> Upload:
    """The upload, with its expiry counted from now."""
    return upload.kept_until(expiry(upload, limits, now))


def alive(upload: Upload, now: float) -> Upload:
    """The upload, if it is still there. Raises UploadNotFound (terminated) or UploadExpired (AMB-20)."""
    if upload.status is Status.CANCELLED:
        raise UploadNotFound
    overdue = upload.expires_at is not None and upload.expires_at <= now and not upload.leased
    if upload.status is Status.EXPIRED or overdue:
        raise UploadExpired
    return upload


def created(command: Create, *, upload_id: str, limits: Limits, now: float) -> Upload:
    """A new whole or partial upload; one of length 0 is complete at once (CREA-13). Raises TooLarge (CREA-25)."""
    if exceeds(command.length, limits.max_size):
        raise TooLarge
    upload = Upload(
        id=upload_id,
        created_at=now,
        updated_at=now,
        length=command.length,
        metadata=command.metadata,
        concat=command.concat,
        timeline=CREATED,
    )
    return kept(upload if command.length != 0 else upload.advanced(0, now=now), limits, now)


def joined(
    command: Create, concat: Concat, partials: Sequence[Upload | None], *, upload_id: str, limits: Limits, now: float
) -> Upload:
    """A new final upload over its partial uploads, in the order of ``concat.parts`` (CONC-04, CONC-10).

    Raises BadConcat when one is missing or not partial (AMB-25, AMB-26), TooLarge (CONC-26).
    """
    lengths: list[int | None] = []
    for partial_id, partial in zip(concat.parts, partials, strict=True):
        if partial is None or partial.kind is not Kind.PARTIAL or not _usable(partial, now):
            raise BadConcat(f"Upload-Concat names {partial_id}, which is not a partial upload here.")
        lengths.append(partial.length)
    upload = Upload(
        id=upload_id,
        created_at=now,
        updated_at=now,
        length=total(lengths),
        metadata=command.metadata,
        concat=concat,
        timeline=CREATED,
    )
    if exceeds(upload.length, limits.max_size):
        raise TooLarge
    return kept(upload, limits, now)


def appendable(upload: Upload, command: Append, *, limits: Limits, now: float) -> Upload:
    """The upload, if the command may append to it. Raises the first of the refusals in this file's order.

    An empty body at the end of a completed upload is no refusal (AMB-13): the caller sees ``upload.completed``.
    """
    alive(upload, now)
    if upload.kind is Kind.FINAL:
        raise FinalUploadFixed(upload=upload)
    offset = upload.offset
    if command.offset != offset:
        raise OffsetMismatch(upload=upload)
    if command.length is not None:
        _check_declared(command.length, upload, limits)
    if exceeds(offset + (command.body.size or 0), bound(upload, command, limits)):
        raise overflow(upload, command)
    return upload


class Want(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a writer wants an upload to be, so that it can be given the lease without a further look: ACTIVE and no
    final upload, at ``offset``, with room for ``size`` bytes (``deferred``: there is where the length is not known
    yet), not expired at ``now``, with its bytes in ``place``, and without a lease."""

    offset: int
    size: int
    deferred: bool
    now: float
    place: str

    def met_by(self, upload: Upload) -> bool:
        """Whether the upload is so."""
        room = self.deferred if upload.length is None else upload.length >= self.offset + self.size
        return (
            room
            and upload.status is Status.ACTIVE
            and upload.kind is not Kind.FINAL
            and upload.lease is None
            and upload.offset == self.offset
            and (upload.expires_at is None or upload.expires_at > self.now)
            and upload.place in (None, self.place)
        )


def wanted(command: Append, *, place: str | None, limits: Limits, now: float) -> Want | None:
    """What leaves ``appendable`` nothing to refuse. None where there is more to look at (a length is declared, or it is
    not known where the bytes are to be), or no upload can be so."""
    size = command.body.size or 0
    if command.length is not None or place is None or command.offset + size > MAX_INTEGER:
        return None
    deferred = not exceeds(command.offset + size, limits.max_size)
    return Want(offset=command.offset, size=size, deferred=deferred, now=now, place=place)


def bound(upload: Upload, command: Append, limits: Limits) -> int | None:
    """The position that no byte may pass: the length, as long as it is deferred the maximum size, or None."""
    length = upload.length if upload.length is not None else command.length
    return length if length is not None else limits.max_size


def overflow(upload: Upload, command: Append) -> Refusal:
    """The refusal of bytes beyond ``bound``."""
    deferred = upload.length is None and command.length is None
    return TooLarge(upload=upload) if deferred else LengthExceeded(upload=upload)


def counted(
    upload: Upload, offset: int, *, limits: Limits, now: float, length: int | None = None, by: str | None = None
) -> Upload:
    """Count the durable bytes up to ``offset``, and the length that was declared with them; the expiry slides. ``by``:
    see ``Upload.advanced``."""
    moved = upload.advanced(offset, now=now, by=by)
    if length is not None:
        moved = moved.with_length(length, now=now)
    return kept(moved, limits, now)


def total(lengths: Sequence[int | None]) -> int | None:
    """The sum, None while one of them is unknown (CONC-21)."""
    known = [length for length in lengths if length is not None]
    return sum(known) if len(known) == len(lengths) else None


def exceeds(size: int | None, limit: int | None) -> bool:
    """Whether a known size is above a known limit."""
    return size is not None and limit is not None and size > limit


def _usable(partial: Upload, now: float) -> bool:
    try:
        alive(partial, now)
    except Refusal:
        return False
    return True


def _check_declared(length: int, upload: Upload, limits: Limits) -> None:
    if upload.length is not None:
        raise LengthFixed(upload=upload)
    if length < upload.offset:
        raise LengthFixed("Upload-Length is below the offset; declare what the upload really has.", upload=upload)
    if exceeds(length, limits.max_size):
        raise TooLarge(upload=upload)
