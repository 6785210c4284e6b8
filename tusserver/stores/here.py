"""Whether a short piece of work is done right here, in the event loop, or on a thread.

Handing it over and back takes longer than a write into the page cache; but a disk that is busy, far away or broken
would hold up everybody. So it is done here while the last one took no time to speak of, and nothing else is under way.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, TypeVar

T = TypeVar("T")

SLOW: Final = 0.005
"""Seconds from which on it was slow."""

PAUSE: Final = 2.0
"""Seconds after that in which threads do it."""


class Here:
    """``allowed``: whether it may be done in the event loop at all. ``elsewhere`` counts what is under way on threads;
    whoever starts that counts it. ``clock``: seconds."""

    def __init__(self, allowed: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self.allowed = allowed
        self.elsewhere = 0
        self._clock = clock
        self._again = float("-inf")

    @property
    def now(self) -> bool:
        """Whether the next piece is to be done here."""
        return self.allowed and self.elsewhere == 0 and self._clock() >= self._again

    def do(self, work: Callable[[], T]) -> T:
        """Do it here, and remember whether it was slow."""
        began = self._clock()
        try:
            return work()
        finally:
            ended = self._clock()
            if ended - began > SLOW:
                self._again = ended + PAUSE
