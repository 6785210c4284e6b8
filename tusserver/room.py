"""Is there room for an upload that is announced? Asked before its bytes are sent; they may find none all the same."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from tusserver.protocol.refusals import StorageFull
from tusserver.stores.base import ByteStore

SOON: Final = 1.0
"""Seconds for which the storage's word is good, as long as what is asked for takes less than half of that room."""


class Room:
    """``awaited``: bytes that are on their way already. ``clock``: seconds."""

    def __init__(
        self, storage: ByteStore, awaited: Callable[[], int], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._storage = storage
        self._awaited = awaited
        self._clock = clock
        self._room: int | None = 0
        self._asked = float("-inf")

    async def check(self, length: int) -> None:
        """Raises StorageFull where there is none for so many bytes, by what the storage says now."""
        if length == 0:
            return
        wanted = length + self._awaited()
        if self._clock() >= self._asked + SOON or (self._room is not None and wanted > self._room / 2):
            self._room = await self._storage.room()
            self._asked = self._clock()
        if self._room is not None and wanted > self._room:
            raise StorageFull(f"The storage has no room for {length} bytes; try again later or send less.")
