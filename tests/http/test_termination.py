"""The Termination extension over HTTP."""

from __future__ import annotations

import pytest
import requests

from tests.e2e.server import OCTETS, TUS, ServerProcess, wait_for
from tests.http.asking import UNKNOWN, Connect, kept, post
from tests.http.wire import HEAD


@pytest.mark.requirement("TERM-01", "TERM-02", "TERM-03", "TERM-04")
@pytest.mark.parametrize("size", [0, 3, 5])
def test_amb_24_termination_frees_everything(server: ServerProcess, size: int) -> None:
    assert "termination" in requests.options(server.url, timeout=5).headers["Tus-Extension"].split(",")
    url = server.create(5)
    assert server.patch(url, 0, b"abcde"[:size]).status_code == 204
    assert bool(kept(server, url)) == bool(size)
    answer = requests.delete(url, headers=TUS, timeout=5)
    assert answer.status_code == 204 and answer.content == b""
    assert not kept(server, url)
    for method in ("HEAD", "PATCH", "DELETE", "GET"):
        headers = {**OCTETS, "Upload-Offset": str(size)}
        assert requests.request(method, url, headers=headers, timeout=5).status_code == 404


@pytest.mark.requirement("TERM-02", "TERM-03")
def test_partial_and_final_uploads_are_terminated_each_by_itself(server: ServerProcess) -> None:
    part = server.create(3, **{"Upload-Concat": "partial"})
    assert server.patch(part, 0, b"abc").status_code == 204
    final = post(server, Upload_Concat=f"final;{part} {part}").headers["Location"]
    assert requests.delete(part, headers=TUS, timeout=5).status_code == 204
    assert server.stored(final) == b"abcabc"
    assert requests.delete(final, headers=TUS, timeout=5).status_code == 204
    assert not kept(server, final) and not kept(server, part)
    assert server.head(final).status_code == 404


def test_termination_ends_who_is_writing(server: ServerProcess) -> None:
    url = server.create(1_000_000)
    raw = server.opened_patch(url, 0, 1_000_000)
    raw.sendall(b"x" * 100_000)
    assert requests.delete(url, headers=TUS, timeout=5).status_code == 204
    assert raw.recv(65536).startswith((b"HTTP/1.1 409", b"HTTP/1.1 404"))
    wait_for(lambda: not kept(server, url))
    assert server.head(url).status_code == 404


@pytest.mark.requirement("TERM-05")
def test_only_an_upload_is_terminated(server: ServerProcess) -> None:
    assert requests.delete(f"{server.url}/{UNKNOWN}", headers=TUS, timeout=5).status_code == 404
    assert requests.delete(server.url, headers=TUS, timeout=5).status_code == 405


def test_a_body_changes_nothing(server: ServerProcess, connect: Connect) -> None:
    url = server.create(3)
    wire = connect()
    wire.send(f"DELETE /files/{url.rsplit('/', 1)[1]} HTTP/1.1\r\n{HEAD}Content-Length: 3\r\n\r\nabc")
    assert wire.read().status == 204
    assert server.head(url).status_code == 404
