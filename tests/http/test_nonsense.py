"""Nonsense in every header, path and body: a clear refusal, nothing changed, no stack trace, and the process lives."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.e2e.server import ServerProcess, some_bytes
from tests.http.test_core import path_of
from tests.http.wire import HEAD, OCTETS, Answer, Wire

FUZZ = settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

NAMES = [
    "Tus-Resumable", "Upload-Offset", "Upload-Length", "Upload-Defer-Length", "Upload-Metadata", "Upload-Concat",
    "Upload-Checksum", "Content-Type", "X-HTTP-Method-Override", "Trailer", "Origin", "Range", "If-Range", "If-Match",
    "Access-Control-Request-Headers", "X-Forwarded-Host", "X-Forwarded-Proto", "Forwarded", "Host", "Accept",
]  # fmt: skip
PLAUSIBLE = [
    "1.0.0", "0", "5", "-1", "1", "partial", "final;", "final;/files/x", "sha1 AAAA", "a Yg==", "bytes=0-", "bytes=-",
    "application/offset+octet-stream", "PATCH", "HEAD", "DELETE", "OPTIONS", "GET", "upload-checksum", "9" * 40, "*",
    "http://a.example", "for=x;proto=https;host=b.example", "x" * 3000,
    '"', "[::1", "a:b:c", "%", "🎬".encode().decode("latin-1"),
]  # fmt: skip

text = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=60)
headers = st.lists(st.tuples(st.sampled_from(NAMES), st.one_of(st.sampled_from(PLAUSIBLE), text)), max_size=8)
methods = st.sampled_from(["POST", "HEAD", "PATCH", "DELETE", "OPTIONS", "GET", "PUT", "TRACE", "PROPFIND"])
words = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="#? "), max_size=40)
paths = st.one_of(
    st.sampled_from(["/files", "/files/", "/files/..", "/files/%2e%2e/%2e%2e/etc/passwd", "/files/%00", "//files//x"]),
    words.map(lambda word: f"/files/{word}"),
    words.map(lambda word: f"/{word}"),
)


@pytest.fixture(scope="module")
def kept(server: ServerProcess) -> tuple[str, bytes]:
    """An upload in the middle that nothing of all this may touch."""
    data = some_bytes(1000)
    url = server.create(len(data))
    assert server.patch(url, 0, data[:600]).status_code == 204
    return url, data


@contextmanager
def wire_to(server: ServerProcess) -> Iterator[Wire]:
    wire = Wire(server.port)
    try:
        yield wire
    finally:
        wire.close()


def ask(server: ServerProcess, *said: str | bytes, head_only: bool = False) -> Answer | None:
    """What the server answers, None when it just closes."""
    with wire_to(server) as wire:
        try:
            wire.send(*said)
            return wire.read(head_only=head_only)
        except (EOFError, ConnectionError, TimeoutError):
            return None


def check(server: ServerProcess, answer: Answer | None) -> None:
    assert server.process is not None and server.process.poll() is None
    if answer is not None:
        assert answer.status < 500, answer
        assert b"Traceback" not in answer.body
        if answer.status >= 400 and answer.headers.get("content-type") == "application/json":
            said = json.loads(answer.body)
            assert set(said) == {"error", "message"}


@given(method=methods, path=paths, headers=headers, tus=st.booleans(), data=st.binary(max_size=20))
@FUZZ
def test_any_request(
    server: ServerProcess,
    kept: tuple[str, bytes],
    method: str,
    path: str,
    headers: list[tuple[str, str]],
    tus: bool,
    data: bytes,
) -> None:
    headers = (
        [("Tus-Resumable", "1.0.0"), *(each for each in headers if each[0] != "Tus-Resumable")] if tus else headers
    )
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    said = f"{method} {path} HTTP/1.1\r\nHost: a\r\n{lines}Content-Length: {len(data)}\r\nConnection: close\r\n\r\n"
    check(server, ask(server, said, data, head_only=method == "HEAD"))


@given(method=methods, headers=headers)
@FUZZ
def test_any_request_for_an_upload(
    server: ServerProcess, kept: tuple[str, bytes], method: str, headers: list[tuple[str, str]]
) -> None:
    url, _ = kept
    harmless = [
        (name, value)
        for name, value in headers
        if value.strip().upper() != "DELETE" and name.lower() != "tus-resumable"
    ]
    lines = "".join(f"{name}: {value}\r\n" for name, value in harmless)
    version = "" if method == "DELETE" else "Tus-Resumable: 1.0.0\r\n"
    said = f"{method} {path_of(url)} HTTP/1.1\r\nHost: a\r\n{version}{lines}Connection: close\r\n\r\n"
    check(server, ask(server, said, head_only=method == "HEAD"))
    assert server.offset(url) == 600


@given(garbage=st.binary(max_size=300), chunked=st.booleans())
@FUZZ
def test_any_body(server: ServerProcess, kept: tuple[str, bytes], garbage: bytes, chunked: bool) -> None:
    """Broken chunking, missing bytes, whatever comes behind: what counts is only what was said rightly."""
    url = server.create(100)
    framing = "Transfer-Encoding: chunked" if chunked else "Content-Length: 50"
    with wire_to(server) as wire:
        wire.send(f"PATCH {path_of(url)} HTTP/1.1\r\n{OCTETS}Upload-Offset: 0\r\n{framing}\r\n\r\n", garbage)
    check(server, None)
    assert 0 <= server.offset(url) <= 100


@pytest.mark.parametrize(
    "said",
    [
        f"PATCH /files/x HTTP/1.1\r\n{OCTETS}Content-Length: 3\r\nContent-Length: 5\r\n\r\nabcde",
        f"PATCH /files/x HTTP/1.1\r\n{OCTETS}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        f"PATCH /files/x HTTP/1.1\r\n{OCTETS}Transfer-Encoding: gzip\r\n\r\nabc",
        f"PATCH /files/x HTTP/1.1\r\n{OCTETS}Content-Length: -3\r\n\r\nabc",
        f"PATCH /files/x HTTP/1.1\r\n{OCTETS}Content-Length: 99999999999999999999999\r\n\r\nabc",
        f"POST /files HTTP/1.1\r\n{HEAD}Upload-Length: 1\r\nBad Header: x\r\n\r\n",
        "\x00\x01\x02\x03\r\n\r\n",
        "GET http://[/files HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET  HTTP/1.1\r\n\r\n",
        f"POST /files HTTP/9.9\r\n{HEAD}\r\n",
        f"POST /{'x' * 70_000} HTTP/1.1\r\n{HEAD}\r\n",
    ],
)
def test_requests_that_are_none(server: ServerProcess, kept: tuple[str, bytes], said: str) -> None:
    answer = ask(server, said)
    check(server, answer)
    assert answer is None or 400 <= answer.status < 500


def test_headers_that_are_too_large(server: ServerProcess) -> None:
    answer = ask(server, f"POST /files HTTP/1.1\r\n{HEAD}Upload-Length: 1\r\nX: {'x' * 100_000}\r\n\r\n")
    assert answer is not None and answer.status == 431
    assert json.loads(answer.body)["error"] == "headers_too_large"


def test_a_header_that_never_ends(server: ServerProcess) -> None:
    before = server.memory()
    with socket.create_connection(("127.0.0.1", server.port)) as raw, pytest.raises(OSError):
        raw.sendall(f"POST /files HTTP/1.1\r\n{HEAD}X: ".encode())
        for _ in range(1000):
            raw.sendall(b"x" * 65536)
        raise AssertionError("64 MiB of one header were taken")
    assert server.memory() - before < 20_000_000


def test_trailers_that_never_end(server: ServerProcess) -> None:
    url = server.create(3)
    before = server.memory()
    with socket.create_connection(("127.0.0.1", server.port)) as raw, pytest.raises(OSError):
        said = f"PATCH {path_of(url)} HTTP/1.1\r\n{OCTETS}Upload-Offset: 0\r\nTransfer-Encoding: chunked\r\n\r\n"
        raw.sendall(said.encode() + b"3\r\nabc\r\n0\r\n")
        for number in range(100_000):
            raw.sendall(b"X-%d: %s\r\n" % (number, b"x" * 500))
        raise AssertionError("50 MB of trailers were taken")
    assert server.memory() - before < 20_000_000


def test_after_all_that_nothing_has_changed(server: ServerProcess, kept: tuple[str, bytes]) -> None:
    url, data = kept
    assert server.offset(url) == 600
    assert server.patch(url, 600, data[600:]).status_code == 204
    assert server.stored(url) == data
    assert "Traceback" not in server.log.read_text()
