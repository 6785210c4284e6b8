"""Small requests carried out in one go: what comes of them is what the long way brings."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.engine.conftest import Workshop, bytes_of
from tests.stores.sessions import turns_until
from tusserver.body import Claim, RequestBody
from tusserver.engine import Engine
from tusserver.hooks import Event, Hook, HookRefused, Hooks
from tusserver.keeper import Timing
from tusserver.metrics import Metrics
from tusserver.prompt import SMALL
from tusserver.protocol.commands import Append, Body, Checksum, Create
from tusserver.protocol.refusals import (
    ChecksumMismatch,
    LengthExceeded,
    OffsetMismatch,
    Refusal,
    StorageFull,
    TooLarge,
    UploadNotFound,
)
from tusserver.protocol.rules import Limits
from tusserver.protocol.upload import Status, Upload
from tusserver.stores.base import Buffer, Query
from tusserver.stores.disk import DiskBytes
from tusserver.stores.sqlite import SqliteSessions

pytestmark = pytest.mark.anyio

SHA1 = hashlib.sha1(b"0123456789", usedforsecurity=False).digest()


class Arrived:
    """What a server says of a body that has arrived whole."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def whole(self) -> bytes | None:
        return self._data

    def claim(self) -> Claim | None:
        return None


async def nothing_more() -> dict[str, object]:
    raise AssertionError("the body has been handed over")


def arrived(data: bytes) -> RequestBody:
    return RequestBody(nothing_more, idle_timeout=5, direct=Arrived(data))


class Counted(SqliteSessions):
    """Counts how often something is stored otherwise than at once, and how often an upload is read."""

    stored = 0
    read = 0

    async def get(self, upload_id: str) -> Upload:
        self.read += 1
        return await super().get(upload_id)

    async def create(self, upload: Upload) -> Upload:
        self.stored += 1
        return await super().create(upload)

    async def swap(self, old: Upload, new: Upload) -> Upload:
        self.stored += 1
        return await super().swap(old, new)


class Desk:
    """One process over SQLite and a directory. ``prompt``: whether anything may be done in one go."""

    def __init__(self, root: Path, hooks: Hooks, *, prompt: bool, max_size: int | None = None) -> None:
        self.root = root
        self.sessions = Counted(root / "s.db", durable=False)
        self.storage = DiskBytes(root / "uploads", durable=False)
        self.prompt = prompt
        self.engine = Engine(
            self.sessions,
            self.storage,
            holder="desk",
            limits=Limits(max_size=max_size),
            timing=Timing(ttl=0.5, beat=0.1, poll=0.01, patience=0.5),
            hooks=hooks,
            metrics=Metrics(),
            clock=lambda: 1_000_000.0,
        )

    async def __aenter__(self) -> Desk:
        await self.engine.start()
        self.storage._here.allowed = self.prompt  # whatever file system the tests run on
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self.engine.stop()

    async def made(self, length: int | None) -> Upload:
        return (await self.engine.create(Create(length=length), arrived(b""))).upload

    async def append(self, upload: Upload, data: bytes, **fields: object) -> Upload:
        command = Append(upload_id=upload.id, offset=upload.offset, body=Body(size=len(data)))
        return (await self.engine.append(replace(command, **fields), arrived(data))).upload


@pytest.fixture(params=["at once", "the long way"])
async def desk(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Desk]:
    async with Desk(tmp_path, Hooks(), prompt=request.param == "at once", max_size=200_000) as desk:
        yield desk


def told(upload: Upload) -> object:
    """What of an upload must not depend on the way."""
    moments = [(moment.what, moment.offset, moment.by) for moment in upload.timeline]
    return (upload.offset, upload.length, upload.status, upload.parts, upload.token, upload.lease, moments)


async def test_both_ways_bring_the_same(tmp_path: Path) -> None:
    found = []
    for prompt in (True, False):
        async with Desk(tmp_path / str(prompt), Hooks(), prompt=prompt) as desk:
            upload = await desk.made(10)
            before = desk.sessions.stored
            half = await desk.append(upload, b"01234")
            whole = await desk.append(half, b"56789")
            body = Body(size=10)
            made = await desk.engine.create(Create(length=10, body=body), arrived(b"0123456789"))
            assert (desk.sessions.stored == before) is prompt
            uploads = [half, whole, made.upload]
            found.append([told(each) for each in uploads])
            assert [await bytes_of(desk.engine, each) for each in uploads[1:]] == [b"0123456789"] * 2
            assert (await desk.sessions.get(upload.id)).same_as(whole)
            assert not list((desk.root / "uploads" / "parts").glob("[!.]*"))
    assert found[0] == found[1]
    assert found[0][1][2] is Status.COMPLETED  # type: ignore[index]


