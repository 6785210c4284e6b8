"""Which directory this is: what tells a shared volume from a directory of the same name on another machine."""

from __future__ import annotations

import os
import secrets
import time
from pathlib import Path
from typing import Final

from tusserver.protocol.refusals import StoreUnavailable
from tusserver.stores.disk_calls import sync_directory

NAME: Final = ".identity"
PATIENCE: Final = 2.0
"""Seconds that another process, which has just made the file, is given to write it."""


def identity(directory: Path, *, durable: bool) -> str:
    """What stands in the directory's ``.identity``; whoever uses the directory first writes it. Blocks.

    Raises StoreUnavailable for one that stays empty, as a crash at the wrong moment may leave it; OSError.
    """
    path = directory / NAME
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    except FileExistsError:
        return _written(path)
    try:
        os.write(fd, f"{secrets.token_hex(8)}\n".encode())
        if durable:
            os.fsync(fd)
            sync_directory(directory)
    finally:
        os.close(fd)
    return _written(path)


def _written(path: Path) -> str:
    deadline = time.monotonic() + PATIENCE
    while not (text := path.read_text(encoding="ascii", errors="replace")).endswith("\n"):
        if time.monotonic() > deadline:
            raise StoreUnavailable(f"{path} is empty: delete it, and the next start makes a new one.")
        time.sleep(0.01)
    return text.strip()


def file_system(directory: Path) -> str:
    """The type of the file system (ext4, nfs4, tmpfs ...) that the directory is on; unknown where nobody says."""
    try:
        lines = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "unknown"
    path = directory.resolve()
    mounts = [(Path(line.split()[1]), line.split()[2]) for line in lines]
    return max(((point, kind) for point, kind in mounts if path.is_relative_to(point)), key=lambda m: len(str(m[0])))[1]
