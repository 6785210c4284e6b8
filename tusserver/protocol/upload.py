"""An upload as a value, and every change to it as a pure function from one value to the next.

The rules of this file:

* Nothing here awaits, reads a clock, logs or touches a store. Time is an argument, in seconds since the epoch (UTC).
* The offset is not stored beside the bytes that it counts: it *is* where the last part stops.
* ``offset == length`` if and only if the upload has been COMPLETED, so that no crash can leave a full one unfinished.
  (A new final upload over nothing but empty partial uploads is the exception until it is joined.)
* A token is never used by two writers at once. A lease that is taken over without having been released costs its
  token: the next writer writes under a new one, where the old one cannot touch what has been counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from tusserver.protocol.timeline import Moment, Timeline, noted

ANYWHERE: Final = -1
"""The contest of somebody who does not want to write at an offset, only wants the writer to end (HEAD, DELETE)."""


class Status(StrEnum):
    """What has become of an upload."""

    ACTIVE = "active"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class Kind(StrEnum):
    """What an upload is for (tus 1.0.0, Concatenation)."""

    WHOLE = "whole"
    PARTIAL = "partial"
    FINAL = "final"


TRANSITIONS: Final[Mapping[Status, frozenset[Status]]] = {
    Status.ACTIVE: frozenset({Status.COMPLETED, Status.CANCELLED, Status.EXPIRED}),
    Status.COMPLETED: frozenset({Status.CANCELLED, Status.EXPIRED}),
    Status.CANCELLED: frozenset(),
    Status.EXPIRED: frozenset(),
}
"""Which status may follow which. CANCELLED and EXPIRED are tombstones: they only wait to be forgotten."""

TOMBSTONES: Final = frozenset({Status.CANCELLED, Status.EXPIRED})


class InvalidTransition(Exception):
    """A change that no rule of this file allows: a defect of the caller, never a client's doing."""


