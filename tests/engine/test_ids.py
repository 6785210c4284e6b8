"""The ids of new uploads."""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
from pathlib import Path

import pytest

from tests.stores.sessions import an_upload
from tusserver.ids import new_id
from tusserver.protocol.headers import is_upload_id
from tusserver.stores.sqlite import SqliteSessions

pytestmark = pytest.mark.anyio

NOW = 1_767_225_600.125
FRAME = 4096 + 24
"""Bytes that a page takes in the database's log."""


def test_they_follow_the_time_and_are_never_the_same() -> None:
    ids = [[new_id(NOW + milliseconds / 1000) for _ in range(100)] for milliseconds in range(20)]
    for earlier, later in itertools.pairwise(ids):
        assert max(earlier) < min(later)
    assert len({each[12:] for made in ids for each in made}) == 2000  # by chance alone
    assert all(is_upload_id(each) and len(each) == 32 for made in ids for each in made)


@pytest.mark.parametrize("now", [0.0, -1.0, 1e12])
def test_a_clock_that_is_far_off_gives_ids_as_well(now: float) -> None:
    assert is_upload_id(new_id(now)) and len(new_id(now)) == 32


async def test_those_that_are_made_together_share_the_pages_of_the_index(tmp_path: Path) -> None:
    sessions = SqliteSessions(tmp_path / "s.db", durable=False)
    await sessions.start()
    await asyncio.gather(*(sessions.create(an_upload(new_id(NOW + number / 100))) for number in range(3000)))
    with sqlite3.connect(tmp_path / "s.db", isolation_level=None) as other:
        assert other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
    other.close()
    await asyncio.gather(*(sessions.create(an_upload(new_id(NOW + 30))) for _ in range(20)))
    written = (tmp_path / "s.db-wal").stat().st_size // FRAME
    await sessions.close()
    assert written < 20, "a page for each of them"
