"""A disk's writer takes bytes from a socket by itself (``PouringWriter``): all of them, in their place, and no more."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.disks import small_disk_at
from tests.stores.sessions import an_upload
from tusserver.protocol.refusals import StorageFull, StoreUnavailable
from tusserver.stores import disk_splice
from tusserver.stores.base import PouringWriter
from tusserver.stores.disk import DiskBytes

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[DiskBytes]:
    store = DiskBytes(tmp_path / "uploads")
    await store.start()
    yield store
    await store.close()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    near, far = socket.socketpair()
    near.setblocking(False)
    with near, far:
        yield near, far


def sent(far: socket.socket, data: bytes, *, then_close: bool = True) -> threading.Thread:
    """Send in a thread, since nobody reads until the writer does."""

    def work() -> None:
        try:
            far.sendall(data)
        except OSError:
            return
        if then_close:
            far.shutdown(socket.SHUT_WR)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def descriptors() -> list[Path]:
    """What this process has open."""
    return list(Path("/proc/self/fd").iterdir())


def same(path: Path, file: Path) -> bool:
    """Whether a descriptor's path leads to the file."""
    try:
        return path.samefile(file)
    except FileNotFoundError:  # closed, or no file
        return False


async def drained(writer: PouringWriter, near: socket.socket, size: int) -> tuple[int, bool]:
    """Pour until ``size`` bytes have come or the stream has ended."""
    total, ended = 0, False
    while total < size and not ended:
        poured, ended = await writer.pour(near.fileno(), size - total)
        total += poured
        await asyncio.sleep(0)
    return total, ended


async def test_it_takes_what_it_is_told_to_and_leaves_the_rest(
    store: DiskBytes, pair: tuple[socket.socket, socket.socket], tmp_path: Path
) -> None:
    near, far = pair
    data = os.urandom(3 * MIB + 17)
    sending = sent(far, data)
    writer = await store.open(an_upload("u"))
    await writer.write([b"before"])
    assert await drained(writer, near, len(data) - 5) == (len(data) - 5, False)
    assert writer.position == 6 + len(data) - 5
    assert near.recv(100) == data[-5:]
    assert await writer.flush(last=True) == writer.position
    await writer.close()
    sending.join()
    (part,) = (tmp_path / "uploads" / "parts").glob("u.*")
    assert part.read_bytes() == b"before" + data[:-5]


