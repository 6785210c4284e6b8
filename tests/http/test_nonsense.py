"""Nonsense in every header, path and body: a clear refusal, nothing changed, no stack trace, and the process lives."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.e2e.server import ServerProcess, some_bytes, wait_for
from tests.http.asking import either_way, path_of
from tests.http.wire import HEAD, OCTETS, Answer, Wire

BROKEN = [b"", b"zz\r\n", b"-1\r\n", b"g", b"\r\n", b"0x1\r\n", b"\x00", b" 1\r\n", b"f" * 17 + b"\r\n"]
FUZZ = settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

pytestmark = either_way

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
    st.binary(max_size=30).map(lambda raw: "/files/" + "".join(f"%{each:02x}" for each in raw)),
    st.binary(max_size=30).map(lambda raw: "".join(f"%{each:02X}" for each in raw).join(("/files/" + "0" * 32, "/x"))),
    st.text("./%25cefF\\", max_size=60).map(lambda text: f"/files/{text}"),
)
values = st.one_of(
    st.sampled_from(PLAUSIBLE),
    text,
    st.text("ab c,=Yg+/-;", max_size=30),
    st.integers(-(2**65), 2**65).map(str),
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


@given(said=st.dictionaries(st.sampled_from(NAMES[1:7]), values, max_size=4), data=st.binary(max_size=20))
@FUZZ
def test_any_creation(server: ServerProcess, kept: tuple[str, bytes], said: dict[str, str], data: bytes) -> None:
    lines = "".join(f"{name}: {value}\r\n" for name, value in said.items())
    answer = ask(server, f"POST /files HTTP/1.1\r\n{OCTETS}{lines}Content-Length: {len(data)}\r\n\r\n", data)
    check(server, answer)
    assert answer is not None
    if answer.status != 201:
        assert "location" not in answer.headers
        return
    with wire_to(server) as wire:
        wire.send(f"HEAD {path_of(answer.headers['location'])} HTTP/1.1\r\n{HEAD}\r\n")
        head = wire.read(head_only=True)
    assert head.status == 200
    for name in ("Upload-Metadata", "Upload-Concat"):
        assert head.headers.get(name.lower(), "") == said.get(name, "").strip()


def finished(server: ServerProcess, url: str) -> bytes:
    """What the upload of 100 bytes had stored before it was filled up. What was said before may still be on its way."""

    def fill() -> tuple[int] | None:
        offset = server.offset(url)
        return (offset,) if server.patch(url, offset, bytes(100 - offset)).status_code == 204 else None

    (offset,) = wait_for(fill)
    return server.stored(url)[:offset]


@given(said=st.binary(max_size=300))
@FUZZ
def test_any_body(server: ServerProcess, kept: tuple[str, bytes], said: bytes) -> None:
    """Missing bytes, whatever comes behind: what counts is the beginning of what was said."""
    url = server.create(100)
    with wire_to(server) as wire:
        wire.send(f"PATCH {path_of(url)} HTTP/1.1\r\n{OCTETS}Upload-Offset: 0\r\nContent-Length: 50\r\n\r\n", said)
    check(server, None)
    assert said[:50].startswith(finished(server, url))


@given(chunks=st.lists(st.binary(min_size=1, max_size=20), max_size=6), then=st.sampled_from(BROKEN), rest=st.binary())
@FUZZ
def test_any_chunking(
    server: ServerProcess, kept: tuple[str, bytes], chunks: list[bytes], then: bytes, rest: bytes
) -> None:
    """Chunks that break: what counts is the beginning of what was said rightly."""
    url = server.create(100)
    body = b"".join(chunks)[:100]
    framing = f"PATCH {path_of(url)} HTTP/1.1\r\n{OCTETS}Upload-Offset: 0\r\nTransfer-Encoding: chunked\r\n\r\n"
    with wire_to(server) as wire:
        wire.send(framing, *(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks), then, rest)
    check(server, None)
    assert body.startswith(finished(server, url))


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


@pytest.mark.parametrize(
    ("framing", "body"),
    [
        ("Content-Length: 1\r\nContent-Length: 3", "abc"),
        ("Content-Length: 3\r\nContent-Length: 3", "abc"),
        ("Content-Length: 3, 3", "abc"),
        ("Content-Length: +3", "abc"),
        ("Content-Length: 0x3", "abc"),
        ("Content-Length: 3\r\nTransfer-Encoding: chunked", "3\r\nabc\r\n0\r\n\r\n"),
        ("Content-Length: 3\r\nTransfer-Encoding: identity", "abc"),
        ("Transfer-Encoding: identity\r\nContent-Length: 3", "abc"),
        ("Transfer-Encoding: identity", "3\r\nabc\r\n0\r\n\r\n"),
        ("Content-Length: 3\r\nTransfer-Encoding: gzip", "abc"),
        ("Transfer-Encoding: gzip\r\nContent-Length: 3", "abc"),
        ("Transfer-Encoding: gzip", "3\r\nabc\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked, gzip", "3\r\nabc\r\n0\r\n\r\n"),
        ("Transfer-Encoding: xchunked", "3\r\nabc\r\n0\r\n\r\n"),
        ("Transfer-Encoding : chunked", "3\r\nabc\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", "3\r\nabc\r\n0\r\n\r\n"),
        ("X: a\x00b\r\nContent-Length: 3", "abc"),
    ],
)
def test_a_body_whose_end_is_in_doubt_changes_nothing(
    server: ServerProcess, kept: tuple[str, bytes], framing: str, body: str
) -> None:
    """RFC 9112 section 6.3: a proxy in front might see another end (request smuggling)."""
    url = server.create(3)
    answer = ask(server, f"PATCH {path_of(url)} HTTP/1.1\r\n{OCTETS}Upload-Offset: 0\r\n{framing}\r\n\r\n{body}")
    assert answer is not None and (400 <= answer.status < 500 or answer.status == 501)
    assert server.offset(url) == 0


def test_a_transfer_coding_that_is_not_undone_is_refused(server: ServerProcess) -> None:
    """RFC 9112 section 6.1; what arrives are not the upload's bytes."""
    url = server.create(3)
    framing = "Upload-Offset: 0\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"
    answer = ask(server, f"PATCH {path_of(url)} HTTP/1.1\r\n{OCTETS}{framing}3\r\nabc\r\n0\r\n\r\n")
    assert answer is not None and (400 <= answer.status < 500 or answer.status == 501)
    assert server.offset(url) == 0


def test_too_many_headers(server: ServerProcess) -> None:
    lines = "".join(f"X-{number}: y\r\n" for number in range(10_000))
    answer = ask(server, f"POST /files HTTP/1.1\r\n{HEAD}Upload-Length: 1\r\n{lines}\r\n")
    assert answer is not None and answer.status == 431


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
    said = server.log.read_text()
    assert "Traceback" not in said and "internal_error" not in said
