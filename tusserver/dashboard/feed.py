"""What is going on, told to everybody who watches: one look at the store per process and second, however many watch,
and none while nobody does."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

from tusserver.bulletin import Board
from tusserver.dashboard.picture import Picture, pod_of
from tusserver.protocol.refusals import Refusal
from tusserver.stores.base import SessionStore

log = logging.getLogger("tusserver.dashboard")

VIEWERS: Final = 100
EVERY: Final = 1.0
IDLE: Final = 10.0
"""Seconds after which a comment keeps proxies from ending a quiet connection."""
OVERLAP: Final = 10
"""Points of the chart that each event repeats, for viewers that were too slow for the one before."""


class Feed:
    """The events of one process. A viewer that is slow misses events; nothing is kept for it."""

    def __init__(self, sessions: SessionStore, board: Board, *, every: float = EVERY) -> None:
        self._picture = Picture(sessions, board)
        self._pod = pod_of(board.holder)
        self._every = every
        self._viewers = 0
        self._looking: asyncio.Task[None] | None = None
        self._event = b""
        self._news = asyncio.Event()
        self._closed = False

    @property
    def full(self) -> bool:
        """Whether no more viewers are let in: too many watch, or the server is stopping."""
        return self._closed or self._viewers >= VIEWERS

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Somebody watches inside."""
        self._viewers += 1
        if self._looking is None and not self._closed:
            self._looking = asyncio.create_task(self._look_on())
        try:
            yield
        finally:
            self._viewers -= 1
            if self._viewers == 0:
                self._rest()

    async def events(self) -> AsyncIterator[bytes]:
        """Server-sent events for one viewer, until the server stops."""
        yield b"retry: 2000\n\n" + _event("history", {"points": list(self._picture.points)})
        if self._event:
            yield self._event
        while not self._closed:
            news = self._news
            try:
                async with asyncio.timeout(IDLE):
                    await news.wait()
            except TimeoutError:
                yield b": idle\n\n"
                continue
            if not self._closed:
                yield self._event

    def close(self) -> None:
        """End every viewer's events; closing twice is fine."""
        self._closed = True
        self._rest()
        self._news.set()

    def _rest(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None
        self._event = b""

    async def _look_on(self) -> None:
        while True:
            self._tell(await self._look())
            await asyncio.sleep(self._every)

    async def _look(self) -> dict[str, Any]:
        try:
            seen = await self._picture.take()
        except Refusal as refusal:
            return {"trouble": refusal.text, "pod": self._pod}
        except Exception:
            log.exception("the dashboard cannot look at the sessions")
            return {"trouble": "Something went wrong here; the log of this server says what.", "pod": self._pod}
        return {**seen, "points": list(self._picture.points)[-OVERLAP:]}

    def _tell(self, seen: dict[str, Any]) -> None:
        self._event = _event("now", seen)
        news, self._news = self._news, asyncio.Event()
        news.set()


def _event(name: str, data: dict[str, Any]) -> bytes:
    # JSON in one line, as json.dumps writes it, needs no splitting
    return f"event: {name}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode()
