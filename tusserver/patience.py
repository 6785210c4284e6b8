"""How long a connection of ``tusserver.connection`` waits for its client."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

HEAD_SECONDS: Final = 30.0


class Patience:
    """``late`` is called where a head has not come within HEAD_SECONDS, ``idle`` where none has begun within
    ``keep_alive`` seconds of an answer."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, *, keep_alive: float, late: Callable[[], None], idle: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._keep_alive = keep_alive
        self._late = late
        self._idle = idle
        self._head: asyncio.TimerHandle | None = None
        self._idle_since: float | None = None
        self._look: asyncio.TimerHandle | None = None

    def expect_head(self) -> None:
        """A head is to come, or the rest of it."""
        self._idle_since = None
        if self._head is None:
            self._head = self._loop.call_later(HEAD_SECONDS, self._look_late)

    def head_complete(self) -> None:
        """It has come, and there is something to do."""
        self._idle_since = None
        if self._head is not None:
            self._head.cancel()
            self._head = None

    def rest(self) -> None:
        """All has been answered."""
        self._idle_since = self._loop.time()
        if self._look is None:
            self._look = self._loop.call_later(self._keep_alive, self._look_idle)

    def end(self) -> None:
        """Nobody waits any more."""
        self.head_complete()
        if self._look is not None:
            self._look.cancel()
            self._look = None
        del self._late, self._idle  # which hold on to the connection

    def _look_late(self) -> None:
        self._head = None
        self._late()

    def _look_idle(self) -> None:
        """One look at a time is enough: a timer for each answer would cost more than sending it."""
        self._look = None
        if self._idle_since is None:
            return
        left = self._idle_since + self._keep_alive - self._loop.time()
        if left > 0:
            self._look = self._loop.call_later(left, self._look_idle)
        else:
            self._idle()