async def test_refusals_change_nothing(desk: Desk) -> None:
    upload = await desk.append(await desk.made(10), b"0123")
    refused: list[tuple[type[Refusal], Upload, bytes, dict[str, object]]] = [
        (OffsetMismatch, upload, b"45", {"offset": 3}),
        (ChecksumMismatch, upload, b"45", {"body": Body(size=2, checksum=Checksum(algorithm="sha1", digest=SHA1))}),
        (LengthExceeded, upload, b"4567890", {}),
        (UploadNotFound, upload.named("f" * 32), b"45", {}),
    ]
    for kind, where, data, fields in refused:
        with pytest.raises(kind):
            await desk.append(where, data, **fields)
        stored = await desk.sessions.get(upload.id)
        assert (stored.offset, stored.lease) == (4, None)
    assert await bytes_of(desk.engine, await desk.append(stored, b"456789")) == b"0123456789"


async def test_more_than_fits_is_cut_by_the_long_way(desk: Desk) -> None:
    upload = await desk.made(None)
    with pytest.raises(TooLarge):
        await desk.append(upload, bytes(SMALL), offset=0, body=Body(size=None), length=200_001)
    upload = await desk.made(5)
    with pytest.raises(LengthExceeded):
        await desk.append(upload, b"0123456789", body=Body(size=None))
    stored = await desk.sessions.get(upload.id)
    assert stored.completed
    assert await bytes_of(desk.engine, stored) == b"01234"


async def test_a_checksum_that_is_right_and_a_length_that_comes_along(desk: Desk) -> None:
    upload = await desk.made(None)
    body = Body(size=10, checksum=Checksum(algorithm="sha1", digest=SHA1))
    stored = await desk.append(upload, b"0123456789", body=body, length=10)
    assert stored.completed
    assert await bytes_of(desk.engine, stored) == b"0123456789"


async def test_an_empty_body_at_the_end_of_a_complete_upload(desk: Desk) -> None:
    upload = await desk.append(await desk.made(3), b"012")
    assert (await desk.append(upload, b"")).same_as(upload)
    with pytest.raises(LengthExceeded):
        await desk.append(upload, b"3")


async def test_a_writer_that_is_there_is_asked_to_end(desk: Desk, tmp_path: Path) -> None:
    upload = await desk.made(10)
    await desk.sessions.swap(upload, upload.acquired(lease_id="theirs", holder="elsewhere", ttl=0.1))
    stored = await desk.append(upload, b"0123456789")
    assert stored.completed
    assert stored.token == 2  # the other one did not end: its lease ran out
    assert await bytes_of(desk.engine, stored) == b"0123456789"


async def test_a_full_disk_counts_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Desk(tmp_path, Hooks(), prompt=True) as desk:
        upload = await desk.made(10)

        def full(upload: Upload, block: bytes, *, last: bool) -> None:
            raise StorageFull

        with monkeypatch.context() as patched:
            patched.setattr(desk.storage, "put", full)
            with pytest.raises(StorageFull):
                await desk.append(upload, b"0123456789")
            with pytest.raises(StorageFull):
                await desk.engine.create(Create(length=10, body=Body(size=10)), arrived(b"0123456789"))
        assert (await desk.sessions.get(upload.id)).same_as(upload)
        assert [each.id async for each in desk.sessions.find(Query())] == [upload.id]


async def test_hooks_are_asked_and_told_as_ever(tmp_path: Path) -> None:
    heard: list[tuple[str, int]] = []

    def hear(name: str) -> Hook:
        async def hook(event: Event) -> None:
            heard.append((name, event.upload.offset))
            if name == "authorize" and event.upload.metadata == "closed":
                raise HookRefused(403, "no")

        return hook

    names = ("authorize", "post_receive", "post_finish")
    async with Desk(tmp_path, Hooks(**{name: hear(name) for name in names}), prompt=True) as desk:
        upload = await desk.made(4)
        before = desk.sessions.stored
        upload = await desk.append(upload, b"01")
        await desk.append(upload, b"23")
        assert desk.sessions.stored == before
        closed = (await desk.engine.create(Create(length=1, metadata="closed"), arrived(b""))).upload
        with pytest.raises(HookRefused):
            await desk.append(closed, b"0")
    assert heard == [
        ("authorize", 0), ("post_receive", 2),
        ("authorize", 2), ("post_receive", 4), ("post_finish", 4),
        ("authorize", 0),
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["pre_finish", "post_create"])
async def test_a_hook_that_comes_in_between_makes_it_the_long_way(tmp_path: Path, name: str) -> None:
    offsets: list[int] = []

    async def hook(event: Event) -> None:
        offsets.append(event.upload.offset)

    async with Desk(tmp_path, Hooks(**{name: hook}), prompt=True) as desk:
        made = await desk.engine.create(Create(length=2, body=Body(size=2)), arrived(b"01"))
        assert made.upload.completed
    assert offsets == [0]


