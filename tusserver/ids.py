"""The ids of uploads: as hard to guess as a key, since whoever knows one may send to it."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence


def new_id(now: float) -> str:
    """An id that nobody can guess: ``now``, in seconds since the epoch, as 48 bits of milliseconds, then 80 of chance.

    Uploads that are made together then share a page of a database's index; by chance alone each would write its own.
    """
    return f"{int(now * 1000) & 0xFFFF_FFFF_FFFF:012x}{secrets.token_hex(10)}"


def final_id(partials: Sequence[str], metadata: str | None, owner: str | None, attempt: int) -> str:
    """The id of the final upload over these partial uploads: the same request gives the same id, so that repeating
    it copies nothing twice. As hard to guess as the ids of the partial uploads are."""
    said = "\n".join(["final", *partials, metadata or "", owner or "", str(attempt)])
    return hashlib.sha256(said.encode()).hexdigest()[:32]
