"""What a store may offer besides its contract: to do something short in the event loop, without a wait in between.

A small request whose body has arrived needs no lease then. Between reading its upload and counting its bytes nobody
else gets to do anything: not in this process, which does nothing else meanwhile, and not in another one, since the
sessions' transaction keeps it out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar, cast

from tusserver.protocol.upload import Upload
from tusserver.stores.base import Buffer, ByteStore, SessionStore

T = TypeVar("T")


class Register(Protocol):
    """A session store within a transaction. Each does what the method of that name does in ``SessionStore``."""

    def get(self, upload_id: str) -> Upload:
        """Raises UploadNotFound."""
        ...

    def create(self, upload: Upload) -> Upload:
        """Raises Conflict."""
        ...

    def swap(self, old: Upload, new: Upload) -> Upload:
        """Raises Conflict, UploadNotFound."""
        ...


class PromptSessions(SessionStore, Protocol):
    """A session store that can make a short transaction in the event loop."""

    async def at_once(self, work: Callable[[Register], T]) -> T | None:
        """What ``work`` returns, once everything that it did with the register is stored, all of it or nothing.

        It is called soon, along with others that have been asked for by then: one after the other, each sees what
        those before it have done, and nobody else stores anything before all are stored. None where that would have to
        wait: then nothing is stored, whether ``work`` has been called or not; it may be called again. What it raises
        is raised, and then nothing is stored either."""
        ...


class PromptBytes(ByteStore, Protocol):
    """A byte store that can take few bytes in the event loop."""

    @property
    def prompt(self) -> bool:
        """Whether it can now, and as durably as it is asked to."""
        ...

    def put(self, upload: Upload, block: Buffer) -> None:
        """Put the block down at ``upload.offset`` under ``upload.token``, overwriting what lies there. The caller sees
        to it that nobody else does anything to the upload meanwhile. Raises StorageFull, BytesMissing, BytesElsewhere,
        StoreUnavailable."""
        ...

    def finish_at_once(self, upload: Upload) -> bool:
        """What ``finish`` does, where that is short; False, and nothing has happened, where it may not be."""
        ...


def prompt_sessions(sessions: SessionStore) -> PromptSessions | None:
    """The same store, if it is of a kind that can."""
    return cast(PromptSessions, sessions) if hasattr(type(sessions), "at_once") else None


def prompt_bytes(storage: ByteStore) -> PromptBytes | None:
    """The same store, if it is of a kind that can. (A runtime-checkable protocol would ask the store for its place,
    which it may not know yet.)"""
    return cast(PromptBytes, storage) if hasattr(type(storage), "put") else None
