"""What only a byte store on a disk has: a full disk, syncs that fail, names, the kernel's copies."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import json
import os
import random
import resource
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from tests.disks import small_disk_at
from tests.stores.sessions import an_upload
from tests.stores.test_bytes_contract import (
    put,
    read,
    some,
    unfinished,
)
from tests.stores.test_bytes_contract import (
    test_flushing_while_writing_loses_and_doubles_nothing as flushing_while_writing,
)
from tusserver.protocol.refusals import BytesMissing, StorageFull, StoreUnavailable
from tusserver.protocol.upload import Status, Upload
from tusserver.stores.disk import DiskBytes
from tusserver.stores.documents import to_document

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024


@pytest.fixture
async def store(tmp_path: Path, anyio_backend: str) -> AsyncIterator[DiskBytes]:
    store = DiskBytes(tmp_path / "uploads")
    await store.start()
    yield store
    await store.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    with small_disk_at(tmp_path / "disk", "1m") as disk:
        yield disk


def make_read_only(disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)


async def test_a_full_disk_keeps_what_fits_and_goes_on_when_there_is_room(small_disk: Path) -> None:
    store = DiskBytes(small_disk)
    await store.start()
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * (MIB // 2))
    data = some(800_000)
    upload = an_upload(length=len(data))
    writer = await store.open(upload)
    with pytest.raises(StorageFull):
        await writer.write([data])
    kept = await writer.flush()
    assert 0 < kept == writer.position < len(data)
    await writer.close()
    upload = upload.advanced(kept, now=1)
    room = await store.room()
    assert room is not None and room < len(data)
    ballast.unlink()
    upload = await put(store, upload, data[kept:])
    await store.finish(upload)
    assert await read(store, upload) == data
    await store.close()


async def test_what_could_not_be_synced_is_never_called_durable(
    store: DiskBytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = await store.open(an_upload())
    await writer.write([b"one"])
    assert await writer.flush() == 3
    await writer.write([b"two"])
    sync = os.fdatasync

    def failing(fd: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", failing)
    with pytest.raises(StoreUnavailable):
        await writer.flush()
    monkeypatch.setattr(os, "fdatasync", sync)
    for _ in range(2):  # the kernel reports such an error once; the second sync would succeed and mean nothing
        with pytest.raises(StoreUnavailable):
            await writer.flush()
    await writer.close()


async def test_a_sync_that_fails_while_nobody_waits_for_it_is_remembered(
    store: DiskBytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = await store.open(an_upload())
    await writer.write([b"lost"])
    begun, go_on = threading.Event(), threading.Event()

    def failing_once(fd: int) -> None:
        if not begun.is_set():
            begun.set()
            assert go_on.wait(30)
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", failing_once)
    flushing = asyncio.create_task(writer.flush())
    assert await asyncio.to_thread(begun.wait, 30)
    flushing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await flushing
    again = asyncio.create_task(writer.flush())
    asyncio.get_running_loop().call_later(0.05, go_on.set)
    with pytest.raises(StoreUnavailable):
        await again
    with pytest.raises(StoreUnavailable):
        await writer.flush()
    await writer.close()


async def test_a_write_that_was_given_up_does_not_mix_with_the_next(store: DiskBytes) -> None:
    first, second = some(16 * MIB, 1), some(16 * MIB, 2)
    writer = await store.open(an_upload())
    writing = asyncio.create_task(writer.write([first]))
    await asyncio.sleep(0)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    await writer.write([second])
    assert await writer.flush() == len(first) + len(second)
    await writer.close()
    upload = an_upload().advanced(writer.position, now=1)
    assert await read(store, upload) == first + second


def opened_under(root: Path) -> list[str]:
    """The files under a directory that this process has open."""
    found = []
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the listing's own
            found.append(os.readlink(link))
    return [name for name in found if name.startswith(f"{root}/")]


async def test_what_is_given_up_leaves_nothing_open(store: DiskBytes, tmp_path: Path) -> None:
    for number in range(200):
        opening = asyncio.create_task(store.open(an_upload(f"upload-{number}")))
        await asyncio.sleep(0)
        opening.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await (await opening).close()
    writer = await store.open(an_upload())
    writing = asyncio.create_task(writer.write([some(20 * MIB)]))
    await asyncio.sleep(0)
    closing = asyncio.create_task(writer.close())
    await asyncio.sleep(0)
    closing.cancel()
    await asyncio.gather(writing, closing, return_exceptions=True)
    assert closing.cancelled()
    for _ in range(1000):
        if not opened_under(tmp_path):
            break
        await asyncio.sleep(0.01)
    assert opened_under(tmp_path) == []


@pytest.mark.parametrize("durable", [True, False])
async def test_the_disk_is_waited_for_only_where_it_was_promised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durable: bool
) -> None:
    synced: list[str] = []

    def counting(sync: Callable[[int], None]) -> Callable[[int], None]:
        def counted(fd: int) -> None:
            synced.append(Path(os.readlink(f"/proc/self/fd/{fd}")).name)
            sync(fd)

        return counted

    store = DiskBytes(tmp_path / "uploads", durable=durable)
    await store.start()
    monkeypatch.setattr(os, "fdatasync", counting(os.fdatasync))
    monkeypatch.setattr(os, "fsync", counting(os.fsync))
    writer = await store.open(an_upload("one", length=6))
    await writer.write([b"abc"])
    await writer.flush()
    assert synced == (["one.1", "parts"] if durable else [])
    await writer.flush()
    assert synced == (["one.1", "parts"] if durable else [])
    await writer.write([b"def"])
    await writer.flush()
    assert synced == (["one.1", "parts", "one.1"] if durable else [])
    await writer.close()
    synced.clear()
    upload = await put(store, an_upload("one", length=9).advanced(6, now=1), b"ghi")
    assert synced == (["one.1"] if durable else [])  # the name has been durable since the first bytes were counted
    for _ in range(2):  # another process may have been killed before it synced what it had renamed
        synced.clear()
        await store.finish(upload)
        assert synced == (["uploads", "parts"] if durable else [])
    await store.close()


def start_finishing_and_kill(root: Path, upload: Upload, seed: int) -> None:
    """Have another process finish the upload, and kill -9 it at some moment."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.stores.finisher", str(root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.stdin.write(json.dumps(to_document(upload)).encode())
        process.stdin.close()
        time.sleep(random.Random(seed).uniform(0, 0.03))  # the moment is what varies
        process.kill()


async def test_finishing_may_be_killed_anywhere(store: DiskBytes, tmp_path: Path) -> None:
    for attempt in range(12):
        data = some(12 * MIB, attempt)
        upload = an_upload(f"upload-{attempt}", length=len(data))
        for start in range(0, len(data), 4 * MIB):
            upload = await put(store, upload, data[start : start + 4 * MIB])
            upload = upload.fenced() if not upload.completed else upload
        await asyncio.to_thread(start_finishing_and_kill, tmp_path / "uploads", upload, attempt)
        assert hashlib.sha256(await read(store, upload)).digest() == hashlib.sha256(data).digest()
        await store.finish(upload)
        assert hashlib.sha256(await read(store, upload)).digest() == hashlib.sha256(data).digest()
        assert await unfinished(store) == set()


@pytest.fixture
async def prompt(tmp_path: Path, anyio_backend: str) -> AsyncIterator[DiskBytes]:
    store = DiskBytes(tmp_path / "uploads", durable=False)
    await store.start()
    store._here.allowed = True  # whatever file system the tests run on
    yield store
    await store.close()


@pytest.mark.parametrize("long_way", [False, True])
async def test_what_comes_in_one_block_has_its_name_at_once(prompt: DiskBytes, tmp_path: Path, long_way: bool) -> None:
    upload = an_upload("whole", length=4)
    assert prompt.put(upload, b"data", last=True)
    upload = upload.advanced(4, now=1)
    assert await unfinished(prompt) == set()
    assert (tmp_path / "uploads" / "whole").read_bytes() == b"data" == await read(prompt, upload)
    for _ in range(2):
        if long_way:
            await prompt.finish(upload)
        else:
            assert prompt.finish_at_once(upload)
        assert await read(prompt, upload) == b"data"
    await prompt.verify(upload)
    await prompt.delete(upload)
    assert not prompt.finish_at_once(upload)
    with pytest.raises(BytesMissing):
        await prompt.finish(upload)


async def test_what_was_put_down_and_not_counted_is_never_read(prompt: DiskBytes) -> None:
    """The process was killed in between; then comes one that has only some of it, and then the rest."""
    upload = an_upload("whole", length=8)
    prompt.put(upload, b"uncounte", last=True)
    upload = await put(prompt, upload, b"read")
    assert await read(prompt, upload) == b"read"
    upload = await put(prompt, upload, b" me.")
    assert await read(prompt, upload) == b"read me."
    await prompt.verify(upload)
    await prompt.finish(upload)
    assert await read(prompt, upload) == b"read me."


@pytest.mark.parametrize("uncounted", [b"as long!", b"longer than that", b"less"])
@pytest.mark.parametrize("where", ["in a part", "whole"])
async def test_one_block_takes_the_place_of_what_was_not_counted(
    prompt: DiskBytes, tmp_path: Path, uncounted: bytes, where: str
) -> None:
    upload = an_upload("whole").but(version=1)
    if where == "whole":
        prompt.put(upload, uncounted, last=True)
    else:
        await put(prompt, upload, uncounted, count=False)
    assert prompt.put(upload, b"read me.", last=True) is (where == "whole")
    upload = upload.with_length(8, now=1).advanced(8, now=1)
    assert await read(prompt, upload) == b"read me."
    await prompt.finish(upload)
    assert (tmp_path / "uploads" / "whole").read_bytes() == b"read me." == await read(prompt, upload)
    assert await unfinished(prompt) == set()


async def test_what_an_earlier_writer_has_left_is_removed_by_finishing(prompt: DiskBytes) -> None:
    upload = await put(prompt, an_upload("whole", length=8), b"fenced", count=False)
    upload = upload.fenced()
    assert not prompt.put(upload, b"read me.", last=True)
    upload = upload.advanced(8, now=1)
    assert await unfinished(prompt) == {"whole"}
    assert not prompt.finish_at_once(upload)
    await prompt.finish(upload)
    assert await unfinished(prompt) == set()
    assert await read(prompt, upload) == b"read me."


async def test_what_was_not_counted_is_not_taken_for_what_was_and_is_lost(prompt: DiskBytes, tmp_path: Path) -> None:
    upload = an_upload("whole", length=8)
    prompt.put(upload, b"uncounte", last=True)
    upload = await put(prompt, upload, b"read")
    (tmp_path / "uploads" / "parts" / "whole.1").unlink()
    with pytest.raises(BytesMissing):
        await prompt.verify(upload)
    with pytest.raises(BytesMissing):
        await read(prompt, upload)


async def test_a_finished_file_of_another_size_is_not_the_upload(prompt: DiskBytes, tmp_path: Path) -> None:
    upload = an_upload("whole", length=4)
    prompt.put(upload, b"data", last=True)
    upload = upload.advanced(4, now=1)
    (tmp_path / "uploads" / "whole").write_bytes(b"dat")
    assert not prompt.finish_at_once(upload)
    for broken in (prompt.finish(upload), prompt.verify(upload), read(prompt, upload)):
        with pytest.raises(BytesMissing):
            await broken


@pytest.mark.parametrize("status", [Status.EXPIRED, Status.CANCELLED])
async def test_what_was_finished_is_there_until_it_is_deleted(prompt: DiskBytes, status: Status) -> None:
    upload = an_upload("whole", length=4)
    prompt.put(upload, b"data", last=True)
    upload = upload.advanced(4, now=1).to(status, now=2)
    await prompt.verify(upload)
    await prompt.delete(upload)
    with pytest.raises(BytesMissing):
        await prompt.verify(upload)


async def test_without_its_directory_it_says_so(prompt: DiskBytes, tmp_path: Path) -> None:
    (tmp_path / "uploads").rename(tmp_path / "gone")
    with pytest.raises(StoreUnavailable, match="Check the volume"):
        prompt.put(an_upload("whole", length=4), b"data", last=True)
    (tmp_path / "gone").rename(tmp_path / "uploads")


async def test_the_last_block_of_several_joins_the_others(prompt: DiskBytes) -> None:
    upload = await put(prompt, an_upload("whole", length=8), b"read")
    assert not prompt.put(upload, b" me.", last=True)
    upload = upload.advanced(8, now=1)
    assert await unfinished(prompt) == {"whole"}
    assert prompt.finish_at_once(upload)
    assert await read(prompt, upload) == b"read me."


async def test_a_writer_that_has_lost_its_lease_does_not_lengthen_the_finished_upload(
    store: DiskBytes, tmp_path: Path
) -> None:
    upload = await put(store, an_upload(), b"01234")
    stale = await store.open(upload)
    taken = upload.fenced().with_length(5, now=2)
    await store.finish(taken)
    await stale.write([b"too late"])
    await stale.flush()
    await stale.close()
    assert (tmp_path / "uploads" / "u").read_bytes() == b"01234"
    assert await unfinished(store) == set()


async def test_an_upload_that_has_lost_bytes_is_not_called_finished(store: DiskBytes, tmp_path: Path) -> None:
    upload = await put(store, an_upload("one", length=10), b"0123456789")
    os.truncate(tmp_path / "uploads" / "parts" / "one.1", 7)
    with pytest.raises(BytesMissing):
        await store.finish(upload)
    assert await unfinished(store) == {"one"}


@pytest.mark.parametrize("reason", [errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP])
async def test_where_the_kernel_cannot_copy_it_is_read_and_written(
    store: DiskBytes, monkeypatch: pytest.MonkeyPatch, reason: int
) -> None:
    def refusing(*arguments: object) -> int:
        raise OSError(reason, os.strerror(reason))

    monkeypatch.setattr(os, "copy_file_range", refusing)
    data = some(2 * MIB + 5)
    source = await put(store, an_upload("source", length=len(data)), data[:MIB])
    source = await put(store, source.fenced(), data[MIB:])
    writer = await store.open(an_upload("copy"))
    await writer.copy(source, 0, len(data))
    await writer.close()
    assert await read(store, an_upload("copy").advanced(writer.position, now=1)) == data
    await store.finish(source)
    assert await read(store, source) == data


async def test_copying_takes_no_memory(store: DiskBytes) -> None:
    source = await put(store, an_upload("source"), some(64 * MIB))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    writer = await store.open(an_upload("copy"))
    for _ in range(4):
        await writer.copy(source, 0, source.offset)
    await writer.close()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 16 * 1024  # KiB


async def test_where_a_finished_upload_is(store: DiskBytes, tmp_path: Path) -> None:
    upload = await put(store, an_upload("the-upload", length=3), b"abc")
    await store.finish(upload)
    assert store.location(upload) == str(tmp_path / "uploads" / "the-upload")
    assert (tmp_path / "uploads" / "the-upload").read_bytes() == b"abc"


async def test_a_place_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "a-file").write_text("")
    store = DiskBytes(tmp_path / "a-file" / "uploads")
    with pytest.raises(StoreUnavailable, match=r"a-file/uploads.*Name a directory"):
        await store.start()
    await store.close()


