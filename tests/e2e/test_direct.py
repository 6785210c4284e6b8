"""Bodies that go straight from the socket into the file: that they do, and that the connection is none the worse."""

from __future__ import annotations

import errno
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from tests.disks import small_disk_at
from tests.e2e.server import OCTETS, TUS, ServerProcess, sha256, some_bytes, wait_for

MIB = 1024 * 1024


@pytest.fixture
def client(server: ServerProcess) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as raw:
        yield raw


def head(method: str, url: str, **headers: object) -> bytes:
    path = url.partition("//")[2].partition("/")[2]
    lines = [f"{method} /{path} HTTP/1.1", "Host: x", "Tus-Resumable: 1.0.0"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


def patch(url: str, offset: int, size: int, **more: object) -> bytes:
    octets = "application/offset+octet-stream"
    return head("PATCH", url, Content_Type=octets, Upload_Offset=offset, Content_Length=size, **more)


def statuses(raw: socket.socket, count: int) -> list[int]:
    """The statuses of the next responses, none of which has a body."""
    received = b""
    while received.count(b"\r\n\r\n") < count:
        block = raw.recv(65536)
        assert block, received
        received += block
    return [int(each.split(b" ")[1]) for each in received.split(b"\r\n\r\n")[:count]]


def copied(server: ServerProcess) -> int:
    """Bytes that the process has read and written itself so far."""
    assert server.process is not None
    lines = Path(f"/proc/{server.process.pid}/io").read_text().splitlines()
    found = dict(line.split(": ") for line in lines)
    return int(found["rchar"]) + int(found["wchar"])


def test_the_process_sees_next_to_nothing_of_a_body(server: ServerProcess) -> None:
    data = some_bytes(16 * MIB)
    url = server.create(len(data))
    before = copied(server)
    assert requests.patch(url, headers={**OCTETS, "Upload-Offset": "0"}, data=data, timeout=20).status_code == 204
    assert copied(server) - before < 2 * MIB
    assert sha256(requests.get(url, timeout=20).content) == sha256(data)


@pytest.mark.parametrize("way", ["plain"], indirect=True)
def test_the_plain_way_copies(server: ServerProcess) -> None:
    data = some_bytes(16 * MIB)
    url = server.create(len(data))
    before = copied(server)
    requests.patch(url, headers={**OCTETS, "Upload-Offset": "0"}, data=data, timeout=20)
    assert copied(server) - before > 16 * MIB


def test_the_connection_goes_on_with_the_next_requests(server: ServerProcess, client: socket.socket) -> None:
    data = some_bytes(3 * MIB)
    url = server.create(len(data))
    client.sendall(patch(url, 0, 2 * MIB) + data[: 2 * MIB] + head("HEAD", url) + patch(url, 2 * MIB, MIB))
    assert statuses(client, 2) == [204, 200]
    client.sendall(data[2 * MIB :] + head("HEAD", url))
    assert statuses(client, 2) == [204, 200]
    assert requests.get(url, timeout=20).content == data


def test_a_client_that_waits_for_permission_gets_it(server: ServerProcess, client: socket.socket) -> None:
    data = some_bytes(MIB)
    url = server.create(len(data))
    client.sendall(patch(url, 0, MIB, Expect="100-continue"))
    assert statuses(client, 1) == [100]
    client.sendall(data)
    assert statuses(client, 1) == [204]
    client.sendall(patch(url, 0, MIB, Expect="100-continue"))
    assert statuses(client, 1) == [409]


def test_more_than_the_length_is_refused_and_what_fits_is_kept(server: ServerProcess) -> None:
    url = server.create(MIB)
    answer = requests.patch(url, headers={**OCTETS, "Upload-Offset": "0"}, data=bytes(3 * MIB), timeout=20)
    assert answer.status_code == 413
    assert int(requests.head(url, headers=TUS, timeout=20).headers["Upload-Offset"]) <= MIB


def test_a_newcomer_takes_over_from_a_sender_at_full_speed(server: ServerProcess, client: socket.socket) -> None:
    data = some_bytes(64 * MIB)
    url = server.create(len(data))
    sending = threading.Thread(target=_send, args=(client, patch(url, 0, len(data)) + data))
    sending.start()
    wait_for(lambda: any(each.stat().st_size > MIB for each in (server.uploads / "parts").glob("*")))
    offset = int(requests.head(url, headers=TUS, timeout=20).headers["Upload-Offset"])
    rest = requests.patch(url, headers={**OCTETS, "Upload-Offset": str(offset)}, data=data[offset:], timeout=20)
    sending.join()
    assert offset == len(data) or rest.status_code == 204
    assert sha256(requests.get(url, timeout=20).content) == sha256(data)


def test_a_full_disk_says_so(start: Callable[..., ServerProcess], tmp_path: Path) -> None:
    with small_disk_at(tmp_path / "small", "8m") as disk:
        server = start(storage=f"disk://{disk}/uploads")
        url = server.create(6 * MIB)
        (disk / "ballast").write_bytes(bytes(5 * MIB))
        answer = requests.patch(url, headers={**OCTETS, "Upload-Offset": "0"}, data=bytes(6 * MIB), timeout=20)
        assert answer.status_code == 507
        (disk / "ballast").unlink()
        offset = int(requests.head(url, headers=TUS, timeout=20).headers["Upload-Offset"])
        rest = bytes(6 * MIB - offset)
        answer = requests.patch(url, headers={**OCTETS, "Upload-Offset": str(offset)}, data=rest, timeout=20)
        assert answer.status_code == 204
        server.stop()


def _send(raw: socket.socket, data: bytes) -> None:
    try:
        raw.sendall(data)
    except OSError as error:
        assert error.errno in (errno.EPIPE, errno.ECONNRESET), os.strerror(error.errno or 0)
