"""What the events tell, over every session store, and how little that asks of the store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from tests.dashboard.asking import event_of
from tests.stores.conftest import pair as pair
from tests.stores.sessions import Clock, Pair, an_upload, leased, started
from tusserver.bulletin import Board
from tusserver.dashboard.feed import Feed
from tusserver.dashboard.picture import COUNTED, LATEST, SHOWN
from tusserver.protocol.refusals import StoreUnavailable
from tusserver.protocol.upload import Status, Upload
from tusserver.recent import CLIENTS, REFUSALS, Recent
from tusserver.stores.base import Query, SessionStore, Tally
from tusserver.stores.memory import MemorySessions
from tusserver.stores.sqlite import SqliteSessions

pytestmark = pytest.mark.anyio

KIB = 1024


def a_board(sessions: SessionStore) -> Board:
    return Board(sessions, Recent(), holder="a:1:ee")


async def pictures(feed: Feed) -> AsyncIterator[Any]:
    """What a viewer is told, until it leaves."""
    with feed.watched():
        async for event in feed.events():
            text = event.decode().removeprefix("retry: 2000\n\n")
            if text.startswith("event: now"):
                yield event_of(text)[1]


async def first(feed: Feed, wanted: Any = lambda seen: True) -> Any:
    async with asyncio.timeout(20):
        async for seen in pictures(feed):
            if wanted(seen):
                return seen
    raise AssertionError("the events have ended")


class Counting(MemorySessions):
    """A store that counts how often it is read."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0
        self.away = False

    async def find(self, query: Query) -> AsyncIterator[Upload]:
        self.reads += 1
        if self.away:
            raise StoreUnavailable
        async for upload in super().find(query):
            yield upload

    async def tally(self, created_from: float | None = None) -> Mapping[Status, Tally]:
        self.reads += 1
        return await super().tally(created_from)


async def test_each_store_tells_of_every_pod(pair: Pair) -> None:
    upload = leased(an_upload("a" * 32, length=8 * KIB, metadata="filename YS5tcDQ="), "pod-b:7:ff")
    stored = await pair.one.create(replace(upload, created_at=pair.clock.now))
    await pair.one.create(an_upload("b" * 32, length=5))
    recent = Recent()
    recent.receiving("a" * 32, "192.0.2.1")
    feed = Feed(pair.other, Board(pair.other, recent, holder="pod-a:1:ee"), every=0.01)
    seen = await first(feed)
    (active,) = seen["active"]
    assert (active["name"], active["offset"], active["client"]) == ("a.mp4", 0, "192.0.2.1")
    assert active["holder"] == "pod-b:7:ff"
    assert [each["id"] for each in seen["latest"]] == ["a" * 32, "b" * 32]
    assert seen["statuses"]["active"]["count"] == 2

    before = await pair.one.get(upload.id)
    moving = pictures(feed)
    async with asyncio.timeout(20):
        await anext(moving)
        pair.clock.now += 1
        stored = await pair.one.swap(stored, stored.advanced(4 * KIB, now=pair.clock.now))
        while (seen := await anext(moving))["active"][0]["offset"] != 4 * KIB:
            pass
        while not seen["points"] or not max(point[1] for point in seen["points"]):
            seen = await anext(moving)
        assert seen["active"][0]["rate"] is not None
        done = stored.advanced(8 * KIB, now=pair.clock.now).released("client_gone")
        await pair.one.swap(stored, done)
        while (seen := await anext(moving))["active"]:
            pass
    await moving.aclose()  # type: ignore[attr-defined]
    assert {each["id"]: each["status"] for each in seen["latest"]}["a" * 32] == "completed"
    assert [(error["code"], error["pod"]) for error in seen["errors"]] == [("client_gone", "pod-b:7")]
    assert (await pair.one.get(upload.id)).version == before.version + 2, "watching has changed nothing"
    feed.close()


async def test_reads_do_not_grow_with_the_viewers() -> None:
    sessions = Counting()
    feed = Feed(sessions, a_board(sessions), every=0.01)

    async def reads_of(viewers: int, looks: int = 20) -> int:
        before = sessions.reads

        async def watch() -> None:
            count = 0
            async for _ in pictures(feed):
                count += 1
                if count == looks:
                    return

        await asyncio.gather(*(watch() for _ in range(viewers)))
        return sessions.reads - before

    alone, many = await reads_of(1), await reads_of(50)
    assert 2 * 19 <= alone <= 2 * 25 + 2
    assert many <= alone + 12


async def test_nobody_looks_while_nobody_watches() -> None:
    sessions = Counting()
    feed = Feed(sessions, a_board(sessions), every=0.001)
    assert sessions.reads == 0
    await first(feed)
    await asyncio.sleep(0)
    before = sessions.reads
    for _ in range(50):
        await asyncio.sleep(0.001)
    assert sessions.reads == before


async def test_ten_thousand_sessions_are_shown_in_bounded_pieces(tmp_path: Path) -> None:
    sessions = SqliteSessions(tmp_path / "sessions.db", durable=False)
    async with started(sessions):
        for start in range(0, 10_000, 1000):
            drafts = [an_upload(f"{number:032x}", created_at=float(number)) for number in range(start, start + 1000)]
            held = [leased(draft, ttl=3600.0) if start >= 8000 else draft for draft in drafts]
            await asyncio.gather(*(sessions.create(draft) for draft in held))
        feed = Feed(sessions, a_board(sessions), every=0.01)
        seen = await first(feed)
        feed.close()
    assert (len(seen["active"]), seen["active_count"], seen["active_more"]) == (SHOWN, COUNTED, True)
    assert len(seen["latest"]) == LATEST
    assert seen["latest"][0]["id"] == f"{9999:032x}"
    assert seen["statuses"]["active"]["count"] == 10_000


async def test_a_store_that_is_away_is_told_and_comes_back() -> None:
    sessions = Counting()
    sessions.away = True
    feed = Feed(sessions, a_board(sessions), every=0.01)
    trouble = await first(feed)
    assert trouble["trouble"].endswith(".")
    sessions.away = False
    assert (await first(feed, lambda seen: seen["trouble"] is None))["active"] == []


async def test_a_slow_viewer_misses_pictures_and_gets_the_newest() -> None:
    sessions = MemorySessions(Clock())
    feed = Feed(sessions, a_board(sessions), every=0.001)
    with feed.watched():
        events = feed.events()
        async with asyncio.timeout(20):
            await anext(events)
            await anext(events)
            await sessions.create(an_upload("a" * 32))
            for _ in range(50):
                await asyncio.sleep(0.002)
            assert '"latest":[]' not in (await anext(events)).decode()
    feed.close()


async def test_closing_ends_the_events() -> None:
    feed = Feed(sessions := MemorySessions(), a_board(sessions), every=0.01)

    async def watch() -> None:
        async for _ in pictures(feed):
            feed.close()

    async with asyncio.timeout(20):
        await watch()
    assert feed.full


def test_what_is_remembered_is_bounded() -> None:
    recent = Recent(clock=lambda: 5.0)
    for number in range(REFUSALS + 1):
        recent.refused(str(number), status=400, method="X" * 99, upload=None, client="c")
    for number in range(CLIENTS + 1):
        recent.receiving(str(number), "c")
    assert len(recent.refusals) == REFUSALS
    assert recent.refusals[0].code == str(REFUSALS)
    assert (recent.client("0"), recent.client("1")) == (None, "c")
