"""The two stores, as contracts. A backend is right when it passes the contract suite (``tests/stores``).

A **session store** is a compare-and-set register of uploads; it knows no rule of tus. A **byte store** keeps bytes
under keys (upload, token) at positions; it knows no offset but the one in the value that it is handed. Neither knows
HTTP. Both belong to one event loop, never block it, and raise ``StoreUnavailable`` (a Refusal) when their backend
does not answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from tusserver.protocol.refusals import BytesElsewhere
from tusserver.protocol.rules import Want
from tusserver.protocol.upload import Kind, Lease, Status, Upload
from tusserver.stores.findings import Finding

Buffer = bytes | bytearray | memoryview

NOTE: Final = 64 * 1024
"""Bytes of a note (``SessionStore.pin``) at most, as UTF-8."""


class Conflict(Exception):
    """The stored value is not the one that the change started from; read it again and decide anew."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Query:
    """Which uploads; every field that is not None must hold. Times are seconds since the epoch.

    ``leased``: there is a (no) lease, run out or not. ``holder``: leased to this process. ``contested``: the lease is
    (not) contested. ``stored``: bytes may (not) be there. ``created_from``: created then or later. ``expires_before``,
    ``ended_before``, ``updated_before``: that time is set and below the bound. ``beyond``: a place to go on after, the
    ``created_at`` and the id of an upload. ``newest_first`` turns the order round.
    """

    statuses: frozenset[Status] | None = None
    kind: Kind | None = None
    leased: bool | None = None
    holder: str | None = None
    contested: bool | None = None
    stored: bool | None = None
    expires_before: float | None = None
    ended_before: float | None = None
    updated_before: float | None = None
    created_from: float | None = None
    beyond: tuple[float, str] | None = None
    newest_first: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Tally:
    """Uploads of one status: how many, the bytes that they hold (their offsets, while ``stored``) and, over those
    whose length is known, the bytes still to come."""

    count: int = 0
    held: int = 0
    remaining: int = 0


class SessionStore(Protocol):
    """A compare-and-set register of uploads."""

    async def start(self) -> None:
        """Connect, and make what is missing (tables, indexes). Called once, in the loop that will use the store."""
        ...

    async def close(self) -> None:
        """Give back what ``start`` took. Called once; closing what never started is fine."""
        ...

    async def create(self, upload: Upload) -> Upload:
        """Store a new upload (version 1, stamped) and return it as stored.

        Raises Conflict when the id is taken.
        """
        ...

    async def get(self, upload_id: str) -> Upload:
        """The upload as last stored, never an older one; ``as_of`` is the store's clock. Raises UploadNotFound."""
        ...

    async def swap(self, old: Upload, new: Upload) -> Upload:
        """Replace ``old``, as this store gave it, by ``new`` if the stored version is still ``old.version``; return it
        as stored.

        The stored version becomes ``old.version + 1``, whatever ``new.version`` is. Times that are None in the lease
        and in the timeline are stamped with the store's now (a lease's end ``ttl`` seconds from it). Durable when it
        returns (as the store's durability says). Raises Conflict when the version moved, UploadNotFound when the
        upload is gone. After StoreUnavailable it may have been stored or not; the same swap again is safe then.
        """
        ...

    async def take(self, upload_id: str, want: Want, lease: Lease) -> Upload:
        """The upload; where it meets ``want``, given this lease in the same go, as if ``swap`` had stored what
        ``Upload.acquired`` makes of it. Raises UploadNotFound."""
        ...

    async def delete(self, upload_id: str) -> None:
        """Forget the upload; forgetting it twice is fine."""
        ...

    def find(self, query: Query) -> AsyncIterator[Upload]:
        """The uploads that match, by ``created_at`` and then id. Uploads may change while this goes on."""
        ...

    def contests(self, holder: str, every: float) -> AsyncGenerator[Upload | None, None]:
        """The uploads leased to ``holder`` that somebody contests, for ever, as soon as the store hears of it; each
        again and again while it is contested. None: there is nothing new, which is said before each wait; a store
        that has to look for itself waits ``every`` so many seconds. Raises StoreUnavailable."""
        ...

    async def tally(self, created_from: float | None = None) -> Mapping[Status, Tally]:
        """A tally of each status that occurs, over the uploads that were created then (seconds since the epoch) or
        later."""
        ...

    async def claim_place(self, place: str, *, force: bool = False) -> str:
        """Say which byte store this deployment uses (``ByteStore.place``), and return the one that was said first,
        or, with ``force``, this one from now on."""
        ...

    async def claimed_place(self) -> str | None:
        """What ``claim_place`` would return, without claiming; None when nobody has claimed yet."""
        ...

    async def pin(self, board: str, name: str, text: str, seconds: float) -> None:
        """Put a note for the other processes on a board, in the place of the note of that name. It is gone by itself so
        many seconds later, on the store's clock; it need not outlive a loss of power. Raises ValueError for a text of
        more than ``NOTE`` bytes."""
        ...

    async def pinned(self, board: str) -> Mapping[str, str]:
        """The texts of the notes on a board, by name."""
        ...

    def examine(self) -> AsyncGenerator[Finding, None]:
        """What an operator should know of this backend. Raises StoreUnavailable."""
        ...

    async def ping(self) -> None:
        """Return when the store answers. Raises StoreUnavailable with a sentence when it doesn't."""
        ...


