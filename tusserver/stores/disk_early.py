"""Writing back early: the disk begins with what was written while more arrives, so that little is left to wait for when
a file is made durable. A hint, no promise: nothing is durable before ``fdatasync`` has said so."""

from __future__ import annotations

import ctypes
from typing import Final

EARLY: Final = 8 * 1024 * 1024
"""Bytes that are handed to the disk at a time."""
SYNC_FILE_RANGE_WRITE: Final = 2


class WriteBack:
    """Hands the bytes of one open file to the disk as they come, from ``position`` on."""

    def __init__(self, position: int) -> None:
        self._handed = position

    def upto(self, fd: int, position: int) -> None:
        """The file has been written up to ``position``."""
        if position - self._handed >= EARLY and _sync_file_range is not None:
            _sync_file_range(fd, self._handed, position - self._handed, SYNC_FILE_RANGE_WRITE)
            self._handed = position


def _found() -> ctypes._NamedFuncPointer | None:
    function = getattr(ctypes.CDLL(None), "sync_file_range", None)  # Linux has it
    if function is not None:
        function.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    return function


_sync_file_range = _found()
