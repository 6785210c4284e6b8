"""Whether a short piece of work is done right here, in the event loop, or on a thread.

Handing it over and back takes longer than a write into the page cache; but a disk that is busy, far away or broken
would hold up everybody. So it is done here while the last one took no time to speak of, and nothing else is under way.
Time that it took because others had the processor does not count: threads would not have it sooner. After a slow one
all is left to threads, until they find work of that kind quick again: a disk that stays slow holds up the loop once,
even if it is quick to say how full it is.
"""

from __future__ import annotations

import itertools
import resource
import time
from collections.abc import Callable
from typing import Final, TypeVar

T = TypeVar("T")

SLOW: Final = 0.005
"""Seconds from which on it was slow."""

PAUSE: Final = 2.0
"""Seconds after that in which threads do it."""

QUICK: Final = 0.025
"""Seconds up to which it was quick on a thread, which waits for the interpreter too, a few times."""


def _waited() -> int:
    """How often this thread has gone to sleep by itself, most likely for a disk."""
    return resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw


# Where the system does not tell, it is taken to have waited each time
WAITS: Final[Callable[[], int]] = _waited if hasattr(resource, "RUSAGE_THREAD") else itertools.count().__next__


class Here:
    """``allowed``: whether it may be done in the event loop at all. ``elsewhere`` counts what is under way on threads;
    whoever starts that counts it. ``clock``: seconds. ``waits``: how often the thread has waited so far."""

    def __init__(
        self, allowed: bool, clock: Callable[[], float] = time.monotonic, waits: Callable[[], int] = WAITS
    ) -> None:
        self.allowed = allowed
        self.elsewhere = 0
        self._clock = clock
        self._waits = waits
        self._slow: set[str] = set()
        self._again = float("-inf")

    @property
    def now(self) -> bool:
        """Whether the next piece is to be done here."""
        return self.allowed and not self._slow and self.elsewhere == 0 and self._clock() >= self._again

    def do(self, work: Callable[[], T], kind: str = "write") -> T:
        """Do it here, and remember whether work of this kind was slow."""
        waits, began = self._waits(), self._clock()
        try:
            return work()
        finally:
            ended = self._clock()
            if ended - began > SLOW and self._waits() > waits:
                self._slow.add(kind)
                self._again = ended + PAUSE

    def there(self, work: Callable[[], T], kind: str = "write") -> T:
        """Do it on the thread that calls this, since it was not to be done here, and find out whether that is over."""
        began = self._clock()
        try:
            return work()
        finally:
            if self._clock() - began <= QUICK:
                self._slow.discard(kind)