class Part(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Counted bytes ``[start, stop)`` of an upload that lie under the key ``token``.

    Bytes lie at their own position of the *upload*, whatever the part: the byte at position p of the upload is at
    position p under the key.
    """

    token: int
    start: int
    stop: int

    @property
    def size(self) -> int:
        """Bytes in this part."""
        return self.stop - self.start


class Lease(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The right to write, given to one request on one process for a while.

    ``expires_at`` is on the *session store's* clock, in seconds since the epoch; None asks the store to stamp
    ``ttl`` seconds from now when it stores the value. ``since`` is when the lease was taken, on the same clock (None:
    to be stamped), and ``start`` the offset that it was taken at. ``contest`` is the offset from which somebody else
    wants to write (``ANYWHERE``: to end this writer, whatever its offset), or None.
    """

    id: str
    holder: str
    ttl: float
    expires_at: float | None = None
    contest: int | None = None
    since: float | None = None
    start: int = 0


class Concat(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """``Upload-Concat`` as received (``raw``, echoed byte for byte: CONC-22) and what it says."""

    raw: str
    kind: Kind
    parts: tuple[str, ...] = ()


class Upload(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One upload. Sizes and offsets are bytes; times are seconds since the epoch (UTC).

    ``version`` is moved by the session store with each swap. ``as_of`` is the session store's clock at the moment
    when it handed this value out; it is not stored and does not count in comparisons (compare values with
    ``but(as_of=0.0)`` or use ``same_as``).
    """

    id: str
    created_at: float
    updated_at: float
    length: int | None = None
    metadata: str | None = None
    owner: str | None = None
    concat: Concat | None = None
    status: Status = Status.ACTIVE
    parts: tuple[Part, ...] = ()
    token: int = 1
    lease: Lease | None = None
    expires_at: float | None = None
    completed_at: float | None = None
    ended_at: float | None = None
    stored: bool = True
    place: str | None = None
    timeline: Timeline = ()
    version: int = 0
    as_of: float = 0.0

    def but(self, **changes: Any) -> Upload:
        """The same upload with other values in some fields. Raises TypeError for what is no field."""
        return replace(self, **changes)

    # What can be read off

    @property
    def offset(self) -> int:
        """Bytes counted so far."""
        return self.parts[-1].stop if self.parts else 0

    @property
    def begun(self) -> bool:
        """Whether bytes are counted under the current token: those are the last part."""
        return bool(self.parts) and self.parts[-1].token == self.token

    @property
    def earlier(self) -> tuple[Part, ...]:
        """The parts under earlier tokens."""
        return self.parts[:-1] if self.begun else self.parts

    @property
    def kind(self) -> Kind:
        """What this upload is for."""
        return self.concat.kind if self.concat else Kind.WHOLE

    @property
    def completed(self) -> bool:
        """Whether every byte has arrived and been counted."""
        return self.status is Status.COMPLETED

    @property
    def remaining(self) -> int | None:
        """Bytes still to come; None while the length is deferred."""
        return None if self.length is None else self.length - self.offset

    @property
    def leased(self) -> bool:
        """Whether somebody may be writing: there is a lease and it has not run out on the store's clock."""
        lease = self.lease
        return lease is not None and (lease.expires_at is None or lease.expires_at > self.as_of)

    @property
    def speed(self) -> float | None:
        """Bytes per second that its writer has received since it took the lease; None while nobody writes."""
        lease = self.lease
        if lease is None or not self.leased or lease.since is None or self.as_of <= lease.since:
            return None
        return (self.offset - lease.start) / (self.as_of - lease.since)

    def held_by(self, lease_id: str) -> bool:
        """Whether the lease is still the one with this id, run out or not."""
        return self.lease is not None and self.lease.id == lease_id

    def same_as(self, other: Upload) -> bool:
        """Whether both are one stored value, whenever each was read."""
        return replace(self, as_of=0.0) == replace(other, as_of=0.0)

    # Writing

    def acquired(self, *, lease_id: str, holder: str, ttl: float) -> Upload:
        """Give the lease to a new holder. An unreleased lease costs its token (see ``fenced``)."""
        base = self.fenced() if self.lease is not None else self
        lease = Lease(id=lease_id, holder=holder, ttl=ttl, start=self.offset)
        return replace(base, lease=lease, timeline=base._with("taken", holder))

    def renewed(self) -> Upload:
        """Ask the store to stamp the lease anew. A contested lease is left to run out."""
        lease = self._lease()
        if lease.contest is not None:
            return self
        return replace(self, lease=replace(lease, expires_at=None))

    def contested(self, offset: int) -> Upload:
        """Ask the holder to end, because somebody wants to write from ``offset`` (or ``ANYWHERE``)."""
        return replace(self, lease=replace(self._lease(), contest=offset))

    def uncontested(self) -> Upload:
        """The holder answers a contest for an offset that it has already passed: it stays."""
        return replace(self, lease=replace(self._lease(), contest=None))

    def released(self, why: str | None = None) -> Upload:
        """The holder has ended and will write no more under this token; the next writer may go on under it.
        ``why``: what ended it before the body did."""
        return replace(self, lease=None, timeline=self.timeline if why is None else self._with(why, self._holder))

    def fenced(self, what: str = "fenced") -> Upload:
        """Take the lease from a holder that may still be writing: its token is spent."""
        return replace(self, lease=None, token=self.token + 1, timeline=self._with(what, self._holder))

    def advanced(self, offset: int, *, now: float, by: str | None = None) -> Upload:
        """Count the durable bytes up to ``offset`` under the current token; the last one completes the upload. ``by``:
        who has taken the upload and written them, where nobody holds a lease."""
        before, length = self.offset, self.length
        if self.status is not Status.ACTIVE or offset < before or (length is not None and offset > length):
            raise InvalidTransition(f"{self.status} upload at {before} of {length} cannot go to {offset}")
        parts, timeline = self.parts, self.timeline
        if offset > before:
            taken = timeline if by is None else self._with("taken", by)
            timeline = noted(taken, Moment("received", offset, by or self._holder))
            if self.begun:
                parts = (*parts[:-1], replace(parts[-1], stop=offset))
            else:
                parts = (*parts, Part(token=self.token, start=before, stop=offset))
        moved = replace(self, parts=parts, updated_at=now, timeline=timeline)
        return moved.to(Status.COMPLETED, now=now) if offset == length else moved

    def with_length(self, length: int, *, now: float) -> Upload:
        """Declare a deferred length; an upload that is already that long is complete (CREA-08, CREA-13)."""
        if self.length is not None or length < self.offset:
            raise InvalidTransition(f"length {length} for an upload at {self.offset} of {self.length}")
        return replace(self, length=length).advanced(self.offset, now=now)

    # Living and ending

    def named(self, upload_id: str) -> Upload:
        """A draft, given its id."""
        return replace(self, id=upload_id)

    def described(self, *, metadata: str | None, owner: str | None) -> Upload:
        """A draft, with the metadata (as ``Upload-Metadata`` has it) and the owner that an application gives it."""
        return replace(self, metadata=metadata, owner=owner)

    def to(self, status: Status, *, now: float) -> Upload:
        """Move to another status, as ``TRANSITIONS`` allows."""
        if status not in TRANSITIONS[self.status]:
            raise InvalidTransition(f"{self.status} -> {status}")
        timeline = self._with(status._value_)  # ``value`` is a property written in Python
        if status is Status.COMPLETED:
            return replace(self, status=status, updated_at=now, completed_at=now, timeline=timeline)
        return replace(self, status=status, updated_at=now, ended_at=now, lease=None, timeline=timeline)

    def kept_until(self, expires_at: float | None) -> Upload:
        """Set when the upload expires (None: never)."""
        return replace(self, expires_at=expires_at)

    def placed(self, place: str) -> Upload:
        """Say which byte store holds the bytes (``ByteStore.place``)."""
        return replace(self, place=place)

    def noted(self, what: str, *, by: str | None = None) -> Upload:
        """Remember a moment (see ``timeline.noted``)."""
        return replace(self, timeline=self._with(what, by))

    def emptied(self) -> Upload:
        """Its bytes have been deleted."""
        return replace(self, stored=False)

    @property
    def _holder(self) -> str | None:
        return self.lease.holder if self.lease is not None else None

    def _with(self, what: str, by: str | None = None) -> Timeline:
        return noted(self.timeline, Moment(what, self.offset, by))

    def _lease(self) -> Lease:
        if self.lease is None:
            raise InvalidTransition("no lease")
        return self.lease
