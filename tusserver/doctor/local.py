"""What a server can find out about its stores by itself. Nothing is left behind."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

from tusserver.protocol.refusals import Refusal
from tusserver.protocol.upload import Status, Upload
from tusserver.stores.base import ByteStore, SessionStore
from tusserver.stores.findings import Finding, note, ok, problem, warning
from tusserver.units import about_duration, about_size

ROUNDS: Final = 10
SLOW: Final = 0.2
SKEW: Final = (1.0, 30.0)
ROOM: Final = 1024**3
PROBE: Final = b"tusserver doctor " * 4096


async def examine(sessions: SessionStore, storage: ByteStore, *, adopt: bool) -> AsyncIterator[Finding]:
    """The findings about both stores, not started yet. ``adopt``: this storage is to be the deployment's from now
    on."""
    try:
        await sessions.start()
        await sessions.ping()
    except Refusal as refusal:
        yield problem("sessions", refusal.text, "Without the session store no server can work.")
        return
    async for finding in _sessions(sessions):
        yield finding
    try:
        await storage.start()
        await storage.ping()
    except Refusal as refusal:
        yield problem("storage", refusal.text, "Without the storage no upload can be received.")
        return
    yield await _identity(sessions, storage, adopt)
    async for finding in _storage(storage):
        yield finding


async def _sessions(sessions: SessionStore) -> AsyncIterator[Finding]:
    # A tombstone without bytes: no client can reach it, and no server does anything with it but forget it
    probe = Upload(id=f"doctor-{secrets.token_hex(8)}", created_at=time.time(), updated_at=time.time(), length=1)
    probe = probe.to(Status.CANCELLED, now=time.time()).emptied()
    try:
        stored = await sessions.create(probe)
        stored = await sessions.swap(stored, stored.noted("examined"))
        read = await _median(lambda: sessions.get(stored.id))
        yield ok("sessions", f"answer in {about_milliseconds(read)}")
        began = time.time()
        skew = (await sessions.get(stored.id)).as_of - (began + time.time()) / 2
        yield _clock(skew)
    except Refusal as refusal:
        yield problem("sessions", refusal.text, "The session store answers, and does not keep what it is told.")
    finally:
        await sessions.delete(probe.id)
    async for finding in sessions.examine():
        yield finding


def _clock(skew: float) -> Finding:
    said = f"{abs(skew):.1f} s {'ahead of' if skew < 0 else 'behind'} the session store's"
    if abs(skew) < SKEW[0]:
        return ok("clock", "the same as the session store's")
    if abs(skew) < SKEW[1]:
        return warning("clock", said, "Set this machine's clock by NTP.")
    return problem("clock", said, "Set this machine's clock by NTP: uploads would expire too early or too late.")


async def _identity(sessions: SessionStore, storage: ByteStore, adopt: bool) -> Finding:
    claimed = await sessions.claim_place(storage.place, force=True) if adopt else await sessions.claimed_place()
    if claimed is None:
        return note("identity", f"{storage.place}; the first server that starts says which storage the others need")
    if claimed == storage.place:
        return ok("identity", f"{storage.place}, the one that this deployment uses")
    return problem(
        "identity",
        f"this storage is {storage.place}, and the other servers use {claimed}: it is not shared",
        "Mount the volume that the others have, or use --storage gridfs:. If theirs is no longer used, run "
        "tusserver doctor --adopt-storage here.",
    )


async def _storage(storage: ByteStore) -> AsyncIterator[Finding]:
    probe = Upload(id=f"doctor-{secrets.token_hex(8)}", created_at=0.0, updated_at=0.0, place=storage.place, version=1)
    try:
        yield await _written(storage, probe)
    except Refusal as refusal:
        yield problem("storage", refusal.text, "What is written there cannot be relied on.")
    finally:
        await storage.discard(probe.id)
    room = await storage.room()
    if room is not None:
        said = f"{about_size(room)} free"
        yield ok("room", said) if room >= ROOM else warning("room", said, "Make room: uploads will be refused (507).")
    async for finding in storage.examine():
        yield finding


async def _written(storage: ByteStore, probe: Upload) -> Finding:
    writer = await storage.open(probe)
    durations = []
    try:
        for _ in range(ROUNDS):
            await writer.write([PROBE])
            began = time.perf_counter()
            await writer.flush()
            durations.append(time.perf_counter() - began)
    finally:
        await writer.close()
    written = probe.advanced(writer.position, now=0.0)
    if b"".join([block async for block in storage.read(written, 0, written.offset)]) != PROBE * ROUNDS:
        return problem("storage", "what is read is not what was written", "Do not use this volume.")
    flush = sorted(durations)[ROUNDS // 2]
    said = f"writes, makes durable in {about_milliseconds(flush)} and reads back"
    if flush > SLOW:
        return warning("storage", said, f"That is slow; each upload waits for it. Above {SLOW * 1000:.0f} ms look why.")
    return ok("storage", said)


async def _median(call: Callable[[], Awaitable[object]]) -> float:
    durations = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        await call()
        durations.append(time.perf_counter() - began)
    return sorted(durations)[ROUNDS // 2]


def about_milliseconds(seconds: float) -> str:
    """``0.4 ms``."""
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else about_duration(seconds)
