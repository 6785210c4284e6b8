"""The processes that change one SQLite database do it one after the other, in the order in which they came.

SQLite lets whoever finds another process at it sleep, for a tenth of a second in the end, and whoever has just
committed begins again meanwhile: of two busy processes, one waited for a second and more. The kernel wakes who waits
for a file's lock at once. It is a courtesy only: SQLite itself keeps transactions apart, so somebody who takes too long
is passed by, and where there can be no such lock everybody goes ahead.
"""

from __future__ import annotations

import fcntl
import os
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Final

from tusserver.stores.threads import Threads

PATIENCE: Final = 1.0
"""Seconds to wait for the others."""


class LockFile:
    """Others wait while something is done inside, as it waits for them: PATIENCE at the most, and for somebody who has
    not ended since then no more. For one thread. ``path``: the file, which is made."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None
        self._doorman = Threads(1, "lock")  # whoever waits for a lock cannot be called back
        self._waiting: Future[None] | None = None

    def close(self) -> None:
        """It is not needed any more."""
        self._doorman.end(0)
        file, self._file = self._file, None  # whom the doorman lets in too late must not touch what has its number then
        if file is not None:
            os.close(file)

    def __enter__(self) -> None:
        """Wait for the others."""
        if not self.enter_at_once() and self._file is not None:
            with suppress(OSError):
                self._wait(self._file)

    def __exit__(self, *of_no_matter: object) -> None:
        """See ``leave``."""
        self.leave()

    def enter_at_once(self) -> bool:
        """Whether one may be inside without waiting for anybody; and then one is, until ``leave``."""
        try:
            if self._file is None:
                self._file = os.open(self._path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:  # there can be no such lock
            return True
        return True

    def leave(self) -> None:
        """Let the next one in."""
        try:
            if self._file is not None:
                fcntl.flock(self._file, fcntl.LOCK_UN)
        except OSError:  # there has been none
            return

    def _wait(self, file: int) -> None:
        if self._waiting is not None and not self._waiting.done():
            return  # it is who has been waited for in vain
        self._waiting = self._doorman.submit(fcntl.flock, file, fcntl.LOCK_EX)
        try:
            self._waiting.result(PATIENCE)
        except TimeoutError:
            self._waiting.add_done_callback(lambda _: self.leave())
