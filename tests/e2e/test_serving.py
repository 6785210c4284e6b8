"""``tusserver serve`` as it can be set up: TLS, a Unix socket, several workers, a proxy in front, a full disk."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
import trustme

from tests.disks import small_disk_at
from tests.e2e.server import OCTETS, TUS, ServerProcess, some_bytes, wait_for

MIB = 1024 * 1024


def test_over_tls(start: Callable[..., ServerProcess], tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    certificate.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    for number, pem in enumerate(certificate.cert_chain_pems):
        pem.write_to_path(str(tmp_path / "chain.pem"), append=number > 0)
    server = start(tls_certificate=tmp_path / "chain.pem", tls_key=tmp_path / "key.pem")
    data = some_bytes(3 * MIB)
    ca = str(tmp_path / "ca.pem")
    made = requests.post(server.url, headers={**TUS, "Upload-Length": str(len(data))}, timeout=10, verify=ca)
    url = made.headers["Location"]
    assert url.startswith(f"https://127.0.0.1:{server.port}/files/")
    answer = requests.patch(url, data=data, headers={**OCTETS, "Upload-Offset": "0"}, timeout=20, verify=ca)
    assert answer.status_code == 204
    assert requests.get(url, timeout=20, verify=ca).content == data


def test_on_a_unix_socket(start: Callable[..., ServerProcess], tmp_path: Path) -> None:
    path = tmp_path / "tus.sock"
    server = start(unix_socket=path)
    with socket.socket(socket.AF_UNIX) as raw:
        raw.connect(str(path))
        raw.sendall(b"POST /files HTTP/1.1\r\nHost: media.example\r\nTus-Resumable: 1.0.0\r\nUpload-Length: 5\r\n\r\n")
        answer = raw.recv(65536).decode()
    assert answer.startswith("HTTP/1.1 201")
    assert "location: http://media.example/files/" in answer
    server.terminate()
    assert not path.exists()


def test_below_another_path_and_behind_a_known_address(start: Callable[..., ServerProcess]) -> None:
    server = start(base_path="/", public_url="https://media.example.org/up")
    answer = requests.post(server.origin + "/", headers={**TUS, "Upload-Length": "5"}, timeout=10)
    assert answer.headers["Location"].startswith("https://media.example.org/up/")
    upload_id = answer.headers["Location"].rsplit("/", 1)[1]
    assert server.offset(f"{server.origin}/{upload_id}") == 0
    assert requests.get(f"{server.origin}/healthz", timeout=5).ok


def test_any_worker_continues_any_upload(start: Callable[..., ServerProcess]) -> None:
    server = start(workers=3)
    data = some_bytes(MIB)
    url = server.create(len(data))
    for at in range(0, len(data), 50_000):
        assert server.patch(url, at, data[at : at + 50_000]).status_code == 204  # a connection, so a worker, for each
    assert server.stored(url) == data

    def page() -> str:  # of all workers, whichever answers
        return requests.get(f"{server.origin}/metrics", timeout=5).text

    wait_for(lambda: "tusserver_uploads_finished_total 1.0" in page(), what="the figures of the worker that did it")


def command_of(pid: str) -> bytes:
    """A process's command line; none when it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def workers_of(server: ServerProcess) -> set[str]:
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children")
    return {pid for pid in children.read_text().split() if b"spawn_main" in command_of(pid)}


def test_a_worker_that_is_killed_is_replaced_and_its_uploads_go_on(start: Callable[..., ServerProcess]) -> None:
    server = start(workers=2, lease_ttl="500ms", progress_every="100ms")
    data = some_bytes(MIB)
    url = server.create(len(data))
    raw = server.opened_patch(url, 0, len(data))
    raw.sendall(data[:300_000])
    before = workers_of(server)
    assert len(before) == 2
    subprocess.run(["kill", "-9", *before], check=True)
    wait_for(lambda: len(workers_of(server) - before) == 2, seconds=30, what="new workers")
    wait_for(server.answers)
    offset = server.offset(url)
    assert server.patch(url, offset, data[offset:]).status_code == 204
    assert server.stored(url) == data


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB."""
    with small_disk_at(tmp_path / "disk", "8m") as disk:
        yield disk


def test_a_disk_that_fills_up(start: Callable[..., ServerProcess], small_disk: Path) -> None:
    server = start(storage=f"disk://{small_disk}/uploads")
    refused = requests.post(server.url, headers={**TUS, "Upload-Length": str(9 * MIB)}, timeout=10)
    assert refused.status_code == 507 and refused.json()["error"] == "storage_full"
    data = some_bytes(6 * MIB)
    url = server.create(len(data))
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * (4 * MIB))
    answer = server.patch(url, 0, data)
    assert answer.status_code == 507
    kept = int(answer.headers["Upload-Offset"])
    assert 0 < kept < len(data)
    assert server.offset(url) == kept
    ballast.unlink()
    assert server.patch(url, kept, data[kept:]).status_code == 204
    assert server.stored(url) == data


def test_what_cannot_be_served_is_said_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "a-file").write_text("")
    wrong: list[tuple[dict[str, object], str]] = [
        ({"storage": f"disk://{tmp_path}/a-file/uploads"}, "Name a directory"),
        ({"sessions": f"sqlite://{tmp_path}/a-file"}, "database"),
        ({"host": "203.0.113.1"}, "Choose others with --host and --port"),
        ({"workers": 0}, "--workers"),
        ({"tls_certificate": "/nowhere"}, "--tls-certificate"),
    ]
    for settings, sentence in wrong:
        (tmp_path / "a-file").write_text("not a database at all, but long enough to be looked at " * 50)
        server = ServerProcess(tmp_path, settings, name="refusing")
        server.log.unlink(missing_ok=True)
        with pytest.raises(AssertionError):
            server.start()
        said = server.log.read_text()
        assert server.process is not None and server.process.wait() != 0
        assert sentence in said, said
        assert "Traceback" not in said


@pytest.mark.parametrize("workers", [1, 2])
def test_a_port_that_another_server_has_is_not_shared(server: ServerProcess, workers: int) -> None:
    command = [sys.executable, "-m", "tusserver", "serve", "--port", str(server.port), "--workers", str(workers)]
    done = subprocess.run(command, cwd=server.directory, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "Choose others with --host and --port" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_download_of_which_bytes_are_missing_is_refused_at_once(server: ServerProcess) -> None:
    data = some_bytes(3 * MIB)
    url = server.create(len(data))
    assert server.patch(url, 0, data).status_code == 204
    (server.uploads / url.rsplit("/", 1)[1]).write_bytes(data[:-1])
    for headers in ({}, {"Range": "bytes=0-99"}):
        answer = requests.get(url, headers=headers, timeout=10)
        assert (answer.status_code, answer.json()["error"]) == (503, "bytes_missing")


def test_a_download_whose_bytes_go_missing_is_cut_not_padded(server: ServerProcess) -> None:
    """More of it than the sockets hold, so that it has not been read to its end when the file is cut."""
    data = some_bytes(64 * MIB)
    url = server.create(len(data))
    assert server.patch(url, 0, data).status_code == 204
    received: list[bytes] = []
    with pytest.raises(requests.RequestException), requests.get(url, timeout=10, stream=True) as answer:
        assert answer.status_code == 200
        os.truncate(server.uploads / url.rsplit("/", 1)[1], 48 * MIB)
        received.extend(answer.iter_content(MIB))
    assert data.startswith(b"".join(received))
    wait_for(lambda: "download broken off" in server.log.read_text(), what="the log to say so")
    assert "Traceback" not in server.log.read_text()
