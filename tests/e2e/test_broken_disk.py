"""A disk that hangs or fails: what does not need it goes on, the process can be stopped, and nothing is counted that
the disk may have lost."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import requests

from tests.disks import Disk, disk_at
from tests.e2e.server import ServerProcess, received, sha256, some_bytes, wait_for
from tests.e2e.test_interruptions import in_queue

MIB = 1024 * 1024
DATA = some_bytes(MIB)
HALF = len(DATA) // 2
PF_EXITING = 0x4  # of the kernel's sched.h

both_ways = pytest.mark.parametrize("way", ["direct", "plain"])
durabilities = pytest.mark.parametrize("durability", ["safe", "page-cache"])


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with disk_at(tmp_path / "disk") as disk:
        yield disk


def served(directory: Path, disk: Disk, **settings: object) -> ServerProcess:
    """A server whose uploads lie on the disk, and whose sessions do not unless the settings say so."""
    directory.mkdir(exist_ok=True)
    hasty = {"lease_ttl": "500ms", "progress_every": "100ms", "patience": "600ms"}
    storage = f"disk://{disk.path}/{directory.name}"
    server = ServerProcess(directory, {"storage": storage, **hasty, **settings})
    server.start()
    return server


@pytest.fixture
def server(disk: Disk, tmp_path: Path, way: str, durability: str) -> Iterator[ServerProcess]:
    """One that takes bodies in this way, with this durability."""
    server = served(tmp_path, disk, direct=way == "direct", durability=durability)
    yield server
    disk.release()
    server.stop()


@pytest.fixture
def servers(disk: Disk, tmp_path: Path) -> Iterator[list[ServerProcess]]:
    """One for each way and durability: what takes its time does so for all of them at once."""
    kinds = [(direct, durability) for direct in (True, False) for durability in ("safe", "page-cache")]
    servers = [
        served(tmp_path / f"{durability}-{direct}", disk, direct=direct, durability=durability)
        for direct, durability in kinds
    ]
    yield servers
    disk.release()
    for server in servers:
        server.stop()


def half_of_an_upload(server: ServerProcess) -> str:
    """An upload of DATA whose first half has been acknowledged."""
    url = server.create(len(DATA))
    assert server.patch(url, 0, DATA[:HALF]).status_code == 204
    return url


def complete(server: ServerProcess, url: str) -> None:
    """Go on from where the server says, and compare."""
    offset = server.offset(url)
    assert offset >= HALF
    assert offset == len(DATA) or server.patch(url, offset, DATA[offset:]).status_code == 204
    assert sha256(server.stored(url)) == sha256(DATA)


def asks_for_room(server: ServerProcess) -> socket.socket:
    """A POST whose answer waits until the disk says how full it is, since it announces most of what was free."""
    length = shutil.disk_usage(server.log).free * 3 // 4
    raw = socket.create_connection(("127.0.0.1", server.port))
    server.connections.append(raw)
    raw.sendall(f"POST /files HTTP/1.1\r\nHost: x\r\nTus-Resumable: 1.0.0\r\nUpload-Length: {length}\r\n\r\n".encode())
    return raw


def ended(server: ServerProcess) -> bool:
    """Whether the process has gone, as far as it can: the kernel keeps what has a call under way that the disk was
    about to answer when it hung, and what has mapped a file of it. Which of its threads it keeps is chance."""
    assert server.process is not None
    if server.process.poll() is not None:
        return True
    state, *_, flags = Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()[:7]
    return state in ("Z", "X") or bool(int(flags) & PF_EXITING)


def hanging(servers: list[ServerProcess], disk: Disk) -> list[tuple[str, socket.socket]]:
    """The disk hangs, in the middle of an upload to each of the servers, which have let go of nothing else."""
    urls = [half_of_an_upload(server) for server in servers]
    others = [server.create(1000) for server in servers]
    writing = [server.opened_patch(url, HALF, HALF) for server, url in zip(servers, urls, strict=True)]
    for raw in writing:
        raw.sendall(DATA[HALF : HALF + 200_000])
    wait_for(lambda: all(in_queue(raw) == 0 for raw in writing))
    disk.hang()
    for raw, server, other in zip(writing, servers, others, strict=True):
        raw.sendall(DATA[HALF + 200_000 : HALF + 300_000])
        assert server.offset(other) == 0
        assert requests.get(f"{server.origin}/healthz", timeout=20).ok
    return list(zip(urls, writing, strict=True))


def test_a_disk_that_hangs_keeps_nobody_else_waiting_and_no_process_from_ending(
    servers: list[ServerProcess], disk: Disk
) -> None:
    uploads = hanging(servers, disk)
    creating = [asks_for_room(server) for server in servers]
    for server, (url, _) in zip(servers, uploads, strict=True):
        # 200 where nothing had to be written since the disk hung
        assert server.head(url).status_code in (423, 200)
    for server in servers:
        os.kill(server.pid, signal.SIGTERM)
    for raw in creating:
        assert received(raw, b"\r\n\r\n").startswith(b"HTTP/1.1 503")
    for server in servers:
        wait_for(partial(ended, server), 60, "the server to end")
        said = server.log.read_text()
        assert "does not answer; what was asked of it last is not waited for" in said
        assert "Traceback" not in said
    disk.release()
    for server, (url, _) in zip(servers, uploads, strict=True):
        assert server.process is not None and server.process.wait(20) == 0
        server.start()
        complete(server, url)


def test_uploads_go_on_once_the_disk_does(servers: list[ServerProcess], disk: Disk) -> None:
    uploads = hanging(servers, disk)
    disk.release()
    for server, (url, raw) in zip(servers, uploads, strict=True):
        raw.sendall(DATA[HALF + 300_000 :])
        assert received(raw, b"\r\n\r\n").startswith(b"HTTP/1.1 204")
        assert sha256(server.stored(url)) == sha256(DATA)


def test_sessions_on_a_disk_that_hangs_keep_no_process_from_ending(disk: Disk, tmp_path: Path) -> None:
    server = served(tmp_path, disk, sessions=f"sqlite://{disk.path}/sessions.db")
    try:
        disk.hang()
        asks_for_room(server)
        assert requests.get(f"{server.origin}/healthz", timeout=20).ok
        os.kill(server.pid, signal.SIGTERM)
        wait_for(partial(ended, server), 60, "the server to end")
        assert "Traceback" not in server.log.read_text()
    finally:
        disk.release()
        server.stop()


@both_ways
@pytest.mark.parametrize("durability", ["safe"])
@pytest.mark.parametrize(("error", "status"), [(errno.EIO, 503), (errno.ENOSPC, 507)])
def test_what_could_not_be_synced_is_not_counted(server: ServerProcess, disk: Disk, error: int, status: int) -> None:
    url = half_of_an_upload(server)
    disk.order(fail={"fsync": error})
    answer = server.patch(url, HALF, DATA[HALF:])
    assert (answer.status_code, answer.headers.get("Upload-Offset")) == (status, str(HALF))
    disk.order()
    assert server.offset(url) == HALF
    complete(server, url)


@both_ways
@pytest.mark.parametrize("durability", ["safe"])
def test_a_later_sync_does_not_count_what_an_earlier_one_lost(server: ServerProcess, disk: Disk) -> None:
    url = half_of_an_upload(server)
    disk.order(fail={"fsync": errno.EIO})
    writing = server.opened_patch(url, HALF, HALF)
    writing.sendall(DATA[HALF : HALF + 200_000])
    wait_for(lambda: "committing progress failed" in server.log.read_text(), what="the heartbeat to fail")
    disk.order()
    writing.sendall(DATA[HALF + 200_000 :])
    answer = received(writing, b"\r\n\r\n").decode()
    assert answer.startswith("HTTP/1.1 503")
    assert f"upload-offset: {HALF}" in answer
    assert server.offset(url) == HALF
    complete(server, url)


@both_ways
@durabilities
def test_what_could_not_be_written_is_not_counted(server: ServerProcess, disk: Disk) -> None:
    url = half_of_an_upload(server)
    disk.order(fail={"write": errno.EIO})
    assert server.patch(url, HALF, DATA[HALF:]).status_code == 503
    assert server.offset(url) == HALF
    disk.order()
    complete(server, url)
