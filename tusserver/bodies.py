"""How many bodies are received at once: each that takes longer than a moment holds memory and descriptors."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from tusserver.metrics import Metrics
from tusserver.protocol.refusals import TooManyUploads
from tusserver.protocol.upload import Upload


class Bodies:
    """The bodies that one process receives: ``most`` at the most."""

    def __init__(self, most: int, metrics: Metrics) -> None:
        self._most = most
        self._metrics = metrics
        self._count = 0

    @property
    def full(self) -> bool:
        """Whether there may be no more of them now."""
        return self._count >= self._most

    @contextlib.contextmanager
    def one_more(self, upload: Upload | None = None) -> Iterator[None]:
        """A body is received. Raises TooManyUploads, with the upload that it is for."""
        if self.full:
            raise TooManyUploads(upload=upload, retry_after=1)
        self._count += 1
        self._metrics.bodies(self._count)
        try:
            yield
        finally:
            self._count -= 1
            self._metrics.bodies(self._count)
