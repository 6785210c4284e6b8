"""What processes tell one another for their dashboards, over every session store."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

import pytest
import requests

from tests.dashboard.asking import told
from tests.e2e.conftest import start as start
from tests.e2e.server import TUS, ServerProcess, wait_for
from tests.stores.conftest import pair as pair
from tests.stores.sessions import Pair
from tusserver.bulletin import BULLETINS, CLIENTS, KEPT, REFUSALS, WATCHING, Board, Bulletin, bulletin_of
from tusserver.recent import Recent, Refused
from tusserver.stores.base import NOTE, SessionStore
from tusserver.stores.memory import MemorySessions

KIB = 1024


def receiving(sessions: SessionStore, *ids: str, holder: str = "pod-b:7:ff") -> Board:
    """What a process tells that receives these uploads and has refused one request."""
    recent = Recent()
    for upload_id in ids:
        recent.receiving(upload_id, "192.0.2.1")
    recent.refused("offset_mismatch", status=409, method="PATCH", upload="u", client="192.0.2.2")
    return Board(sessions, recent, holder=holder, receiving=lambda: ids, every=0.0)


def watching(sessions: SessionStore) -> Board:
    return Board(sessions, Recent(), holder="pod-a:1:ee", every=0.0)


class Counting(MemorySessions):
    """A store that counts what is asked of its boards."""

    looks = pins = 0

    async def pin(self, board: str, name: str, text: str, seconds: float) -> None:
        self.pins += 1
        await super().pin(board, name, text, seconds)

    async def pinned(self, board: str) -> Mapping[str, str]:
        self.looks += 1
        return await super().pinned(board)


@pytest.mark.anyio
async def test_whoever_watches_is_told_by_the_others(pair: Pair) -> None:
    one, other = watching(pair.one), receiving(pair.other, "u", "v")
    await other.tell()
    assert await one.others() == {}, "nobody watched before"
    await other.tell()
    await one.tell()
    ((holder, bulletin),) = (await one.others()).items()
    assert (holder, bulletin.clients) == ("pod-b:7:ff", {"u": "192.0.2.1", "v": "192.0.2.1"})
    assert [(each.code, each.status, each.client) for each in bulletin.refusals] == [
        ("offset_mismatch", 409, "192.0.2.2")
    ]
    assert await other.others() == {}, "what it tells itself is not told to it"
    pair.clock.now += KEPT
    assert await one.others() == {}


@pytest.mark.anyio
async def test_nobody_is_told_for_long_after_the_last_has_watched(pair: Pair) -> None:
    await watching(pair.one).others()
    pair.clock.now += WATCHING
    await receiving(pair.other, "u").tell()
    assert await pair.one.pinned(BULLETINS) == {}


@pytest.mark.anyio
async def test_the_same_is_told_once_and_nothing_costs_nothing() -> None:
    sessions = Counting()
    await Board(sessions, Recent(), holder="idle:1:aa").tell()
    assert (sessions.looks, sessions.pins) == (0, 0)
    await watching(sessions).others()
    board = receiving(sessions, "u")
    before = sessions.pins
    for _ in range(5):
        await board.tell()
    assert sessions.pins == before + 1
    board.recent.receiving("u", "192.0.2.9")
    await board.tell()
    assert sessions.pins == before + 2


@pytest.mark.anyio
async def test_what_nobody_can_read_hides_nobody() -> None:
    sessions = MemorySessions()
    one = watching(sessions)
    await one.others()
    await receiving(sessions, "u").tell()
    for number, text in enumerate(("", "[]", "{}", '{"clients":3,"refusals":[]}', '{"clients":{},"refusals":[3]}')):
        await sessions.pin(BULLETINS, f"strange-{number}", text, 60)
    assert set(await one.others()) == {"pod-b:7:ff"}


def test_a_newer_version_may_say_more() -> None:
    bulletin = Bulletin({"u": "c"}, [Refused(1.0, "gone", 410, "GET", None, "c")])
    said = json.loads(bulletin.text())
    said["more"] = said["refusals"][0]["more"] = 1
    assert bulletin_of(json.dumps(said)) == bulletin


def test_the_longest_bulletin_is_a_note() -> None:
    client = "\xff" * 64  # what a trusted proxy may say, and Origin cuts
    refused = Refused(1e9 + 0.123456, "x" * 32, 409, "X" * 16, "f" * 32, client)
    clients = {f"{number:032x}": client for number in range(CLIENTS)}
    assert len(Bulletin(clients, [refused] * REFUSALS).text().encode()) <= NOTE


def test_workers_of_one_server_tell_of_each_other(start: Callable[..., ServerProcess]) -> None:
    server = start(workers=2)
    url = server.create(100 * KIB)
    refused = requests.head(f"{server.url}/{'0' * 32}", headers=TUS, timeout=20)
    assert refused.status_code == 404
    seen: set[str] = set()

    def another_worker_has_told() -> bool:
        picture = told(
            server,
            lambda picture: (
                [each["client"] for each in picture["active"]] == ["127.0.0.1"]
                and "upload_not_found" in {error["code"] for error in picture["errors"]}
            ),
        )
        seen.add(picture["pod"])
        return len(seen) == 2

    with server.opened_patch(url, 0, 100 * KIB) as raw:
        raw.sendall(bytes(KIB))
        wait_for(another_worker_has_told, seconds=60, what="both workers to answer")
