"""What a client wants, and what came of it, free of headers and status codes. The engine speaks only these."""

from __future__ import annotations

import msgspec

from tusserver.protocol.upload import Concat, Upload


class Checksum(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The digest that a body must have: ``algorithm`` as hashlib names it, ``digest`` as bytes."""

    algorithm: str
    digest: bytes


class Body(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What the head of a request says about its body.

    ``size`` is bytes, None when the client does not say (chunked). ``checksum`` is what the body must match.
    ``checksum_follows`` says that the checksum comes in a trailer (CSUM-15).
    """

    size: int | None
    checksum: Checksum | None = None
    checksum_follows: bool = False

    @property
    def verified(self) -> bool:
        """Whether the body counts only once its checksum has been verified."""
        return self.checksum is not None or self.checksum_follows


class Create(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Make an upload; ``body`` when the first bytes come along (creation-with-upload)."""

    length: int | None
    metadata: str | None = None
    concat: Concat | None = None
    body: Body | None = None


class Append(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Add the body at ``offset``; ``length`` when a deferred length is declared along with it."""

    upload_id: str
    offset: int
    body: Body
    length: int | None = None


class Inspect(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Ask for the offset."""

    upload_id: str


class Terminate(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Give the upload up and free what it holds."""

    upload_id: str


class Describe(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Ask what the server can do."""


Command = Create | Append | Inspect | Terminate | Describe


class Created(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The upload as it is after creation and after what came along; ``received``: whether a body came along."""

    upload: Upload
    received: bool = False


class Appended(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The upload after the body was counted."""

    upload: Upload


class Inspected(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The upload, with nobody writing to it."""

    upload: Upload


class Terminated(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The upload is gone."""

    upload: Upload


class Described(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What the server can do is to be told."""


Outcome = Created | Appended | Inspected | Terminated | Described
