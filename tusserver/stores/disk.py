"""Bytes in a directory: any file system that can write at a position, sync and rename.

* While an upload is being received, its bytes under the token T are in ``parts/<id>.<T>``, each at its own position;
  a part that begins at X leaves the space before X empty.
* A finished upload is ``<id>``, in the directory itself. Every byte in it is at its own position too, so whatever a
  part file no longer has, the finished file has at the same place.
* A small upload that comes all at once is ``<id>`` from the beginning. Until it is counted, nobody looks there: part
  files come first, and only what is complete is looked for in ``<id>``.
* No locks and no hard links, which network volumes do without: who may write is decided by the session, and nobody
  writes into a file that belongs to another's token.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from tusserver.protocol.refusals import BytesMissing, StoreUnavailable
from tusserver.protocol.upload import Upload
from tusserver.stores.base import Buffer, check_place
from tusserver.stores.disk_calls import BLOCK, explaining, opened, sync_directory, write_all
from tusserver.stores.disk_finish import finish, finish_whole
from tusserver.stores.disk_identity import file_system, identity
from tusserver.stores.disk_layout import Layout
from tusserver.stores.disk_writer import DiskWriter
from tusserver.stores.findings import Finding, ok, warning
from tusserver.stores.here import Here
from tusserver.stores.threads import Threads

log = logging.getLogger("tusserver.storage")

T = TypeVar("T")

THREADS: Final = 16

CLOSING: Final = 1.0
"""Seconds that the end of the process waits for a disk that does not answer."""

NEAR: Final = frozenset({"btrfs", "ext3", "ext4", "overlay", "tmpfs", "xfs"})
"""File systems that lie in this machine, where what goes into the page cache takes no time to speak of."""


class DiskBytes:
    """A byte store (see ``ByteStore``) in the directory ``root``, which is made if it is missing.

    With ``durable`` what was flushed outlives a loss of power, without it only a crash of the process.
    """

    def __init__(self, root: Path | str, *, durable: bool = True) -> None:
        self._root = Path(root)
        self._absolute = self._root.absolute()
        self._layout = Layout(self._root)
        self._place = ""
        self._durable = durable
        self._executor = Threads(THREADS, "disk")
        self._here = Here(False)

    async def start(self) -> None:
        """See ``ByteStore``."""
        await self._run(self._prepare)
        self._here.allowed = not self._durable and await self._run(partial(file_system, self._root)) in NEAR

    async def close(self) -> None:
        """See ``ByteStore``."""
        if not await asyncio.to_thread(self._executor.end, CLOSING):
            log.error("%s does not answer; what was asked of it last is not waited for", self._root)

    @property
    def place(self) -> str:
        """What stands in the directory's ``.identity``, which whoever uses it first writes."""
        return self._place

    async def open(self, upload: Upload) -> DiskWriter:
        """See ``ByteStore``."""
        check_place(upload, self._place)
        opening = partial(self._open, upload)
        return DiskWriter(
            await self._reopened(opening) if upload.begun else None,
            upload.offset,
            opening=opening,
            executor=self._executor,
            here=self._here,
            durable=self._durable,
            directory=None if upload.begun else self._layout.parts,
            sources=self._layout.sources,
            open_source=self._layout.open_source,
        )

    async def read(self, upload: Upload, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        """See ``ByteStore``."""
        check_place(upload, self._place)
        sources = await self._run(lambda: self._layout.sources(upload, start, stop))
        for path, first, last in sources:
            fd = await self._descriptor(partial(self._layout.open_source, upload, path))
            try:
                while first < last:
                    block = await self._run(partial(os.pread, fd, min(BLOCK, last - first), first))
                    if not block:
                        raise BytesMissing
                    first += len(block)
                    yield block
            finally:
                os.close(fd)

    async def finish(self, upload: Upload) -> None:
        """See ``ByteStore``: the current token's file is filled with what earlier tokens' parts hold, and renamed."""
        check_place(upload, self._place)
        finishing = partial(finish, self._layout, upload, durable=self._durable)
        await self._run(partial(self._here.there, finishing, "finish"))

    @property
    def prompt(self) -> bool:
        """See ``PromptBytes``: while what goes into the page cache takes no time to speak of."""
        return self._here.now

    def put(self, upload: Upload, block: Buffer, *, last: bool) -> bool:
        """See ``PromptBytes``: what is all in one block gets its name at once."""
        check_place(upload, self._place)
        with explaining():
            return self._here.do(partial(self._put, upload, block, last))

    def finish_at_once(self, upload: Upload) -> bool:
        """See ``PromptBytes``: where nothing has to be copied, cut off or removed."""
        if upload.token > 1 or not self._here.now:
            return False
        check_place(upload, self._place)
        with explaining():
            return self._here.do(partial(finish_whole, self._layout, upload), "finish")

    async def unfinished(self) -> AsyncGenerator[str, None]:
        """See ``ByteStore``."""
        ids = await self._run(lambda: {path.name.partition(".")[0] for path in self._layout.parts.iterdir()})
        for upload_id in ids - {""}:  # a hidden file is a probe's, or the file system's own
            yield upload_id

    async def ids(self) -> AsyncGenerator[str, None]:
        """See ``ByteStore``."""
        finished = await self._run(lambda: {path.name for path in self._root.iterdir() if path.is_file()})
        async for upload_id in self.unfinished():
            finished.discard(upload_id)
            yield upload_id
        for upload_id in finished:
            if not upload_id.startswith("."):
                yield upload_id

    async def verify(self, upload: Upload) -> None:
        """See ``ByteStore``: that each file is long enough."""
        check_place(upload, self._place)
        await self._run(lambda: self._layout.verify(upload))

    async def delete(self, upload: Upload) -> None:
        """See ``ByteStore``. Part files go first: a rename that comes in between then leaves only ``<id>``."""
        check_place(upload, self._place)
        await self._run(lambda: self._layout.delete(upload))

    async def discard(self, upload_id: str) -> None:
        """See ``ByteStore``."""
        await self._run(lambda: self._layout.discard(upload_id))

    async def room(self) -> int | None:
        """See ``ByteStore``."""
        if self._here.now:
            with explaining():
                return self._here.do(self._measure, "measure")
        return await self._run(partial(self._here.there, self._measure, "measure"))

    def location(self, upload: Upload) -> str | None:
        """The path of the finished upload."""
        return f"{self._absolute}/{upload.id}"  # asked for at each hook: a Path takes a hundred times as long

    async def examine(self) -> AsyncGenerator[Finding, None]:
        """See ``ByteStore``."""
        kind = await self._run(lambda: file_system(self._root))
        where = f"{self._root} ({kind})"
        if kind in ("tmpfs", "ramfs", "overlay"):
            yield warning(
                "volume", f"{where} does not outlive the machine or the container", "Mount a real volume there."
            )
        else:
            yield ok("volume", where)

    async def ping(self) -> None:
        """See ``ByteStore``."""
        await self._run(self._probe)

    async def _reopened(self, opening: Callable[[], int]) -> int:
        if self._here.now:
            with explaining():
                return self._here.do(opening)
        return await self._descriptor(opening)

    # What blocks, mostly in a thread

    async def _run(self, work: Callable[[], T]) -> T:
        with explaining():
            return await asyncio.get_running_loop().run_in_executor(self._executor, work)

    async def _descriptor(self, opening: Callable[[], int]) -> int:
        """An open file; if nobody waits for it any more, it is closed again."""
        running = asyncio.get_running_loop().run_in_executor(self._executor, self._watched, opening)
        try:
            with explaining():
                return await asyncio.shield(running)
        except asyncio.CancelledError:
            running.add_done_callback(_close)
            raise

    def _watched(self, opening: Callable[[], int]) -> int:
        with self._here.underway():
            return opening()

    def _prepare(self) -> None:
        try:
            missing = [
                directory for directory in (self._layout.parts, *self._layout.parts.parents) if not directory.exists()
            ]
            self._layout.parts.mkdir(parents=True, exist_ok=True)
            for made in missing if self._durable else ():
                sync_directory(made.parent)
        except OSError as error:
            raise StoreUnavailable(
                f"Uploads cannot be stored in {self._root}: {error.strerror}. Name a directory that can be written to."
            ) from error
        self._probe()
        try:
            self._place = identity(self._root, durable=self._durable)
        except OSError as error:
            raise self._unfit(error) from error

    def _probe(self) -> None:
        name = self._layout.parts / f".probe-{secrets.token_hex(8)}"
        other = self._root / name.name
        try:
            with opened(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL) as fd:
                os.write(fd, b"probe")
                if self._durable:
                    os.fdatasync(fd)
            name.rename(other)
            other.unlink()
        except OSError as error:
            with suppress(OSError):
                name.unlink()
            raise self._unfit(error) from error

    def _measure(self) -> int:
        try:
            found = os.statvfs(self._root)
        except OSError as error:
            raise self._unfit(error) from error
        return found.f_bavail * found.f_frsize

    def _unfit(self, error: OSError) -> StoreUnavailable:
        return StoreUnavailable(
            f"Uploads cannot be stored in {self._root}: {error.strerror}. Check the volume and its permissions."
        )

    def _open(self, upload: Upload) -> int:
        part = self._layout.part(upload, upload.token)
        if upload.begun:  # then it has to be there
            return os.open(part, os.O_RDWR | os.O_CLOEXEC)
        return self._make(part)

    def _make(self, path: str, how: int = 0) -> int:
        try:
            return os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_CREAT | how, 0o644)
        except FileNotFoundError as error:  # the directory
            raise self._unfit(error) from error

    def _put(self, upload: Upload, block: Buffer, last: bool) -> bool:
        # A part that nobody has counted yet may be large to remove, and would be read in the finished file's stead
        whole = last and upload.offset == 0 and not self._layout.begun(upload)
        fd = self._make(self._layout.final(upload), os.O_TRUNC) if whole else self._open(upload)
        try:
            write_all(fd, block, upload.offset)
        finally:
            os.close(fd)
        return whole and upload.token == 1


def _close(opening: asyncio.Future[int]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        os.close(opening.result())
