"""Which files an upload has in a directory, and what they hold. Everything here blocks."""

from __future__ import annotations

import glob
import os
from contextlib import suppress
from pathlib import Path

from tusserver.protocol.refusals import BytesMissing
from tusserver.protocol.upload import Part, Upload
from tusserver.stores.disk_writer import Source


class Layout:
    """``root``: the directory of the finished uploads; ``parts``: that of those being received."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.parts = root / "parts"
        # each upload is looked for several times: a Path takes a hundred times as long
        self._in_root = f"{root}{os.sep}"
        self._in_parts = f"{self.parts}{os.sep}"

    def begun(self, upload: Upload) -> bool:
        """Whether there is a file under the current token, counted or not. Of an upload that is not stored yet there is
        none."""
        return upload.version > 0 and os.access(self.part(upload, upload.token), os.F_OK)

    def finished(self, upload: Upload) -> bool:
        """Whether all of the upload is in one file. That of one that was never completed has not been counted."""
        try:
            return upload.completed_at is not None and os.stat(self.final(upload)).st_size == upload.offset
        except FileNotFoundError:
            return False

    def open_source(self, upload: Upload, path: str) -> int:
        """A file of ``sources``, opened; the finished one where that has taken its place."""
        try:
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            if not self.finished(upload):
                raise
        return os.open(self.final(upload), os.O_RDONLY | os.O_CLOEXEC)

    def sources(self, upload: Upload, start: int, stop: int) -> list[Source]:
        """Where the counted bytes ``[start, stop)`` lie, unless they are finished. Raises BytesMissing."""
        if stop > upload.offset:
            raise BytesMissing
        overlaps = [(self.part(upload, part.token), *_overlap(part, start, stop)) for part in upload.parts]
        return [(path, first, last) for path, first, last in overlaps if first < last]

    def verify(self, upload: Upload) -> None:
        """Raises BytesMissing unless each file is long enough."""
        for path, _, stop in self.sources(upload, 0, upload.offset):
            with suppress(FileNotFoundError):
                if os.stat(path).st_size >= stop:
                    continue
            if not self.finished(upload):
                raise BytesMissing

    def delete(self, upload: Upload) -> None:
        """Delete every file of the upload."""
        self.unlink_parts(upload, upload.token)
        _unlink(self.final(upload))

    def discard(self, upload_id: str) -> None:
        """Delete every file under this id, whatever its token."""
        for part in self.parts.glob(f"{glob.escape(upload_id)}.*"):
            part.unlink(missing_ok=True)
        (self.root / upload_id).unlink(missing_ok=True)

    def unlink_parts(self, upload: Upload, last: int) -> None:
        """Delete the upload's part files under the tokens up to the last one."""
        for token in range(1, last + 1):
            _unlink(self.part(upload, token))

    def final(self, upload: Upload) -> str:
        """Where the finished upload is."""
        return f"{self._in_root}{upload.id}"

    def part(self, upload: Upload, token: int) -> str:
        """Where its bytes under this token are."""
        return f"{self._in_parts}{upload.id}.{token}"


def _unlink(path: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(path)


def _overlap(part: Part, start: int, stop: int) -> tuple[int, int]:
    return max(part.start, start), min(part.stop, stop)
