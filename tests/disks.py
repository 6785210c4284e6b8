"""Disks that are soon full, slow, broken or away."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.server import freeze, wait_for

ROOT: Final = Path(__file__).parent.parent
NO_FUSE: Final = (
    "cannot mount a file system in user space (needs root, /dev/fuse, and libfuse: sudo apt-get install fuse3)"
)


@contextmanager
def small_disk_at(place: Path, size: str) -> Iterator[Path]:
    """A file system of its own at ``place``, of ``size`` (``8m``); only root can make one, for others the test is
    skipped."""
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip(f"cannot mount a small file system (run as root): {mounted.stderr.decode().strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


class Disk:
    """A disk at ``path`` that does as it is told, from the next operation on; what it holds lies in ``backing``, where
    a test finds it whatever the disk does. ``tests.faulty_disk`` has the names of the operations."""

    def __init__(self, path: Path, backing: Path, orders: Path, process: subprocess.Popen[bytes]) -> None:
        self.path = path
        self.backing = backing
        self._orders = orders
        self._process = process

    def order(self, *, slow: Mapping[str, float] | None = None, fail: Mapping[str, int] | None = None) -> None:
        """From now on these operations take so many seconds longer, or fail with these errors; all others are well."""
        write_orders(self._orders, slow or {}, fail or {})

    def hang(self) -> None:
        """Answer nothing any more."""
        freeze(self._process.pid)

    def release(self) -> None:
        """Go on, and be quick and well."""
        self.order()
        self._process.send_signal(signal.SIGCONT)


def write_orders(path: Path, slow: Mapping[str, float], fail: Mapping[str, int]) -> None:
    """For the file system to read: whole at any moment."""
    whole = path.with_suffix(".new")
    whole.write_text(json.dumps({"slow": dict(slow), "fail": dict(fail)}))
    whole.replace(path)


@contextmanager
def disk_at(place: Path) -> Iterator[Disk]:
    """A file system of its own at ``place``, quick and well at first. Where none can be mounted the test is skipped."""
    backing, orders, log = (place.with_name(f"{place.name}-{what}") for what in ("backing", "orders", "log"))
    place.mkdir()
    backing.mkdir()
    write_orders(orders, {}, {})
    command = [sys.executable, "-m", "tests.faulty_disk", str(backing), str(place), str(orders)]
    with log.open("wb") as said:
        process = subprocess.Popen(command, cwd=ROOT, stdout=said, stderr=said)
    wait_for(lambda: os.path.ismount(place) or process.poll() is not None, what="the file system")
    if process.poll() is not None:
        pytest.skip(f"{NO_FUSE}: {log.read_text().strip()[-300:]}")
    disk = Disk(place, backing, orders, process)
    try:
        yield disk
    finally:
        disk.release()
        subprocess.run(["umount", "--lazy", str(place)], check=True)
        process.wait(20)
