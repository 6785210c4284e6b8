"""Sessions in the memory of one process: for trying things out and for tests. They end with the process."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping

from tusserver.protocol.refusals import UploadNotFound
from tusserver.protocol.rules import Want
from tusserver.protocol.upload import Lease, Status, Upload
from tusserver.stores.base import Conflict, Query, Tally, check_note, polled
from tusserver.stores.documents import as_stored
from tusserver.stores.findings import Finding, warning
from tusserver.stores.prompt import Put
from tusserver.stores.taking import taken


def matches(query: Query, upload: Upload) -> bool:
    """Whether the upload is one of those that the query asks for."""
    lease = upload.lease
    contested = lease is not None and lease.contest is not None
    return (
        (query.statuses is None or upload.status in query.statuses)
        and query.kind in (None, upload.kind)
        and query.leased in (None, lease is not None)
        and (query.holder is None or (lease is not None and lease.holder == query.holder))
        and query.contested in (None, contested)
        and query.stored in (None, upload.stored)
        and _before(upload.expires_at, query.expires_before)
        and _before(upload.ended_at, query.ended_before)
        and _before(upload.updated_at, query.updated_before)
        and (query.created_from is None or upload.created_at >= query.created_from)
        and (query.beyond is None or _beyond(upload, query.beyond, query.newest_first))
    )


class MemorySessions:
    """A session store (see ``SessionStore``). ``clock`` gives seconds since the epoch."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._uploads: dict[str, Upload] = {}
        self._place: str | None = None
        self._notes: dict[tuple[str, str], tuple[str, float]] = {}

    async def start(self) -> None:
        """Nothing to connect to."""

    async def close(self) -> None:
        """Nothing to give back."""

    async def create(self, upload: Upload) -> Upload:
        """See ``SessionStore``."""
        return self._create(upload)

    async def get(self, upload_id: str) -> Upload:
        """See ``SessionStore``."""
        return self._stored(upload_id).but(as_of=self._clock())

    async def swap(self, old: Upload, new: Upload) -> Upload:
        """See ``SessionStore``."""
        return self._swap(old, new)

    async def take(self, upload_id: str, want: Want, lease: Lease) -> Upload:
        """See ``SessionStore``."""
        return await taken(self, upload_id, want, lease)

    def known(self, upload_id: str) -> Upload | None:
        """See ``PromptSessions``."""
        return self._uploads.get(upload_id)

    async def create_along(self, upload: Upload, put: Put) -> Upload | None:
        """See ``PromptSessions``."""
        return self._create(upload, put)

    async def swap_along(self, old: Upload, new: Upload, put: Put) -> Upload | None:
        """See ``PromptSessions``."""
        return self._swap(old, new, put)

    async def delete(self, upload_id: str) -> None:
        """See ``SessionStore``."""
        self._uploads.pop(upload_id, None)

    async def find(self, query: Query) -> AsyncIterator[Upload]:
        """See ``SessionStore``."""
        found = [(upload.created_at, upload.id) for upload in self._uploads.values() if matches(query, upload)]
        for _, upload_id in sorted(found, reverse=query.newest_first):
            upload = self._uploads.get(upload_id)
            if upload is not None and matches(query, upload):
                yield upload.but(as_of=self._clock())

    def contests(self, holder: str, every: float) -> AsyncGenerator[Upload | None, None]:
        """See ``SessionStore``."""
        return polled(self, holder, every)

    async def tally(self, created_from: float | None = None) -> Mapping[Status, Tally]:
        """See ``SessionStore``."""
        tallies: dict[Status, Tally] = {}
        query = Query(created_from=created_from)
        for upload in [upload for upload in self._uploads.values() if matches(query, upload)]:
            tally = tallies.get(upload.status, Tally())
            tallies[upload.status] = Tally(
                count=tally.count + 1,
                held=tally.held + (upload.offset if upload.stored else 0),
                remaining=tally.remaining + (upload.remaining or 0),
            )
        return tallies

    async def claim_place(self, place: str, *, force: bool = False) -> str:
        """See ``SessionStore``."""
        if force or self._place is None:
            self._place = place
        return self._place

    async def claimed_place(self) -> str | None:
        """See ``SessionStore``."""
        return self._place

    async def pin(self, board: str, name: str, text: str, seconds: float) -> None:
        """See ``SessionStore``."""
        check_note(text)
        now = self._clock()
        self._notes = {key: note for key, note in self._notes.items() if note[1] > now}
        self._notes[board, name] = (text, now + seconds)

    async def pinned(self, board: str) -> Mapping[str, str]:
        """See ``SessionStore``."""
        now = self._clock()
        return {name: text for (on, name), (text, until) in self._notes.items() if on == board and until > now}

    async def examine(self) -> AsyncGenerator[Finding, None]:
        """See ``SessionStore``."""
        yield warning("memory", "sessions end with the process", "Use sqlite: or MongoDB for anything but a trial.")

    async def ping(self) -> None:
        """Memory always answers."""

    def _create(self, upload: Upload, put: Put = lambda: None) -> Upload:
        if upload.id in self._uploads:
            raise Conflict(upload.id)
        put()
        return self._keep(upload, version=1)

    def _swap(self, old: Upload, new: Upload, put: Put = lambda: None) -> Upload:
        if self._stored(old.id).version != old.version:
            raise Conflict(old.id)
        put()
        return self._keep(new.named(old.id), version=old.version + 1)

    def _stored(self, upload_id: str) -> Upload:
        upload = self._uploads.get(upload_id)
        if upload is None:
            raise UploadNotFound
        return upload

    def _keep(self, upload: Upload, *, version: int) -> Upload:
        stored = as_stored(upload, version=version, now=self._clock())
        self._uploads[stored.id] = stored
        return stored


def _before(moment: float | None, bound: float | None) -> bool:
    return bound is None or (moment is not None and moment < bound)


def _beyond(upload: Upload, place: tuple[float, str], newest_first: bool) -> bool:
    here = (upload.created_at, upload.id)
    return here < place if newest_first else here > place
