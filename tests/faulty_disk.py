"""A directory as a disk that is slow, or that fails, when it is told to: a file system of its own, in user space.

python -m tests.faulty_disk DIRECTORY MOUNTPOINT ORDERS

ORDERS is a file of JSON, looked at before each operation (create, open, read, write, fsync,
fsyncdir, rename, unlink, statfs):
``{"slow": {"write": 0.2}, "fail": {"fsync": 5}}`` makes a write take 0.2 s longer, and a sync fail with EIO. What was
written since the last sync is lost by one that fails, as it may be on a disk that breaks.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any, Final

from mfusepy import FUSE, Operations, fuse_version_major, fuse_version_minor

ATTRIBUTES: Final = ("st_mode", "st_ino", "st_nlink", "st_uid", "st_gid", "st_size", "st_blocks")
TIMES: Final = ("st_atime", "st_mtime", "st_ctime")
ROOM: Final = ("f_bsize", "f_frsize", "f_blocks", "f_bfree", "f_bavail", "f_files", "f_ffree", "f_favail", "f_namemax")


class FaultyDisk(Operations):  # type: ignore[misc]
    """``directory``, by the orders. It has no ``flush``, so that closing a file never waits for it."""

    use_ns = True

    def __init__(self, directory: Path, orders: Path) -> None:
        self._directory = directory
        self._orders = orders
        self._unsynced: dict[int, list[tuple[int, int]]] = {}
        self._lock = threading.Lock()

    def create(self, path: str, mode: int, flags: int) -> int:
        self._obey("create")
        return os.open(self._at(path), _readable(flags) | os.O_CREAT, mode)

    def open(self, path: str, flags: int) -> int:
        self._obey("open")
        return os.open(self._at(path), _readable(flags))

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        self._obey("read")
        return os.pread(fh, size, offset)

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        self._obey("write")
        with self._lock:
            self._unsynced.setdefault(os.fstat(fh).st_ino, []).append((offset, len(data)))
        return os.pwrite(fh, data, offset)

    def fsync(self, path: str, datasync: int, fh: int) -> None:
        with self._lock:
            unsynced = self._unsynced.pop(os.fstat(fh).st_ino, [])
        try:
            self._obey("fsync")
        except OSError:
            for offset, size in unsynced:
                os.pwrite(fh, bytes(size), offset)
            raise

    def fsyncdir(self, path: str, datasync: int, fh: int) -> None:
        self._obey("fsyncdir")

    def release(self, path: str, fh: int) -> None:
        os.close(fh)

    def rename(self, old: str, new: str) -> None:
        self._obey("rename")
        os.rename(self._at(old), self._at(new))

    def unlink(self, path: str) -> None:
        self._obey("unlink")
        os.unlink(self._at(path))

    def mkdir(self, path: str, mode: int) -> None:
        os.mkdir(self._at(path), mode)

    def rmdir(self, path: str) -> None:
        os.rmdir(self._at(path))

    def truncate(self, path: str, length: int, fh: int | None = None) -> None:
        os.truncate(self._at(path) if fh is None else fh, length)

    def readdir(self, path: str, fh: int) -> list[str]:
        return [".", "..", *os.listdir(self._at(path))]

    def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
        found = os.lstat(self._at(path)) if fh is None else os.fstat(fh)
        times = {name: getattr(found, f"{name}_ns") for name in TIMES}
        return {name: getattr(found, name) for name in ATTRIBUTES} | times

    def statfs(self, path: str) -> dict[str, int]:
        self._obey("statfs")
        found = os.statvfs(self._at(path))
        return {name: getattr(found, name) for name in ROOM}

    def _at(self, path: str) -> str:
        return f"{self._directory}{path}"

    def _obey(self, operation: str) -> None:
        orders = json.loads(self._orders.read_text())
        time.sleep(orders["slow"].get(operation, 0))
        if number := orders["fail"].get(operation):
            raise OSError(number, os.strerror(number))


def _readable(flags: int) -> int:
    """For the kernel, which may read what it fills up, and says itself where to append."""
    writes = flags & os.O_ACCMODE != os.O_RDONLY
    return (flags & ~(os.O_ACCMODE | os.O_APPEND)) | (os.O_RDWR if writes else os.O_RDONLY)


if __name__ == "__main__":
    directory, mountpoint, orders = sys.argv[1:]
    # One thread for each operation that takes its time; before libfuse 3.12 there was no bound
    threads = {"max_threads": 64} if (fuse_version_major, fuse_version_minor) >= (3, 12) else {}
    FUSE(FaultyDisk(Path(directory), Path(orders)), mountpoint, foreground=True, fsname="faulty", **threads)
