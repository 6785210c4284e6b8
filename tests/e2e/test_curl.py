"""curl against the server: what the documentation shows, and what people do in scripts."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.clients import assert_same, source
from tests.e2e.server import ServerProcess

MIB = 1024 * 1024
TIMED_OUT = 28
CONTINUED = "< HTTP/1.1 100 Continue"
TUS = ("-H", "Tus-Resumable: 1.0.0")
OCTETS = (*TUS, "-H", "Content-Type: application/offset+octet-stream")
# whoever sent the body without being told to would have waited long before
EXPECT = ("-H", "Expect: 100-continue", "--expect100-timeout", "30")


class Answer:
    """What a run of curl brought: the last status, its headers, bytes of body sent, curl's exit code and its ``-v``."""

    def __init__(self, *arguments: str) -> None:
        curl = shutil.which("curl")
        if curl is None:
            pytest.skip("needs curl: install your system's package for it")
        done = subprocess.run(
            [curl, "--disable", "-sv", "-o", "-", "-w", "%{http_code} %{size_upload}", *arguments],
            capture_output=True,
            timeout=100,
            env={},
        )
        self.code = done.returncode
        self.talk = done.stderr.decode(errors="replace").replace("\r", "")
        status, sent = done.stdout.decode(errors="replace").split()[-2:]
        self.status = int(status[-3:])
        self.sent = int(sent)

    def header(self, name: str) -> str:
        found = re.findall(rf"^< {name}: (.*)$", self.talk, re.MULTILINE | re.IGNORECASE)
        assert found, self.talk
        return str(found[-1])


def created(server: ServerProcess, length: int) -> str:
    answer = Answer("-X", "POST", *TUS, "-H", f"Upload-Length: {length}", server.url)
    assert answer.status == 201, answer.talk
    return answer.header("Location")


def offset(url: str) -> int:
    answer = Answer("--head", *TUS, url)
    assert answer.status == 200, answer.talk
    return int(answer.header("Upload-Offset"))


def patch(url: str, start: int, *arguments: str) -> Answer:
    return Answer("-X", "PATCH", *OCTETS, "-H", f"Upload-Offset: {start}", *arguments, url)


@pytest.mark.requirement("CORE-19", "CORE-34", "CORE-35", "CORE-36", "CREA-28")
def test_an_upload_with_expect(server: ServerProcess, tmp_path: Path) -> None:
    path = source(tmp_path, 5 * MIB + 7)
    url = created(server, 5 * MIB + 7)
    assert offset(url) == 0
    answer = patch(url, 0, *EXPECT, "-T", str(path))
    assert (answer.code, answer.status) == (0, 204)
    assert answer.talk.count(CONTINUED) == 1
    assert answer.header("Upload-Offset") == str(5 * MIB + 7)
    assert_same(server, url, path)


@pytest.mark.requirement("CORE-36")
@pytest.mark.parametrize("size", [5, 5 * MIB + 7])
def test_a_client_that_would_rather_speak_http_2(server: ServerProcess, tmp_path: Path, size: int) -> None:
    """It asks for that with the upload itself, as Java's HttpClient does too, and goes on in HTTP/1.1."""
    path = source(tmp_path, size)
    url = created(server, size)
    answer = patch(url, 0, "--http2", "-T", str(path))
    assert (answer.code, answer.status) == (0, 204)
    assert "> Upgrade: h2c" in answer.talk
    assert answer.header("Upload-Offset") == str(size)
    assert_same(server, url, path)


@pytest.mark.requirement("CORE-36")
def test_a_body_of_unannounced_size(server: ServerProcess, tmp_path: Path) -> None:
    path = source(tmp_path, 3 * MIB + 7)
    url = created(server, 3 * MIB + 7)
    answer = patch(url, 0, "-H", "Transfer-Encoding: chunked", "-T", str(path))
    assert answer.status == 204
    assert "> Content-Length" not in answer.talk
    assert answer.header("Upload-Offset") == str(3 * MIB + 7)
    assert_same(server, url, path)


@pytest.mark.requirement("CORE-38", "CORE-41")
def test_interrupted_and_resumed(server: ServerProcess, tmp_path: Path) -> None:
    path = source(tmp_path, 8 * MIB)
    url = created(server, 8 * MIB)
    answer = patch(url, 0, *EXPECT, "--limit-rate", "2M", "--max-time", "1.5", "-T", str(path))
    assert answer.code == TIMED_OUT
    arrived = offset(url)
    assert answer.sent * 0.9 <= arrived < 8 * MIB
    assert arrived > MIB
    answer = patch(url, arrived, *EXPECT, "-C", str(arrived), "-T", str(path))
    assert (answer.code, answer.status) == (0, 204)
    assert answer.sent == 8 * MIB - arrived
    assert_same(server, url, path)


@pytest.mark.parametrize(("at", "status"), [(1, 409), (0, 413)], ids=["wrong-offset", "too-long"])
@pytest.mark.requirement("CORE-30", "CORE-31")
def test_a_refused_patch_is_not_sent(server: ServerProcess, tmp_path: Path, at: int, status: int) -> None:
    path = source(tmp_path, 8 * MIB)
    url = created(server, 4 * MIB)
    answer = patch(url, at, *EXPECT, "-T", str(path))
    assert (answer.code, answer.status) == (0, status)
    assert CONTINUED not in answer.talk
    assert answer.sent == 0
    assert offset(url) == 0


@pytest.mark.requirement("CWU-10", "CREA-25")
def test_a_refused_creation_is_not_sent(start: Callable[..., ServerProcess], tmp_path: Path) -> None:
    server = start(max_size="1MiB")
    path = source(tmp_path, 8 * MIB)
    answer = Answer(
        "-X", "POST", *OCTETS, "-H", f"Upload-Length: {8 * MIB}", *EXPECT, "-T", str(path), f"{server.origin}/files"
    )
    assert (answer.code, answer.status) == (0, 413)
    assert "< location:" not in answer.talk.lower()
    assert CONTINUED not in answer.talk
    assert answer.sent == 0


@pytest.mark.requirement("CWU-01", "CWU-04", "CWU-06")
def test_a_creation_with_all_of_it(server: ServerProcess, tmp_path: Path) -> None:
    path = source(tmp_path, 3 * MIB)
    answer = Answer("-X", "POST", *OCTETS, "-H", f"Upload-Length: {3 * MIB}", *EXPECT, "-T", str(path), server.url)
    assert answer.status == 201
    assert answer.talk.count(CONTINUED) == 1
    assert answer.header("Upload-Offset") == str(3 * MIB)
    assert_same(server, answer.header("Location"), path)
