"""Whether a short piece of work is done right here, in the event loop, or on a thread.

Handing it over and back takes longer than a write into the page cache; but a disk that is busy, far away or broken
would hold up everybody. So it is done here while the last ones took no time to speak of, and no thread is stuck in
such work. Time that it took because others had the processor does not count: threads would not have it sooner. After a
slow one all is left to threads, until they find work of that kind quick again: a disk that stays slow holds up the loop
once, even if it is quick to say how full it is.
"""

from __future__ import annotations

import contextlib
import resource
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final, Protocol, TypeVar

T = TypeVar("T")

SLOW: Final = 0.005
"""Seconds from which on it was slow, where that happens twice in a row: once may be a wait for the interpreter."""

PAUSE: Final = 2.0
"""Seconds after that in which threads do it."""

QUICK: Final = 0.025
"""Seconds up to which it was quick on a thread, which waits for the interpreter too, a few times. Whatever takes longer
was slow."""


class Usage(Protocol):
    """Of what ``getrusage`` says: how often a thread has gone to sleep by itself, most likely for a disk."""

    @property
    def ru_nvcsw(self) -> int: ...


# Where the system does not tell of one thread, any one's sleep is taken for it
USAGE: Final[Callable[[], Usage]] = partial(
    resource.getrusage, getattr(resource, "RUSAGE_THREAD", resource.RUSAGE_SELF)
)


class Here:
    """``allowed``: whether it may be done in the event loop at all. ``clock``: seconds. ``usage``: how often the thread
    has waited so far."""

    def __init__(
        self, allowed: bool, clock: Callable[[], float] = time.monotonic, usage: Callable[[], Usage] = USAGE
    ) -> None:
        self.allowed = allowed
        self._clock = clock
        self._usage = usage
        self._doubtful: set[str] = set()
        self._slow: set[str] = set()
        self._again: float | None = None
        self._underway: dict[int, float] = {}

    @property
    def now(self) -> bool:
        """Whether the next piece is to be done here."""
        if not self.allowed or self._slow:
            return False
        if self._again is not None:
            if self._clock() < self._again:
                return False
            self._again = None
        if not self._underway:
            return True
        now = self._clock()
        return all([now - since <= QUICK for since in list(self._underway.values())])

    def do(self, work: Callable[[], T], kind: str = "write") -> T:
        """Do it here, and remember whether work of this kind was slow."""
        before, began = self._usage(), self._clock()
        try:
            return work()
        finally:
            ended = self._clock()
            if ended - began <= SLOW or self._usage().ru_nvcsw == before.ru_nvcsw:
                self._doubtful.discard(kind)
            elif ended - began <= QUICK and kind not in self._doubtful:
                self._doubtful.add(kind)
            else:
                self._slow.add(kind)
                self._again = ended + PAUSE

    def there(self, work: Callable[[], T], kind: str = "write") -> T:
        """Do it on the thread that calls this, since it was not to be done here, and find out whether that is over."""
        with self.underway():
            began = self._clock()
            try:
                return work()
            finally:
                if self._clock() - began <= QUICK:
                    self._slow.discard(kind)

    @contextlib.contextmanager
    def underway(self) -> Iterator[None]:
        """Work on the thread that calls this, where it may get stuck; what lasts longer calls ``got_on``."""
        self.got_on()
        try:
            yield
        finally:
            self._underway.pop(threading.get_ident(), None)

    def got_on(self) -> None:
        """What is under way on the thread that calls this is not stuck."""
        self._underway[threading.get_ident()] = self._clock()
