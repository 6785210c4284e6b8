"""An engine over real stores, in this process, with a clock that the test may move."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from tusserver.body import RequestBody
from tusserver.engine import Engine
from tusserver.hooks import Hooks
from tusserver.keeper import Timing
from tusserver.metrics import Metrics
from tusserver.protocol.commands import Append, Body, Create
from tusserver.protocol.rules import Limits
from tusserver.protocol.upload import Concat, Kind, Upload
from tusserver.stores.disk import DiskBytes
from tusserver.stores.memory import MemorySessions
from tusserver.sweeper import Sweeper

HOUR = 3600.0


def body(data: bytes) -> RequestBody:
    """A body that has arrived whole."""
    events = [{"type": "http.request", "body": data, "more_body": False}]

    async def receive() -> dict[str, object]:
        return events.pop(0)

    return RequestBody(receive, idle_timeout=5)


class Workshop:
    """``ahead`` moves the clock, in seconds. Every engine is what one more process on the same stores would be."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.ahead = 0.0
        self.sessions: MemorySessions = MemorySessions(clock=self.clock)
        self.limits = Limits(expire_after=HOUR)
        self.engines: list[Engine] = []

    def clock(self) -> float:
        return time.time() + self.ahead

    async def engine(self, hooks: Hooks | None = None) -> Engine:
        engine = Engine(
            self.sessions,
            DiskBytes(self.root),
            holder=f"engine-{len(self.engines)}",
            limits=self.limits,
            timing=Timing(ttl=0.5, beat=0.1, poll=0.01, patience=2),
            hooks=hooks or Hooks(),
            metrics=Metrics(),
            clock=self.clock,
        )
        await engine.start()
        self.engines.append(engine)
        return engine

    def sweeper(self, engine: Engine) -> Sweeper:
        return Sweeper(self.sessions, engine.storage, forget_after=7 * 24 * HOUR, clock=self.clock)

    def stored(self) -> list[str]:
        """The names of what lies on the disk."""
        return sorted(path.name for path in self.root.rglob("[!.]*") if path.is_file())


@pytest.fixture
async def workshop(tmp_path: Path, anyio_backend: str) -> AsyncIterator[Workshop]:
    workshop = Workshop(tmp_path / "uploads")
    yield workshop
    for engine in workshop.engines:
        await engine.stop()


async def upload_of(engine: Engine, data: bytes, *, length: int | None = None, partial: bool = False) -> Upload:
    """An upload with these bytes; complete unless ``length`` says more."""
    concat = Concat(raw="partial", kind=Kind.PARTIAL) if partial else None
    created = await engine.create(Create(length=len(data) if length is None else length, concat=concat), body(b""))
    return await append(engine, created.upload, data)


async def append(engine: Engine, upload: Upload, data: bytes) -> Upload:
    """The upload with more bytes."""
    command = Append(upload_id=upload.id, offset=upload.offset, body=Body(size=len(data)))
    return (await engine.append(command, body(data))).upload


async def bytes_of(engine: Engine, upload: Upload) -> bytes:
    """What is stored of the upload, as far as it is counted."""
    return b"".join([block async for block in engine.storage.read(upload, 0, upload.offset)])


def final_over(*partials: Upload) -> Create:
    """The creation of a final upload."""
    ids = tuple(partial.id for partial in partials)
    return Create(length=None, concat=Concat(raw=f"final;{' '.join(ids)}", kind=Kind.FINAL, parts=ids))


def same(one: Upload, other: Upload) -> bool:
    """Whether both are one upload at one version."""
    return replace(one, as_of=0) == replace(other, as_of=0)
