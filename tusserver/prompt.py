"""A small request whose body has arrived whole, carried out in one go: checked against the upload, and then written
and counted in one transaction of the session store, without a lease, where both stores can do that right here
(``stores.prompt``). What this process knows of the upload is tried first; the transaction finds out whether that is
still so.

What comes of it is what a lease, one write and its release would have brought; whatever is less simple (somebody is
writing or has written meanwhile, a body that is too long, nothing to write) is left to them. A process that is killed
between writing and counting leaves bytes that nobody has counted, like any other; those of an upload that was about to
be made are then a file without a session, which ``tusserver fsck`` finds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from tusserver.body import RequestBody
from tusserver.digest import Digest
from tusserver.protocol import rules
from tusserver.protocol.commands import Append
from tusserver.protocol.refusals import ChecksumMismatch, Refusal
from tusserver.protocol.rules import Limits
from tusserver.protocol.upload import Upload
from tusserver.stores.base import ByteStore, Conflict, SessionStore, check_place
from tusserver.stores.prompt import PromptBytes, PromptSessions, prompt_bytes, prompt_sessions

SMALL: Final = 64 * 1024
"""Bytes up to which a body is small: writing them, and hashing them, takes less time than handing them to a thread."""


class Counted(NamedTuple):
    """The upload with a body counted, and whether its bytes are ``finished`` already (``ByteStore.finish``)."""

    upload: Upload
    finished: bool


class _Slow(Exception):
    """The storage has become slow since it was asked, most likely under the one before."""


class _Put:
    """What is done along with counting a block."""

    __slots__ = ("_block", "_last", "_storage", "_upload", "finished")

    def __init__(self, storage: PromptBytes, upload: Upload, block: bytes, *, last: bool) -> None:
        self._storage = storage
        self._upload = upload
        self._block = block
        self._last = last
        self.finished = False

    def __call__(self) -> None:
        """See ``stores.prompt.Put``."""
        if not self._storage.prompt:
            raise _Slow
        self.finished = self._storage.put(self._upload, self._block, last=self._last)


class Prompt:
    """``holder`` names the process in the uploads' timelines; ``clock`` is seconds since the epoch."""

    def __init__(
        self, sessions: PromptSessions, storage: PromptBytes, *, holder: str, limits: Limits, clock: Callable[[], float]
    ) -> None:
        self._sessions = sessions
        self._storage = storage
        self._holder = holder
        self._limits = limits
        self._clock = clock

    @classmethod
    def over(
        cls, sessions: SessionStore, storage: ByteStore, *, holder: str, limits: Limits, clock: Callable[[], float]
    ) -> Prompt | None:
        """None where one of the stores never can."""
        quick, near = prompt_sessions(sessions), prompt_bytes(storage)
        if quick is None or near is None:
            return None
        return cls(quick, near, holder=holder, limits=limits, clock=clock)

    async def append(self, command: Append, body: RequestBody) -> Counted | None:
        """The upload with the body counted. None: nothing has happened, it has to be done the long way. Raises what the
        rules refuse, ChecksumMismatch, and what the stores raise."""
        block = self._block(command, body)
        if block is None:
            return None
        known = self._sessions.known(command.upload_id)
        if known is not None and known.lease is None:
            try:
                return await self._append(known, command, block)
            except (Refusal, Conflict):  # what is true of the upload as it is now says who reads it
                pass
        try:
            return await self._append(await self._sessions.get(command.upload_id), command, block)
        except Conflict:
            return None

    async def create(self, upload: Upload, command: Append, body: RequestBody) -> Counted | None:
        """The new upload, stored with the body counted; otherwise as ``append``."""
        block = self._block(command, body)
        counted = None if block is None else self._counted(upload, command, block)
        if block is None or counted is None:
            return None
        put = _Put(self._storage, upload, block, last=counted.completed)
        try:
            stored = await self._sessions.create_along(counted, put)
        except _Slow:
            return None
        return None if stored is None else Counted(stored, put.finished)

    async def _append(self, upload: Upload, command: Append, block: bytes) -> Counted | None:
        """Raises what ``append`` raises, and Conflict where the upload is another."""
        rules.appendable(upload, command, limits=self._limits, now=self._clock())
        if upload.completed or upload.lease is not None:
            return None
        counted = self._counted(upload, command, block)
        if counted is None:
            return None
        put = _Put(self._storage, upload, block, last=counted.completed)
        try:
            stored = await self._sessions.swap_along(upload, counted, put)
        except _Slow:
            return None
        return None if stored is None else Counted(stored, put.finished)

    def _block(self, command: Append, body: RequestBody) -> bytes | None:
        if command.body.checksum_follows or not self._storage.prompt:
            return None
        return body.whole(SMALL)

    def _counted(self, upload: Upload, command: Append, block: bytes) -> Upload | None:
        """The upload with the block counted, which is not written yet; None where it does not fit."""
        stop = upload.offset + len(block)
        if rules.exceeds(stop, rules.bound(upload, command, self._limits)):
            return None
        check_place(upload, self._storage.place)
        if command.body.checksum is not None:
            digest = Digest(command.body, ())
            digest.take([block])
            if not digest.matches(command.body.checksum):
                raise ChecksumMismatch(upload=upload)
        return rules.counted(
            upload, stop, limits=self._limits, now=self._clock(), length=command.length, by=self._holder
        )
