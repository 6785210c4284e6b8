"""What an application may have a say in: plain async callables, called by the engine.

A *pre* hook runs before anything is read or changed and may raise ``HookRefused(status, message)``; ``pre_create`` may
also return a ``Change``. A *post* hook only hears what happened; what it raises is logged and changes nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from tusserver.protocol.headers import build_metadata, parse_metadata
from tusserver.protocol.refusals import HookRefused as HookRefused
from tusserver.protocol.upload import Upload

log = logging.getLogger("tusserver.hooks")

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Caller:
    """Who asks: the request's ASGI scope (with what the application's own middleware put there, such as ``user``),
    its headers by lower-case name (one that is there on several lines is one list), and the client's address."""

    method: str = ""
    client: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    scope: Mapping[str, Any] = field(default_factory=dict, repr=False)


NOBODY: Final = Caller()
"""Somebody about whom nothing is to be told."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """What a hook is told. ``location`` is where a finished upload's bytes are (a path, for the disk store)."""

    upload: Upload
    caller: Caller
    location: str | None = None

    @property
    def metadata(self) -> dict[str, bytes]:
        """``Upload-Metadata``, decoded."""
        return parse_metadata(self.upload.metadata or "")


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """What ``pre_create`` may change: the metadata (text is stored as UTF-8) and the owner; None leaves them. Raises
    UnicodeEncodeError for an owner that is no text which UTF-8 can carry, since stores could not keep it."""

    metadata: Mapping[str, str | bytes] | None = None
    owner: str | None = None

    def __post_init__(self) -> None:
        if self.owner is not None:
            self.owner.encode()

    def applied_to(self, upload: Upload) -> Upload:
        """The draft, changed so."""
        metadata = upload.metadata
        if self.metadata is not None:
            values = {key: value.encode() if isinstance(value, str) else value for key, value in self.metadata.items()}
            metadata = build_metadata(values) or None
        return upload.described(metadata=metadata, owner=upload.owner if self.owner is None else self.owner)


Hook = Callable[[Event], Awaitable[None]]
CreateHook = Callable[[Event], Awaitable[Change | None]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Hooks:
    """The hooks of one application; all optional.

    ``authorize`` runs for every request about an existing upload (HEAD, PATCH, DELETE, GET), before anything is read or
    changed. ``pre_create``: before an upload is made. ``post_create``: it has been made, no byte of it is there.
    ``post_receive``: bytes have been counted (at most once per progress interval). ``pre_finish``: every byte is
    durable, the upload is about to be complete; a refusal leaves it unfinished. ``post_finish``: it is complete, and
    its bytes are at ``location``. ``pre_terminate``, ``post_terminate``: around a client's DELETE.
    """

    authorize: Hook | None = None
    pre_create: CreateHook | None = None
    post_create: Hook | None = None
    post_receive: Hook | None = None
    pre_finish: Hook | None = None
    post_finish: Hook | None = None
    pre_terminate: Hook | None = None
    post_terminate: Hook | None = None


async def ask(hook: Hook | None, event: Callable[[], Event]) -> None:
    """Run a pre hook, if there is one. Raises HookRefused; a hook that fails otherwise refuses with 500."""
    if hook is not None:
        await answer(hook, event())


async def answer(hook: Callable[[Event], Awaitable[T]], event: Event) -> T:
    """Run a hook whose answer counts, as ``ask`` does."""
    try:
        return await hook(event)
    except HookRefused:
        raise
    except Exception as error:
        log.exception("hook failed", extra={"hook": _name(hook), "upload": event.upload.id})
        raise HookRefused(500, "The application could not decide about the request; try again later.") from error


async def tell(hook: Hook | None, make: Callable[[], Event]) -> None:
    """Run a post hook, if there is one; what it raises is logged."""
    if hook is None:
        return
    event = make()
    try:
        await hook(event)
    except Exception:
        log.exception("hook failed", extra={"hook": _name(hook), "upload": event.upload.id})


def _name(hook: Callable[..., object]) -> str:
    return getattr(hook, "__qualname__", repr(hook))
