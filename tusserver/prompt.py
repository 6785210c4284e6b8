"""A small request whose body has arrived whole, carried out in one go: read, checked, written and counted in one
transaction of the session store, without a lease, where both stores can do that right here (``stores.prompt``).

What comes of it is what a lease, one write and its release would have brought; whatever is less simple (somebody is
writing, a body that is too long, nothing to write) is left to them. A process that is killed between writing and
counting leaves bytes that nobody has counted, like any other; those of an upload that was about to be made are then a
file without a session, which ``tusserver fsck`` finds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tusserver.body import RequestBody
from tusserver.digest import Digest
from tusserver.protocol import rules
from tusserver.protocol.commands import Append
from tusserver.protocol.refusals import ChecksumMismatch
from tusserver.protocol.rules import Limits
from tusserver.protocol.upload import Upload
from tusserver.stores.base import ByteStore, SessionStore, check_place
from tusserver.stores.prompt import PromptBytes, PromptSessions, Register, prompt_bytes, prompt_sessions

SMALL: Final = 64 * 1024
"""Bytes up to which a body is small: writing them, and hashing them, takes less time than handing them to a thread."""


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

    async def append(self, command: Append, body: RequestBody) -> Upload | None:
        """The upload with the body counted. None: nothing has happened, it has to be done the long way. Raises what the
        rules refuse, ChecksumMismatch, and what the stores raise."""
        block = self._block(command, body)
        if block is None:
            return None

        def work(register: Register) -> Upload | None:
            upload = register.get(command.upload_id)
            rules.appendable(upload, command, limits=self._limits, now=self._clock())
            if upload.completed or upload.lease is not None:
                return None
            counted = self._taken_in(upload, command, block)
            return None if counted is None else register.swap(upload, counted)

        return await self._sessions.at_once(work)

    async def create(self, upload: Upload, command: Append, body: RequestBody) -> Upload | None:
        """The new upload, stored with the body counted; otherwise as ``append``."""
        block = self._block(command, body)
        if block is None:
            return None

        def work(register: Register) -> Upload | None:
            counted = self._taken_in(upload, command, block)
            return None if counted is None else register.create(counted)

        return await self._sessions.at_once(work)

    def _block(self, command: Append, body: RequestBody) -> bytes | None:
        if command.body.checksum_follows or not self._storage.prompt:
            return None
        return body.whole(SMALL)

    def _taken_in(self, upload: Upload, command: Append, block: bytes) -> Upload | None:
        """The upload with the block written and counted, not stored yet; None where the block does not fit, or the
        storage has become slow since it was asked, most likely under the one before."""
        stop = upload.offset + len(block)
        if rules.exceeds(stop, rules.bound(upload, command, self._limits)) or not self._storage.prompt:
            return None
        check_place(upload, self._storage.place)
        if command.body.checksum is not None:
            digest = Digest(command.body, ())
            digest.take([block])
            if not digest.matches(command.body.checksum):
                raise ChecksumMismatch(upload=upload)
        self._storage.put(upload, block)
        upload = upload.noted("taken", by=self._holder)
        return rules.counted(
            upload, stop, limits=self._limits, now=self._clock(), length=command.length, by=self._holder
        )
