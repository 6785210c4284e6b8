"""What a client wants, and what came of it, free of headers and status codes. The engine speaks only these."""

from __future__ import annotations

from dataclasses import dataclass

from tusserver.protocol.upload import Concat, Upload


@dataclass(frozen=True, kw_only=True, slots=True)
class Checksum:
    """The digest that a body must have: ``algorithm`` as hashlib names it, ``digest`` as bytes."""

    algorithm: str
    digest: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Body:
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Create:
    """Make an upload; ``body`` when the first bytes come along (creation-with-upload)."""

    length: int | None
    metadata: str | None = None
    concat: Concat | None = None
    body: Body | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Append:
    """Add the body at ``offset``; ``length`` when a deferred length is declared along with it."""

    upload_id: str
    offset: int
    body: Body
    length: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Inspect:
    """Ask for the offset."""

    upload_id: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Terminate:
    """Give the upload up and free what it holds."""

    upload_id: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Describe:
    """Ask what the server can do."""


Command = Create | Append | Inspect | Terminate | Describe


@dataclass(frozen=True, kw_only=True, slots=True)
class Created:
    """The upload as it is after creation and after what came along; ``received``: whether a body came along."""

    upload: Upload
    received: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Appended:
    """The upload after the body was counted."""

    upload: Upload


@dataclass(frozen=True, kw_only=True, slots=True)
class Inspected:
    """The upload, with nobody writing to it."""

    upload: Upload


@dataclass(frozen=True, kw_only=True, slots=True)
class Terminated:
    """The upload is gone."""

    upload: Upload


@dataclass(frozen=True, kw_only=True, slots=True)
class Described:
    """What the server can do is to be told."""


Outcome = Created | Appended | Inspected | Terminated | Described
