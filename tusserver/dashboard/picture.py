"""What the dashboard shows, as JSON: taken from the session store by reading alone."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

from tusserver import records
from tusserver.dashboard.rates import Rates
from tusserver.protocol.upload import Status, Upload
from tusserver.recent import Recent
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
    """Looks at a session store again and again. ``pod``: how people tell this process from others."""

    def __init__(self, sessions: SessionStore, recent: Recent, pod: str) -> None:
        self._sessions = sessions
        self._recent = recent
        self._pod = pod
        self._rates = Rates()
        self._tallies: Mapping[Status, Tally] = {}
        self._tallied_at: float | None = None
        self.points: deque[tuple[float, int, int]] = deque(maxlen=POINTS)

    async def take(self) -> dict[str, Any]:
        """How things are now. Two reads of the store, and a third every few seconds. Raises StoreUnavailable."""
        now = time.monotonic()
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
        client = self._recent.client(upload.id)
        return {**record, "client": client, "age": round(age, 1), "rate": None if rate is None else round(rate)}

    def _errors(self, uploads: Any) -> list[dict[str, Any]]:
        """What this process refused, and what the sessions say ended early at others."""
        errors = [{**refused._asdict(), "pod": self._pod} for refused in self._recent.refusals]
        for upload in uploads:
            for moment in upload.timeline:
                by = _pod_of(moment.by)
                if moment.what not in ORDINARY and by != self._pod:
                    about = {"status": None, "method": None, "upload": upload.id, "client": None}
                    errors.append({"at": moment.at or 0.0, "code": moment.what, **about, "pod": by})
        return sorted(errors, key=lambda error: -float(error["at"] or 0.0))[:ERRORS]


def _pod_of(holder: str | None) -> str | None:
    """A holder is a pod and what makes it unique."""
    return None if holder is None else holder.rpartition(":")[0] or holder


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
