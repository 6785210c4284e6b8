"""Blocks of a body, and what they add up to: their digests, and as many of them as there is room for."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable, Sequence
from typing import Final

from tusserver.protocol.commands import Body, Checksum

HOP: Final = 64 * 1024
"""Bytes from which on hashing them takes longer than handing them to a thread."""


class Digest:
    """The digests that a body may turn out to need, computed off the event loop as the blocks go by.

    A checksum that comes in a trailer does not say its algorithm before the body has passed, so then it is all.
    """

    def __init__(self, body: Body, algorithms: Iterable[str]) -> None:
        names = [body.checksum.algorithm] if body.checksum else list(algorithms) if body.checksum_follows else []
        self._hashes = {name: hashlib.new(name, usedforsecurity=False) for name in names}

    @property
    def needed(self) -> bool:
        """Whether the blocks have to be seen."""
        return bool(self._hashes)

    async def update(self, blocks: Sequence[bytes | memoryview]) -> None:
        """Take the blocks in."""
        if not self._hashes:
            return
        if sum(map(len, blocks)) < HOP:
            self.take(blocks)
        else:
            await asyncio.to_thread(self.take, blocks)

    def matches(self, checksum: Checksum) -> bool:
        """Whether what passed has this checksum."""
        return self._hashes[checksum.algorithm].digest() == checksum.digest

    def take(self, blocks: Sequence[bytes | memoryview]) -> None:
        """The same, right here."""
        for known in self._hashes.values():
            for block in blocks:
                known.update(block)


def cut(blocks: list[bytes], size: int | None) -> tuple[list[bytes | memoryview], bool]:
    """The first ``size`` bytes of the blocks, and whether there were more; None: all of them."""
    if size is None or sum(map(len, blocks)) <= size:
        return list(blocks), False
    taken: list[bytes | memoryview] = []
    for block in blocks:
        taken.append(memoryview(block)[:size])
        size -= len(taken[-1])
        if size == 0:
            break
    return taken, True
