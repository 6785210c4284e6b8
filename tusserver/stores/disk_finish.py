"""Making one file of what writers have put into several. Everything here blocks; it may be repeated, done by several
processes at once, and killed at any point.
"""

from __future__ import annotations

import os

from tusserver.protocol.refusals import BytesMissing
from tusserver.protocol.upload import Upload
from tusserver.stores.disk_calls import copy_range, opened, sync_directory
from tusserver.stores.disk_layout import Layout


def finish(layout: Layout, upload: Upload, *, durable: bool) -> None:
    """Make one file of a COMPLETED upload's bytes: the current token's is filled with what earlier tokens' hold, and
    renamed. Raises BytesMissing, FileNotFoundError and what else the operating system says."""
    final = layout.final(upload)
    try:
        _join(layout, upload, final, durable)
    except FileNotFoundError:
        if not os.path.exists(final):  # it has not been finished before either
            raise
    if durable:  # before anything else goes, even where another process has renamed and was killed
        sync_directory(layout.root)
        sync_directory(layout.parts)
    layout.unlink_parts(upload, upload.token - 1)  # under the last one there is none any more


def _join(layout: Layout, upload: Upload, final: str, durable: bool) -> None:
    # Into no earlier token's file, were it to hold every byte: its writer may not yet know that it is fenced
    own = layout.part(upload, upload.token)
    earlier = upload.earlier
    if not earlier and upload.begun and os.stat(own).st_size == upload.offset:
        return os.rename(own, final)
    with opened(own, os.O_RDWR | (0 if upload.begun else os.O_CREAT)) as fd:
        for part in earlier:
            with opened(layout.part(upload, part.token), os.O_RDONLY) as source:
                _copy(source, fd, part.start, part.stop)
        size = os.fstat(fd).st_size
        if size < upload.offset:
            raise BytesMissing
        if size > upload.offset:
            os.ftruncate(fd, upload.offset)
        if durable and (earlier or size > upload.offset):
            os.fdatasync(fd)
    os.rename(own, final)


def _copy(source: int, target: int, start: int, stop: int) -> None:
    while start < stop:
        copied = copy_range(source, target, start, start, stop - start)
        if copied == 0:
            raise BytesMissing
        start += copied
