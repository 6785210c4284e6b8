"""Room for what is announced, on a disk of 1 MiB."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.disks import small_disk_at
from tusserver.protocol.refusals import StorageFull
from tusserver.room import SOON, Room
from tusserver.stores.disk import DiskBytes

pytestmark = pytest.mark.anyio

KIB = 1024


class Asked(DiskBytes):
    """A byte store that counts how often it is asked for its room."""

    times = 0

    async def room(self) -> int | None:
        self.times += 1
        return await super().room()


class Disk:
    """A small disk, uploads that are on their way, and a clock."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.store = Asked(path)
        self.awaited = 0
        self.now = 0.0
        self.room = Room(self.store, lambda: self.awaited, lambda: self.now)

    def ballast(self, size: int) -> None:
        (self.path / "ballast").write_bytes(b"x" * size)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with small_disk_at(tmp_path / "disk", "1m") as path:
        yield Disk(path)


async def test_what_is_small_is_not_asked_for_each_time(disk: Disk) -> None:
    await disk.store.start()
    for _ in range(100):
        await disk.room.check(16 * KIB)
    assert disk.store.times == 1
    disk.now += SOON
    await disk.room.check(16 * KIB)
    assert disk.store.times == 2
    await disk.store.close()


async def test_nothing_is_refused_by_what_was(disk: Disk) -> None:
    await disk.store.start()
    disk.ballast(900 * KIB)
    with pytest.raises(StorageFull, match="no room for 204800 bytes"):
        await disk.room.check(200 * KIB)
    disk.ballast(0)
    await disk.room.check(200 * KIB)
    await disk.store.close()


async def test_what_takes_much_of_the_room_is_asked_for_each_time(disk: Disk) -> None:
    await disk.store.start()
    await disk.room.check(600 * KIB)
    disk.ballast(600 * KIB)
    with pytest.raises(StorageFull):
        await disk.room.check(600 * KIB)
    await disk.store.close()


async def test_what_is_on_its_way_takes_room_too(disk: Disk) -> None:
    await disk.store.start()
    await disk.room.check(16 * KIB)
    disk.awaited = 1000 * KIB
    with pytest.raises(StorageFull):
        await disk.room.check(100 * KIB)
    await disk.store.close()


async def test_nothing_needs_no_room(disk: Disk) -> None:
    await disk.room.check(0)
    assert disk.store.times == 0


async def test_nothing_is_believed_that_was_said_long_ago(disk: Disk) -> None:
    await disk.store.start()
    await disk.room.check(16 * KIB)
    disk.now += SOON
    disk.ballast(1020 * KIB)
    checks = [disk.room.check(16 * KIB) for _ in range(3)]
    found = await asyncio.gather(*checks, return_exceptions=True)
    assert [type(each) for each in found] == [StorageFull] * 3
    await disk.store.close()