class ByteWriter(Protocol):
    """Writes one upload's bytes from a position on, under the token of the value that it was opened with."""

    @property
    def position(self) -> int:
        """Where the next byte goes: the upload's offset when opened, plus what has been written since."""
        ...

    async def write(self, blocks: Sequence[Buffer]) -> None:
        """Put the blocks down at ``position``, one after the other, and move it.

        Raises TakenOver where the store notices that somebody else writes now, and StorageFull when there is no room:
        ``position`` then says what was written. The caller leaves the blocks alone until this returns.
        """
        ...

    async def copy(self, source: Upload, start: int, stop: int) -> None:
        """Put the bytes ``[start, stop)`` of a stored upload down at ``position``, without reading them into memory
        where the backend can. Raises StorageFull, BytesMissing."""
        ...

    async def flush(self, *, last: bool = False) -> int:
        """Make what has been written durable (as the store's durability says) and return the position up to which
        it is. May run while a write does: it then speaks of what was written before it began. ``last``: nothing more
        will be written, so that what ``close`` does can be done at once.

        Raises StorageFull or StoreUnavailable, and then goes on doing so: what is not durable must not be counted.
        """
        ...

    async def close(self) -> None:
        """End; no byte is written under the token after this returns. Closing twice is fine."""
        ...


class PouringWriter(ByteWriter, Protocol):
    """A byte writer that can take bytes from a socket by itself, so that nobody has to carry them."""

    async def pour(
        self, source: int, size: int, *, ahead: Sequence[Buffer] = (), last: bool = False
    ) -> tuple[int, bool]:
        """Put down at ``position`` the blocks in ``ahead``, and then what arrives on the non-blocking stream socket
        ``source``, at most ``size`` bytes, and move it. Returns soon: as soon as nothing is there, or it has had its
        turn. Returns how many bytes it took from the socket, and whether the stream has ended or broken. ``last``:
        nothing will be written after these ``size`` bytes, so that ``flush`` and ``close`` can be spared.

        Even when its task is cancelled it leaves the descriptor alone once it has returned. Raises as ``write``.
        """
        ...


class ByteStore(Protocol):
    """Keeps bytes under keys (upload, token) at positions. What takes an upload raises BytesElsewhere for one whose
    bytes another place holds (``upload.place``)."""

    @property
    def place(self) -> str:
        """Which place this is, known once started: every process that reaches the same bytes says the same, every
        other one something else."""
        ...

    async def start(self) -> None:
        """Make what is missing and check that the place can be written to. Raises StoreUnavailable."""
        ...

    async def close(self) -> None:
        """Give back what ``start`` took."""
        ...

    async def open(self, upload: Upload) -> ByteWriter:
        """A writer at ``upload.offset`` under ``upload.token``. The caller holds the upload's lease, and the upload is
        as the session store returned it then: whoever holds it later has a higher version.

        Bytes that lie beyond the offset (an uncounted tail) are overwritten, never appended to.
        Raises StorageFull, BytesMissing.
        """
        ...

    def read(self, upload: Upload, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        """The counted bytes ``[start, stop)``, in blocks of at most 1 MiB. Raises BytesMissing before the first
        block or in between."""
        ...

    async def finish(self, upload: Upload) -> None:
        """Make a COMPLETED upload's bytes one object under the upload's id. Safe to repeat, by several processes at
        once, and to be killed in. Reading works before, during and after."""
        ...

    def unfinished(self) -> AsyncGenerator[str, None]:
        """The ids of the uploads of which bytes lie about that ``finish`` has not made one object."""
        ...

    def ids(self) -> AsyncGenerator[str, None]:
        """The ids of the uploads of which any bytes lie about, each once."""
        ...

    async def verify(self, upload: Upload) -> None:
        """Look whether the counted bytes are there, without reading them all. Raises BytesMissing."""
        ...

    async def delete(self, upload: Upload) -> None:
        """Delete every byte of the upload, counted or not, under whatever token. Deleting twice is fine."""
        ...

    async def discard(self, upload_id: str) -> None:
        """Delete whatever lies about under an id of which there is no session."""
        ...

    async def room(self) -> int | None:
        """Bytes that can still be stored; None when the backend has no such bound."""
        ...

    def location(self, upload: Upload) -> str | None:
        """Where an operator or a hook finds a finished upload's bytes (a path, a bucket and key); None: nowhere."""
        ...

    def examine(self) -> AsyncGenerator[Finding, None]:
        """What an operator should know of this backend. Raises StoreUnavailable."""
        ...

    async def ping(self) -> None:
        """Return when bytes can be stored. Raises StoreUnavailable with a sentence when they can't."""
        ...


def check_place(upload: Upload, place: str) -> None:
    """Raises BytesElsewhere when the upload's bytes are in another place than this one."""
    if upload.place not in (None, place):
        raise BytesElsewhere(upload=upload)


def check_note(text: str) -> None:
    """Raises ValueError when this is too long for a note."""
    if len(text.encode()) > NOTE:
        raise ValueError(f"a note has at most {NOTE} bytes")


async def polled(sessions: SessionStore, holder: str, every: float) -> AsyncGenerator[Upload | None, None]:
    """``SessionStore.contests`` for a store that has to look for itself."""
    while True:
        async for upload in sessions.find(Query(holder=holder, contested=True)):
            yield upload
        yield None
        await asyncio.sleep(every)
