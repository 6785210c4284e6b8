"""What processes tell one another for their dashboards: who sends to the uploads that each receives, and what each
refused lately. The session store cannot tell that: it would have to be written at each request.

* Whoever is watched says so on a board of the session store (``SessionStore.pin``). The others look there, once every
  two seconds and only while they have something to tell, and pin a bulletin while somebody watches.
* A bulletin is bounded, and goes by itself some minutes after it was pinned last.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from tusserver.protocol.refusals import Refusal
from tusserver.recent import Recent, Refused
from tusserver.stores.base import SessionStore

log = logging.getLogger("tusserver.bulletin")

WATCHED: Final = "watched"
BULLETINS: Final = "bulletins"
EVERY: Final = 2.0
"""Seconds between two looks at a board."""
WATCHING: Final = 10.0
"""Seconds that the others take a process for watched after it has said so."""
KEPT: Final = 600.0
"""Seconds that a bulletin stays after it was pinned last, and that a refusal is worth pinning one."""
CLIENTS: Final = 250
REFUSALS: Final = 50


@dataclass(frozen=True, slots=True)
class Bulletin:
    """What one process tells: ``clients`` by the ids of uploads, and its latest refusals, newest first."""

    clients: Mapping[str, str]
    refusals: Sequence[Refused]

    def text(self) -> str:
        """As it is pinned: 60 KB at most, and far less as a rule."""
        refusals = [refused._asdict() for refused in self.refusals]
        said = {"clients": self.clients, "refusals": refusals}
        return json.dumps(said, separators=(",", ":"), ensure_ascii=False)


def bulletin_of(text: str) -> Bulletin | None:
    """The reverse of ``text``, without what a newer version says more; None for what no version says."""
    try:
        said = json.loads(text)
        refusals = [Refused(**{name: each[name] for name in Refused._fields}) for each in said["refusals"]]
        return Bulletin(dict(said["clients"]), refusals)
    except (ValueError, TypeError, KeyError):
        return None


class Board:
    """The bulletins of a deployment. ``holder`` names this process in the sessions; ``receiving`` gives the ids of the
    uploads that it receives, those that it began with last at the end; ``every`` is in seconds."""

    def __init__(
        self,
        sessions: SessionStore,
        recent: Recent,
        *,
        holder: str,
        receiving: Callable[[], Sequence[str]] = tuple,
        every: float = EVERY,
    ) -> None:
        self.recent = recent
        self.holder = holder
        self._sessions = sessions
        self._receiving = receiving
        self._every = every
        self._pinned: tuple[str, float] | None = None
        self._said_at: float | None = None
        self._looked_at: float | None = None
        self._others: Mapping[str, Bulletin] = {}

    async def run(self) -> None:
        """Tell the others, for ever."""
        while True:
            await asyncio.sleep(self._every)
            try:
                await self.tell()
            except Refusal as refusal:
                log.debug("not told: %s", refusal.text)
            except Exception:
                log.exception("the other servers' dashboards cannot be told")

    async def tell(self) -> None:
        """Pin this process's bulletin, if it has anything to tell and somebody watches elsewhere. Raises
        StoreUnavailable."""
        receiving, now = self._receiving(), time.monotonic()
        if not receiving and self.recent.refused_ago > KEPT:
            return
        if not set(await self._sessions.pinned(WATCHED)) - {self.holder}:
            return
        clients = ((each, self.recent.client(each)) for each in reversed(receiving))
        known = islice(((each, who) for each, who in clients if who), CLIENTS)
        text = Bulletin(dict(known), self.recent.refusals[:REFUSALS]).text()
        if self._pinned is None or self._pinned[0] != text or now - self._pinned[1] > KEPT / 2:
            await self._sessions.pin(BULLETINS, self.holder, text, KEPT)
            self._pinned = (text, now)

    async def others(self) -> Mapping[str, Bulletin]:
        """The bulletins of the other processes by their holders, as last looked for; to be asked again and again while
        somebody watches here. Raises StoreUnavailable."""
        now = time.monotonic()
        if self._said_at is None or now - self._said_at > WATCHING / 3:
            await self._sessions.pin(WATCHED, self.holder, "", WATCHING)
            self._said_at = now
        if self._looked_at is None or now - self._looked_at >= self._every:
            found = {name: bulletin_of(text) for name, text in (await self._sessions.pinned(BULLETINS)).items()}
            self._others = {name: told for name, told in found.items() if told is not None and name != self.holder}
            self._looked_at = now
        return self._others