async def test_what_came_before_goes_first_and_the_last_turn_ends_it(
    store: DiskBytes, pair: tuple[socket.socket, socket.socket], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    fdatasync = os.fdatasync

    def noted(fd: int) -> None:
        synced.append(fd)
        fdatasync(fd)

    monkeypatch.setattr(os, "fdatasync", noted)
    near, far = pair
    far.sendall(b" the rest")
    writer = await store.open(an_upload("u"))
    assert await writer.pour(near.fileno(), 9, ahead=[b"the", b" first"], last=True) == (9, False)
    assert writer.position == 18
    (part,) = (tmp_path / "uploads" / "parts").glob("u.*")
    assert not any(same(path, part) for path in descriptors())
    assert await writer.flush(last=True) == 18
    await writer.close()
    assert len(synced) == 1
    assert part.read_bytes() == b"the first the rest"


async def test_a_turn_that_has_not_got_all_ends_nothing(
    store: DiskBytes, pair: tuple[socket.socket, socket.socket], tmp_path: Path
) -> None:
    near, far = pair
    far.sendall(b"more")
    writer = await store.open(an_upload("u"))
    assert await writer.pour(near.fileno(), 9, ahead=[b"some, "], last=True) == (4, False)
    assert await writer.flush() == 10
    far.sendall(b" comes")
    assert await writer.pour(near.fileno(), 5, last=True) == (5, False)
    assert await writer.flush(last=True) == 15
    (part,) = (tmp_path / "uploads" / "parts").glob("u.*")
    assert part.read_bytes() == b"some, more come"


async def test_what_the_last_turn_could_not_make_durable_is_never_vouched_for(
    store: DiskBytes, pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(fd: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    near, far = pair
    far.sendall(b"some")
    writer = await store.open(an_upload("u"))
    with monkeypatch.context() as patched:
        patched.setattr(os, "fdatasync", broken)
        with pytest.raises(StoreUnavailable):
            await writer.pour(near.fileno(), 4, last=True)
    with pytest.raises(StoreUnavailable):  # the kernel would not say it again
        await writer.flush(last=True)
    await writer.close()


async def test_progress_is_made_durable_while_the_last_bytes_come(
    store: DiskBytes, pair: tuple[socket.socket, socket.socket]
) -> None:
    near, far = pair
    writer = await store.open(an_upload("u"))
    for number in range(1, 6):
        far.sendall(b"piece")
        poured, flushed = await asyncio.gather(
            writer.pour(near.fileno(), 30 - 5 * (number - 1), last=True), writer.flush()
        )
        assert poured == (5, False)
        assert flushed in (5 * (number - 1), 5 * number)
    far.sendall(b"ended")
    assert await writer.pour(near.fileno(), 5, last=True) == (5, False)
    assert await writer.flush() == await writer.flush(last=True) == 30
    await writer.close()


async def test_the_end_of_the_stream_is_told(store: DiskBytes, pair: tuple[socket.socket, socket.socket]) -> None:
    near, far = pair
    sent(far, b"short").join()
    writer = await store.open(an_upload("u"))
    assert await drained(writer, near, 100) == (5, True)
    await writer.close()


async def test_where_nothing_comes_it_returns_with_nothing(
    store: DiskBytes, pair: tuple[socket.socket, socket.socket]
) -> None:
    near, _ = pair
    writer = await store.open(an_upload("u"))
    assert await writer.pour(near.fileno(), 100) == (0, False)
    await writer.close()
    with pytest.raises(StoreUnavailable):
        await writer.pour(near.fileno(), 100)


async def test_a_file_system_that_cannot_splice_is_written_to(
    store: DiskBytes, pair: tuple[socket.socket, socket.socket], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    splice = os.splice

    def never_into_a_file(source: int, target: int, size: int, **more: int | None) -> int:
        if more.get("offset_dst") is not None:
            raise OSError(errno.EINVAL, "Invalid argument")
        return splice(source, target, size, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "splice", never_into_a_file)
    near, far = pair
    data = os.urandom(2 * MIB)
    sent(far, data)
    writer = await store.open(an_upload("u"))
    assert (await drained(writer, near, len(data)))[0] == len(data)
    await writer.flush(last=True)
    (part,) = (tmp_path / "uploads" / "parts").glob("u.*")
    assert part.read_bytes() == data


@pytest.mark.parametrize("error", [errno.EINVAL, errno.ENOSYS, errno.EPERM, None])
async def test_a_system_that_does_not_splice_copies(
    store: DiskBytes,
    pair: tuple[socket.socket, socket.socket],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: int | None,
) -> None:
    def never(*arguments: object, **more: object) -> int:
        raise OSError(error, "not here")

    if error is None:
        monkeypatch.delattr(os, "splice")
    else:
        monkeypatch.setattr(os, "splice", never)
    near, far = pair
    data = os.urandom(2 * MIB)
    sent(far, data)
    writer = await store.open(an_upload("u"))
    assert await drained(writer, near, len(data)) == (len(data), False)
    assert await writer.pour(near.fileno(), 1) == (0, True)
    await writer.flush(last=True)
    (part,) = (tmp_path / "uploads" / "parts").glob("u.*")
    assert part.read_bytes() == data


async def test_a_slow_client_keeps_no_thread(
    store: DiskBytes, pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[int] = []
    monkeypatch.setattr(disk_splice, "_comes", lambda source: waited.append(source))
    near, far = pair
    far.sendall(b"a packet")
    writer = await store.open(an_upload("u"))
    assert await writer.pour(near.fileno(), 100) == (8, False)
    assert waited == []
    await writer.close()


@pytest.fixture
def connection() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Of TCP, where the kernel knows how much is waited for."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        far = socket.create_connection(listener.getsockname())
        near, _ = listener.accept()
    near.setblocking(False)
    with near, far:
        yield near, far


@pytest.mark.parametrize("then", ["the rest", "the end"])
async def test_a_turn_waits_for_much_or_for_the_rest_or_for_the_end(
    store: DiskBytes, connection: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch, then: str
) -> None:
    near, far = connection
    comes, least = disk_splice._comes, []

    def go_on(source: int) -> bool:
        least.append(near.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT))
        if then == "the rest":
            threading.Timer(0.05, far.sendall, [b"d" * 100]).start()
        else:
            threading.Timer(0.05, far.shutdown, [socket.SHUT_WR]).start()
        return comes(source)

    monkeypatch.setattr(disk_splice, "_comes", go_on)
    monkeypatch.setattr(disk_splice, "FAST", 1)
    monkeypatch.setattr(disk_splice, "TURN", 600)
    monkeypatch.setattr(disk_splice, "LINGER", 60_000)  # milliseconds: it is woken before
    far.sendall(b"c" * 50)
    writer = await store.open(an_upload("u"))
    size = 150 if then == "the rest" else 10 * MIB
    poured, ended = await writer.pour(near.fileno(), size)
    assert (poured, ended) == ((150, False) if then == "the rest" else (50, True))
    assert least == [100 if then == "the rest" else disk_splice.ENOUGH]
    assert near.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT) == 1
    await writer.close()


async def test_what_comes_while_much_is_waited_for_is_taken(
    store: DiskBytes, connection: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    near, far = connection
    comes, pieces = disk_splice._comes, [b"a", b"bit", b"more"]

    def little(source: int) -> bool:
        if pieces:
            far.sendall(pieces.pop(0))
        return comes(source)

    monkeypatch.setattr(disk_splice, "_comes", little)
    monkeypatch.setattr(disk_splice, "FAST", 1)
    monkeypatch.setattr(disk_splice, "TURN", 600)
    far.sendall(b"here ")
    writer = await store.open(an_upload("u"))
    assert await writer.pour(near.fileno(), 10 * MIB) == (13, False)
    await writer.close()


async def test_a_full_disk_is_told_and_what_lies_in_the_file_is_known(
    tmp_path: Path, pair: tuple[socket.socket, socket.socket]
) -> None:
    near, far = pair
    with small_disk_at(tmp_path / "small", "4m") as disk:
        store = DiskBytes(disk / "uploads")
        await store.start()
        sent(far, bytes(8 * MIB))
        writer = await store.open(an_upload("u"))
        with pytest.raises(StorageFull):
            await drained(writer, near, 8 * MIB)
        (part,) = (disk / "uploads" / "parts").glob("u.*")
        assert 0 < writer.position <= part.stat().st_size <= 4 * MIB
        await writer.close()
        await store.close()


async def test_a_task_that_is_cancelled_leaves_the_descriptor_alone(
    store: DiskBytes, pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    near, far = pair
    far.sendall(b"a packet")
    monkeypatch.setattr(disk_splice, "FAST", 1)
    monkeypatch.setattr(disk_splice, "TURN", 600)
    begun, go_on, ended = threading.Event(), threading.Event(), threading.Event()
    comes = disk_splice._comes

    def slow(source: int) -> bool:
        begun.set()
        assert go_on.wait(30)
        ended.set()
        return comes(source)

    monkeypatch.setattr(disk_splice, "_comes", slow)
    writer = await store.open(an_upload("u"))
    pouring = asyncio.create_task(writer.pour(near.fileno(), 100))
    assert await asyncio.to_thread(begun.wait, 30)
    pouring.cancel()
    asyncio.get_running_loop().call_later(0.05, go_on.set)
    with pytest.raises(asyncio.CancelledError):
        await pouring
    assert ended.is_set()
    await writer.close()


async def test_a_slow_disk_stalls_nobody_else(
    store: DiskBytes, pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    splice, slowness = os.splice, 0.3

    def slow(source: int, target: int, size: int, **more: int | None) -> int:
        if more.get("offset_dst") is not None:
            time.sleep(slowness)
        return splice(source, target, size, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "splice", slow)
    near, far = pair
    sent(far, bytes(MIB))
    writer = await store.open(an_upload("u"))
    pouring = asyncio.create_task(drained(writer, near, MIB))
    longest, before = 0.0, time.monotonic()
    while not pouring.done():
        await asyncio.sleep(0.001)
        longest, before = max(longest, time.monotonic() - before), time.monotonic()
    assert longest < slowness / 2
    await writer.close()