async def test_a_place_that_has_gone_is_named(store: DiskBytes, tmp_path: Path) -> None:
    (tmp_path / "uploads").rename(tmp_path / "elsewhere")
    with pytest.raises(StoreUnavailable, match="Check the volume"):
        await store.ping()
    writer = await store.open(an_upload())
    await writer.write([b"01234"])
    with pytest.raises(StoreUnavailable, match="Check the volume"):
        await writer.flush()
    await writer.close()


async def test_a_place_that_has_become_read_only_is_named(small_disk: Path) -> None:
    store = DiskBytes(small_disk / "uploads")
    await store.start()
    await store.ping()
    make_read_only(small_disk)
    with pytest.raises(StoreUnavailable, match=r"Read-only file system\. Check the volume"):
        await store.ping()
    await store.close()


async def test_what_a_killed_probe_left_is_no_upload(store: DiskBytes, tmp_path: Path) -> None:
    (tmp_path / "uploads" / "parts" / ".probe-0123456789abcdef").write_bytes(b"probe")
    assert await unfinished(store) == set()


async def test_a_slow_disk_neither_loses_nor_doubles_what_comes_meanwhile(
    store: DiskBytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    pwritev = os.pwritev

    def slowly(fd: int, blocks: list[bytes], position: int) -> int:
        time.sleep(0.0005)
        return pwritev(fd, blocks, position)

    monkeypatch.setattr(os, "pwritev", slowly)
    await flushing_while_writing(store)
