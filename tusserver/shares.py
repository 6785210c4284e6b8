"""How many connections each worker has, where all of them see it, and whose turn it is to take the next one.

A small file that every worker maps has a slot for each: when it last looked for connections, and how many it has. A
worker writes its own slot only and reads the others', so that none ever waits for another. A worker that is busy, hung
or dead does not look; whoever has waited for it in vain once goes on without it until it looks again.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
from pathlib import Path
from typing import Final

NUMBERS: Final = 2
"""Of a slot, each of 8 bytes: when it looked, in nanoseconds of the system's monotonic clock, 0 while it takes no
connections; and how many it has."""


def make(path: Path, workers: int) -> None:
    """Make the file; there are slots to spare for workers that are started before those that they replace have gone."""
    path.write_bytes(bytes((2 * workers + 8) * NUMBERS * 8))


def claim(path: Path) -> Shares:
    """A slot for this process until it ends, however it does. Those that come when there are none left share one: their
    connections are then less even, no more than that."""
    file = os.open(path, os.O_RDWR | os.O_CLOEXEC)  # and kept open: closing it would give the slot back
    slots = os.stat(file).st_size // (NUMBERS * 8)
    for slot in range(slots - 1):
        with contextlib.suppress(OSError):
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, slot)
            return Shares(file, slot)
    return Shares(file, slots - 1)


class Shares:
    """The file as the worker sees it that has this slot; ``file`` is its descriptor. All times are nanoseconds of the
    monotonic clock."""

    def __init__(self, file: int, slot: int) -> None:
        self._numbers = memoryview(mmap.mmap(file, 0)).cast("q")
        self._looked, self._shown = slot * NUMBERS, slot * NUMBERS + 1
        self._connections = 0
        self._without = 0
        self.leave()

    def enter(self, now: int) -> None:
        """This worker takes connections from now on."""
        self._numbers[self._shown] = self._connections
        self._numbers[self._looked] = now

    def leave(self) -> None:
        """It takes none any more."""
        self._numbers[self._looked] = 0

    def add(self, change: int) -> None:
        """It has one more, or one less."""
        self._connections += change
        self._numbers[self._shown] = self._connections

    def is_anothers_turn(self, now: int) -> bool:
        """This worker looks for connections; whether another one has fewer and should take the next."""
        self._numbers[self._looked] = now
        numbers = self._numbers.tolist()
        slots = zip(numbers[::NUMBERS], numbers[1::NUMBERS], strict=True)
        return any([looked > self._without and shown < self._connections for looked, shown in slots])

    def go_on_without(self, now: int) -> None:
        """Nobody has taken what was another one's: do not wait for any that has not looked since."""
        self._without = now
