"""What a store may offer besides its contract: to do something short in the event loop, without a wait in between.

A small request whose body has arrived needs no lease then. Its bytes are written while the sessions' transaction keeps
everybody else out, in this process and in others, and has found the upload as it was when the request was checked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, cast

from tusserver.protocol.upload import Upload
from tusserver.stores.base import Buffer, ByteStore, SessionStore

Put = Callable[[], None]
"""What is done along with a change: after nobody else can store anything any more, and before the change is stored. It
may be called again. What it raises is raised, and then nothing is stored."""


class PromptSessions(SessionStore, Protocol):
    """A session store that can make a short transaction in the event loop. Changes that are asked for together are
    made together, each as if it were alone.

    Each returns None where it would have to wait: then nothing is stored, whether ``put`` has been called or not.
    """

    def known(self, upload_id: str) -> Upload | None:
        """The upload as this process last stored or read it, without asking: others may have changed it since, which
        ``swap_along`` finds out. None where it does not remember."""
        ...

    async def create_along(self, upload: Upload, put: Put) -> Upload | None:
        """What ``create`` does, and ``put`` along with it. Raises Conflict, before ``put``, and what ``put`` raises."""
        ...

    async def swap_along(self, old: Upload, new: Upload, put: Put) -> Upload | None:
        """What ``swap`` does, likewise. Raises Conflict, UploadNotFound, before ``put``, and what ``put`` raises."""
        ...


class PromptBytes(ByteStore, Protocol):
    """A byte store that can take few bytes in the event loop."""

    @property
    def prompt(self) -> bool:
        """Whether it can now, and as durably as it is asked to."""
        ...

    def put(self, upload: Upload, block: Buffer, *, last: bool) -> bool:
        """Put the block down at ``upload.offset`` under ``upload.token``, overwriting what lies there. The caller sees
        to it that nobody else does anything to the upload meanwhile. ``last``: it is complete then. Returns whether
        ``finish`` has nothing left to do. Raises StorageFull, BytesMissing, BytesElsewhere, StoreUnavailable."""
        ...

    def finish_at_once(self, upload: Upload) -> bool:
        """What ``finish`` does, where that is short; False, and nothing has happened, where it may not be."""
        ...


def prompt_sessions(sessions: SessionStore) -> PromptSessions | None:
    """The same store, if it is of a kind that can."""
    return cast(PromptSessions, sessions) if hasattr(type(sessions), "swap_along") else None


def prompt_bytes(storage: ByteStore) -> PromptBytes | None:
    """The same store, if it is of a kind that can. (A runtime-checkable protocol would ask the store for its place,
    which it may not know yet.)"""
    return cast(PromptBytes, storage) if hasattr(type(storage), "put") else None
