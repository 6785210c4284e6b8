"""How fast uploads are, by comparing where they are with where they were."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final

from tusserver.protocol.upload import Upload

LOOKS: Final = 4
"""Looks that a speed is taken over: servers count once a second, so that two may see the same offset."""


class Rates:
    """``now`` is in seconds, on any clock that only goes forward."""

    def __init__(self) -> None:
        self._seen: dict[str, deque[tuple[float, int]]] = {}
        self._looked_at: float | None = None

    def look(self, uploads: Iterable[Upload], now: float) -> float | None:
        """The uploads as they are now; returns how many bytes a second all of them received since the last look. None
        at the first."""
        elapsed = None if self._looked_at is None else now - self._looked_at
        received = 0
        seen: dict[str, deque[tuple[float, int]]] = {}
        for upload in uploads:
            before = self._seen.get(upload.id)
            looks = deque(before or (), maxlen=LOOKS)
            if elapsed is not None:
                received += max(0, upload.offset - (looks[-1][1] if looks else _start(upload, elapsed)))
            looks.append((now, upload.offset))
            seen[upload.id] = looks
        self._seen, self._looked_at = seen, now
        return received / elapsed if elapsed else None

    def of(self, upload: Upload) -> float | None:
        """Bytes a second that an upload received of late; None while nobody writes to it."""
        looks = self._seen.get(upload.id)
        if not upload.leased or looks is None or len(looks) < 2:
            return upload.speed
        (since, start), (until, stop) = looks[0], looks[-1]
        return max(0, stop - start) / (until - since) if until > since else upload.speed


def _start(upload: Upload, elapsed: float) -> int:
    """Where an upload was at the last look, which did not see it."""
    if upload.lease is not None:
        return upload.lease.start
    return 0 if upload.as_of - upload.created_at <= elapsed else upload.offset
