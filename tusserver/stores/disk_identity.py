"""Which directory this is: what tells a shared volume from a directory of the same name on another machine."""

from __future__ import annotations

import os
import secrets
import time
from pathlib import Path
from typing import Final

from tusserver.protocol.refusals import StoreUnavailable
from tusserver.stores.disk_writer import sync_directory

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