async def test_the_other_stores_take_the_long_way(workshop: Workshop) -> None:
    engine = await workshop.engine()  # durable
    made = await engine.create(Create(length=2, body=Body(size=2)), arrived(b"01"))
    assert await bytes_of(engine, made.upload) == b"01"


async def test_those_that_come_together_are_carried_out_together(tmp_path: Path) -> None:
    seen: list[str] = []
    async with Desk(tmp_path, Hooks(), prompt=True) as desk:
        uploads = await asyncio.gather(*(desk.made(4) for _ in range(5)))
        desk.sessions._database._connection.set_trace_callback(seen.append)
        done = await asyncio.gather(*(desk.append(upload, b"data") for upload in uploads))
        assert [upload.status for upload in done] == [Status.COMPLETED] * 5
        assert [(desk.root / "uploads" / upload.id).read_bytes() for upload in done] == [b"data"] * 5
        assert seen.count("COMMIT") == 1


async def test_the_second_of_two_writers_in_one_turn_hears_what_the_first_has_done(tmp_path: Path) -> None:
    async with Desk(tmp_path, Hooks(), prompt=True) as desk:
        upload = await desk.made(8)
        first, second = await asyncio.gather(
            desk.append(upload, b"once"), desk.append(upload, b"more"), return_exceptions=True
        )
        assert isinstance(first, Upload) and first.offset == 4
        assert isinstance(second, OffsetMismatch) and second.upload is not None and second.upload.offset == 4
        assert await bytes_of(desk.engine, first) == b"once"


async def test_what_this_process_has_stored_itself_is_not_read_again(tmp_path: Path) -> None:
    async with Desk(tmp_path, Hooks(), prompt=True) as desk:
        upload = await desk.made(8)
        half = await desk.append(upload, b"once")
        whole = await desk.append(half, b"more")
        assert (desk.sessions.read, await bytes_of(desk.engine, whole)) == (0, b"oncemore")


async def test_what_another_process_has_done_meanwhile_counts(tmp_path: Path) -> None:
    async with Desk(tmp_path, Hooks(), prompt=True) as here, Desk(tmp_path, Hooks(), prompt=True) as there:
        upload = await here.made(8)
        await there.append(upload, b"once")
        with pytest.raises(OffsetMismatch) as refused:
            await here.append(upload, b"more")
        assert refused.value.upload is not None and refused.value.upload.offset == 4
        noted = await there.sessions.swap(refused.value.upload, refused.value.upload.noted("seen"))
        half = await here.append(noted, b"MO")  # as far as here, but another version
        assert await bytes_of(here.engine, half) == b"onceMO"
        await there.engine.cancel(upload.id)
        with pytest.raises(UploadNotFound):
            await here.append(half, b"RE")
        await there.sessions.delete(upload.id)
        with pytest.raises(UploadNotFound):
            await here.append(half, b"RE")


async def test_a_disk_that_becomes_slow_holds_up_one_of_those_that_come_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Desk(tmp_path, Hooks(), prompt=True) as desk:
        uploads = [await desk.made(4) for _ in range(5)]
        put, slow = desk.storage.put, []

        def slowly(upload: Upload, block: Buffer, *, last: bool) -> None:
            put(upload, block, last=last)
            slow.append(upload.id)
            desk.storage._here._slow.add("write")

        monkeypatch.setattr(desk.storage, "put", slowly)
        done = await asyncio.gather(*(desk.append(upload, b"data") for upload in uploads))
        assert slow == [uploads[0].id]
        assert [(desk.root / "uploads" / upload.id).read_bytes() for upload in done] == [b"data"] * 5


async def test_hooks_hear_of_what_was_stored_even_if_the_request_is_cancelled(tmp_path: Path) -> None:
    heard: list[str] = []

    async def note(event: Event) -> None:
        heard.append(event.upload.id)

    async with Desk(tmp_path, Hooks(post_finish=note), prompt=True) as desk:
        upload = await desk.made(4)
        appending = asyncio.create_task(desk.append(upload, b"data"))
        await turns_until(lambda: desk.sessions._database._turns._waiting)
        await turns_until(lambda: not desk.sessions._database._turns._waiting)
        appending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await appending
        await turns_until(lambda: heard)
        assert heard == [upload.id]
        assert (await desk.sessions.get(upload.id)).completed
