"""What the dashboard shows, as JSON: taken from the session store by reading alone."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any, Final

from tusserver import records
from tusserver.bulletin import Board, Bulletin
from tusserver.dashboard.rates import Rates
from tusserver.protocol.upload import Status, Upload
from tusserver.recent import Refused
from tusserver.stores.base import Query, SessionStore, Tally

SHOWN: Final = 100
"""Active uploads that are shown; the others are counted."""
COUNTED: Final = 1000
"""Active uploads that are read at most, to be counted and for the throughput."""
LATEST: Final = 25
POINTS: Final = 300
ERRORS: Final = 50
TALLY_EVERY: Final = 5.0
ORDINARY: Final = frozenset({"created", "taken", "received", "completed", "cancelled", "expired"})

ACTIVE: Final = Query(statuses=frozenset({Status.ACTIVE}), leased=True, newest_first=True)
NEWEST: Final = Query(newest_first=True)


class Picture:
    """Looks at a session store, and at what the other processes tell, again and again."""

    def __init__(self, sessions: SessionStore, board: Board) -> None:
        self._sessions = sessions
        self._board = board
        self._pod = pod_of(board.holder)
        self._others: Mapping[str, Bulletin] = {}
        self._rates = Rates()
        self._tallies: Mapping[Status, Tally] = {}
        self._tallied_at: float | None = None
        self.points: deque[tuple[float, int, int]] = deque(maxlen=POINTS)

    async def take(self) -> dict[str, Any]:
        """How things are now. Two reads of the store, and others every few seconds. Raises StoreUnavailable."""
        now = time.monotonic()
        self._others = await self._board.others()
        if self._tallied_at is None or now - self._tallied_at >= TALLY_EVERY:
            self._tallies = await self._sessions.tally()
            self._tallied_at = now
        read = await _first(self._sessions, ACTIVE, COUNTED + 1)
        active = [upload for upload in read if upload.leased][:COUNTED]
        latest = await _first(self._sessions, NEWEST, LATEST)
        both = {upload.id: upload for upload in (*active, *latest)}
        rate = self._rates.look(both.values(), time.monotonic())
        if rate is not None:
            self.points.append((round(time.time(), 1), round(rate), len(active)))
        return {
            "at": time.time(),
            "pod": self._pod,
            "trouble": None,
            "active": [self._shown(upload) for upload in active[:SHOWN]],
            "active_count": len(active),
            "active_more": len(read) > COUNTED,
            "latest": [self._shown(upload) for upload in latest],
            "next": records.place(latest[-1]) if len(latest) == LATEST else None,
            "statuses": records.tallied(self._tallies),
            "success": records.success(self._tallies),
            "errors": self._errors(both.values()),
        }

    def _shown(self, upload: Upload) -> dict[str, Any]:
        rate = self._rates.of(upload)
        record = records.record(upload)
        del record["timeline"], record["metadata"]
        age = max(0.0, upload.as_of - upload.created_at)
        return {
            **record,
            "client": self._client(upload),
            "age": round(age, 1),
            "rate": None if rate is None else round(rate),
        }

    def _client(self, upload: Upload) -> str | None:
        """Who sends to the upload, if anybody knows: its holder first of all."""
        told = self._others.get(upload.lease.holder) if upload.lease is not None else None
        return (told and told.clients.get(upload.id)) or self._board.recent.client(upload.id)

    def _errors(self, uploads: Iterable[Upload]) -> list[dict[str, Any]]:
        """What this process and the others refused; of those that tell nothing, what the sessions say ended early."""
        told: dict[str, Sequence[Refused]] = {self._board.holder: self._board.recent.refusals}
        told |= {holder: bulletin.refusals for holder, bulletin in self._others.items()}
        errors = [{**each._asdict(), "pod": pod_of(holder)} for holder, refused in told.items() for each in refused]
        for upload in uploads:
            for moment in upload.timeline:
                if moment.what not in ORDINARY and moment.by not in told:
                    about = {"status": None, "method": None, "upload": upload.id, "client": None}
                    pod = moment.by and pod_of(moment.by)
                    errors.append({"at": moment.at or 0.0, "code": moment.what, **about, "pod": pod})
        return sorted(errors, key=lambda error: -float(error["at"]))[:ERRORS]


def pod_of(holder: str) -> str:
    """How people tell a process from others: a holder is a pod and what makes it unique."""
    return holder.rpartition(":")[0] or holder


async def _first(sessions: SessionStore, query: Query, limit: int) -> list[Upload]:
    """The first of the uploads that match."""
    uploads: list[Upload] = []
    async with contextlib.AsyncExitStack() as stack:
        found: AsyncIterator[Upload] = sessions.find(query)
        if (close := getattr(found, "aclose", None)) is not None:
            stack.push_async_callback(close)
        async for upload in found:
            uploads.append(upload)
            if len(uploads) == limit:
                break
    return uploads
