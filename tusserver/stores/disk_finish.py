"""Making one file of what writers have put into several. Everything here blocks; it may be repeated, done by several
processes at once, and killed at any point.
"""

from __future__ import annotations

import os

from tusserver.protocol.refusals import BytesMissing
from tusserver.protocol.upload import Upload
from tusserver.stores.disk_calls import copy_range, opened, sync_directory
from tusserver.stores.disk_layout import Layout


def finish_whole(layout: Layout, upload: Upload) -> bool:
    """Give a COMPLETED upload's file its name, where all of its bytes and nothing else lie under the current token.
    Returns whether it has it, now or already. Raises what the operating system says."""
    if not upload.begun or len(upload.parts) > 1:
        return False
    own = layout.part(upload, upload.token)
    if not os.access(own, os.F_OK):
        return layout.finished(upload)
    if os.stat(own).st_size != upload.offset:
        return False
    os.rename(own, layout.final(upload))
    return True


def finish(layout: Layout, upload: Upload, *, durable: bool) -> None:
    """Make one file of a COMPLETED upload's bytes: the current token's is filled with what earlier tokens' hold, and
    renamed. Raises BytesMissing, FileNotFoundError and what else the operating system says."""
    try:
        if not finish_whole(layout, upload):
            _join(layout, upload, durable)
    except FileNotFoundError:
        if not layout.finished(upload):  # it has not been before either
            raise
    if durable:  # before anything else goes, even where another process has renamed and was killed
        sync_directory(layout.root)
        sync_directory(layout.parts)
    layout.unlink_parts(upload, upload.token - 1)  # under the last one there is none any more


def _join(layout: Layout, upload: Upload, durable: bool) -> None:
    # Into no earlier token's file, were it to hold every byte: its writer may not yet know that it is fenced
    own = layout.part(upload, upload.token)
    with opened(own, os.O_RDWR | (0 if upload.begun else os.O_CREAT)) as fd:
        for part in upload.earlier:
            with opened(layout.part(upload, part.token), os.O_RDONLY) as source:
                _copy(source, fd, part.start, part.stop)
        size = os.fstat(fd).st_size
        if size < upload.offset:
            raise BytesMissing
        if size > upload.offset:
            os.ftruncate(fd, upload.offset)
        if durable and (upload.earlier or size > upload.offset):
            os.fdatasync(fd)
    os.rename(own, layout.final(upload))


def _copy(source: int, target: int, start: int, stop: int) -> None:
    while start < stop:
        copied = copy_range(source, target, start, start, stop - start)
        if copied == 0:
            raise BytesMissing
        start += copied
