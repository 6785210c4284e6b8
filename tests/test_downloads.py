"""GET of finished uploads: conditions, ranges, what a browser may do with the bytes, and clients that vanish."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from msgspec.structs import replace
from starlette.testclient import TestClient

from tests.e2e.server import wait_for
from tests.serving import serving
from tests.stores.sessions import an_upload
from tusserver.downloads import Download, Receive, Send, content_disposition, plan, send
from tusserver.protocol.headers import build_metadata
from tusserver.protocol.messages import by_name
from tusserver.protocol.refusals import BytesMissing, UploadNotFinished
from tusserver.protocol.upload import Part, Status, Upload

DONE = 784111777.9
DONE_DATE = "Sun, 06 Nov 1994 08:49:37 GMT"
EARLIER = "Sun, 06 Nov 1994 08:49:36 GMT"
LATER = "Sun, 06 Nov 1994 08:49:38 GMT"
INLINE = frozenset({"image/png", "text/plain"})
DATA = bytes(range(256)) * 4
ID = "abcdefghijklmnopqrstuv"
ETAG = f'"{ID}-{len(DATA)}"'


def finished(size: int = len(DATA), **metadata: str) -> Upload:
    upload = an_upload(
        ID,
        length=size,
        status=Status.COMPLETED,
        completed_at=DONE,
        parts=(Part(token=1, start=0, stop=size),) if size else (),
    )
    return replace(upload, metadata=build_metadata({key: value.encode() for key, value in metadata.items()}))


def asked(upload: Upload | None = None, /, **headers: str) -> Download:
    said = {name.replace("_", "-"): value for name, value in headers.items()}
    return plan(upload or finished(), said, INLINE)


def said(download: Download) -> dict[str, str]:
    named = {name.decode(): value.decode("latin-1") for name, value in download.headers}
    assert len(named) == len(download.headers), "a header twice"
    return named


# What is answered


def test_the_whole_upload() -> None:
    answer = asked()
    assert (answer.status, answer.start, answer.stop) == (200, 0, len(DATA))
    headers = said(answer)
    assert headers["content-length"] == str(len(DATA))
    assert headers["accept-ranges"] == "bytes"
    assert headers["etag"] == ETAG
    assert headers["last-modified"] == DONE_DATE
    assert headers["cache-control"] == "private, no-cache"
    assert "content-range" not in headers


def test_an_empty_upload() -> None:
    answer = asked(finished(0))
    assert (answer.status, answer.start, answer.stop, said(answer)["content-length"]) == (200, 0, 0, "0")


def test_the_etag_tells_uploads_apart() -> None:
    assert said(asked(replace(finished(), id="another-upload")))["etag"] != said(asked())["etag"]


@pytest.mark.parametrize("status", [Status.ACTIVE, Status.CANCELLED, Status.EXPIRED])
def test_only_a_finished_upload_is_served(status: Status) -> None:
    with pytest.raises(UploadNotFinished):
        asked(replace(finished(), status=status, completed_at=None))
    with pytest.raises(UploadNotFinished):
        asked(replace(finished(), status=status), range="bytes=0-1")


@pytest.mark.parametrize(
    ("value", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-1023", 0, 1024),
        ("bytes=10-19", 10, 20),
        ("bytes=1000-", 1000, 1024),
        ("bytes=1000-4000", 1000, 1024),
        ("bytes=1023-1023", 1023, 1024),
        ("bytes=-1", 1023, 1024),
        ("bytes=-24", 1000, 1024),
        ("bytes=-5000", 0, 1024),
        ("BYTES=0-0", 0, 1),
        ("bytes= \t0-0 ", 0, 1),
        ("bytes=0-9223372036854775807", 0, 1024),
    ],
)
def test_one_range(value: str, start: int, stop: int) -> None:
    answer = asked(range=value)
    assert (answer.status, answer.start, answer.stop) == (206, start, stop)
    assert said(answer)["content-range"] == f"bytes {start}-{stop - 1}/1024"
    assert said(answer)["content-length"] == str(stop - start)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=5-4",
        "bytes=a-b",
        "bytes=0-1,5-6",
        "bytes=--1",
        "bytes=+1-2",
        "bytes=0x1-2",
        "bytes=1_0-20",
        "bytes=\u0661-2",
        "lines=0-1",
        "bytes=" + "9" * 5000 + "-",
        "bytes=0 - 1",
        "bytes =0-1",
    ],
)
def test_what_is_not_one_range_counts_as_none(value: str) -> None:
    assert (asked(range=value).status, asked(range=value).stop) == (200, len(DATA))


@pytest.mark.parametrize("filler", [" ", "\t", "0", "-", ","])
@pytest.mark.parametrize("before", ["", "bytes", "bytes=", "bytes=0", "bytes=0-"])
def test_a_long_range_does_not_hold_the_process_up(before: str, filler: str) -> None:
    started = time.thread_time()
    asked(range=before + filler * 60_000 + "x")
    assert time.thread_time() - started < 1  # a matter of microseconds; ten seconds if blanks were tried in every way


@pytest.mark.parametrize(
    ("size", "value"),
    [(1024, "bytes=1024-"), (1024, "bytes=5000-6000"), (1024, "bytes=-0"), (0, "bytes=0-"), (0, "bytes=-1")],
)
def test_a_range_beyond_the_end(size: int, value: str) -> None:
    answer = asked(finished(size), range=value)
    assert (answer.status, answer.start, answer.stop) == (416, 0, 0)
    assert said(answer)["content-range"] == f"bytes */{size}"
    assert said(answer)["content-length"] == "0"


@pytest.mark.parametrize(
    ("value", "status"),
    [
        (ETAG, 206),
        (f" {ETAG} ", 206),
        (f"W/{ETAG}", 200),
        ('"other"', 200),
        (DONE_DATE, 206),
        (EARLIER, 200),
        (LATER, 200),
        ("", 200),
    ],
)
def test_if_range(value: str, status: int) -> None:
    assert asked(range="bytes=0-9", if_range=value).status == status
    assert asked(if_range=value).status == 200


@pytest.fixture
def far_from_greenwich(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "XXX+11:30")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


UNREADABLE = ["", "yesterday", "Mon, 01 Jan 99999999999999999999 00:00:00 GMT", "Sun, 06 Nov 1994 99:49:37 GMT"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"if_match": ETAG}, 200),
        ({"if_match": f'"other", {ETAG}'}, 200),
        ({"if_match": "*"}, 200),
        ({"if_match": '"other"'}, 412),
        ({"if_match": f"W/{ETAG}"}, 412),
        ({"if_match": ""}, 412),
        ({"if_match": '"other"', "range": "bytes=0-1"}, 412),
        ({"if_match": ETAG, "if_unmodified_since": EARLIER}, 200),
        ({"if_unmodified_since": DONE_DATE}, 200),
        ({"if_unmodified_since": LATER}, 200),
        ({"if_unmodified_since": EARLIER}, 412),
        ({"if_none_match": ETAG}, 304),
        ({"if_none_match": f"W/{ETAG}"}, 304),
        ({"if_none_match": f'"other" , {ETAG}'}, 304),
        ({"if_none_match": "*"}, 304),
        ({"if_none_match": '"other"'}, 200),
        ({"if_none_match": ETAG, "range": "bytes=0-1"}, 304),
        ({"if_none_match": '"other"', "if_modified_since": LATER}, 200),
        ({"if_modified_since": DONE_DATE}, 304),
        ({"if_modified_since": LATER}, 304),
        ({"if_modified_since": "Sun Nov  6 08:49:37 1994"}, 304),
        ({"if_modified_since": EARLIER}, 200),
        ({"if_match": '"other"', "if_none_match": ETAG}, 412),
        ({"if_modified_since": "Sun Nov  6 08:49:36 1994"}, 200),
        *(({name: value}, 200) for name in ("if_modified_since", "if_unmodified_since") for value in UNREADABLE),
    ],
)
def test_conditions(headers: dict[str, str], status: int, far_from_greenwich: None) -> None:
    answer = asked(**headers)
    assert answer.status == status
    assert (answer.start, answer.stop) == ((0, len(DATA)) if status == 200 else (0, 0))
    assert said(answer)["etag"] == ETAG
    assert said(answer).get("content-length") == {200: "1024", 304: None, 412: "0"}[status]


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize(
    ("values", "status"),
    [
        ({"if-match": [ETAG, '"other"']}, 200),
        ({"if-match": ['"one"', '"other"']}, 412),
        ({"if-none-match": [ETAG, '"other"']}, 304),
        ({"range": ["bytes=0-1", "bytes=5-6"]}, 200),
        ({"range": ["bytes=0-1"], "if-range": [ETAG, '"other"']}, 200),
    ],
)
def test_a_header_on_several_lines_is_one_list(values: dict[str, list[str]], status: int, order: int) -> None:
    lines = tuple((name, value) for name, each in values.items() for value in each[::order])
    assert plan(finished(), by_name(lines)[0], INLINE).status == status


# What a browser may do with it


@pytest.mark.parametrize(
    ("claimed", "served", "kind"),
    [
        ("image/png", "image/png", "inline"),
        ("IMAGE/PNG; x=y", "image/png", "inline"),
        ("text/plain", "text/plain", "inline"),
        ("text/html", "application/octet-stream", "attachment"),
        ("image/svg+xml", "application/octet-stream", "attachment"),
        ("application/pdf", "application/octet-stream", "attachment"),
        ("image/png\r\nSet-Cookie: a=b", "application/octet-stream", "attachment"),
        ("", "application/octet-stream", "attachment"),
    ],
)
def test_a_type_is_believed_only_when_it_is_on_the_list(claimed: str, served: str, kind: str) -> None:
    headers = said(asked(finished(filetype=claimed)))
    assert (headers["content-type"], headers["content-disposition"]) == (served, kind)


def test_what_is_served_can_do_no_harm() -> None:
    headers = said(asked(finished(filetype="image/png")))
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cross-origin-resource-policy"] == "cross-origin"
    policy = [directive.split() for directive in headers["content-security-policy"].split(";")]
    assert ["sandbox"] in policy
    assert ["default-src", "'none'"] in policy
    assert ["media-src", "'self'"] in policy  # without it a browser's own page for a video shows none


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("plain name (1).txt", 'filename="plain name (1).txt"'),
        ("it's.txt", 'filename="it\'s.txt"'),
        ("naïve.txt", "filename=\"na_ve.txt\"; filename*=UTF-8''na%C3%AFve.txt"),
        ("日本", "filename=\"__\"; filename*=UTF-8''%E6%97%A5%E6%9C%AC"),
        ('a"b.txt', "filename=\"a_b.txt\"; filename*=UTF-8''a%22b.txt"),
        ("a\\b", "filename=\"a_b\"; filename*=UTF-8''a%5Cb"),
        ("100%41", "filename=\"100_41\"; filename*=UTF-8''100%2541"),
        ("a\r\nX: y", "filename=\"a__X: y\"; filename*=UTF-8''a%0D%0AX%3A%20y"),
        ("a;b='c'é", "filename=\"a;b='c'_\"; filename*=UTF-8''a%3Bb%3D%27c%27%C3%A9"),
    ],
)
def test_a_name_is_quoted(name: str, said: str) -> None:
    assert content_disposition(name, inline=False) == f"attachment; {said}"
    assert content_disposition(name, inline=True) == f"inline; {said}"


def test_the_name_comes_from_the_metadata_without_its_path() -> None:
    headers = said(asked(finished(filename="../../etc/pass\r\nwd")))
    assert headers["content-disposition"] == 'attachment; filename="passwd"'


# Sending it


class Server:
    """An ASGI application that serves one upload, and what became of the blocks."""

    def __init__(self, blocks: Callable[[int, int], AsyncGenerator[bytes, None]], size: int = len(DATA)) -> None:
        self.upload = finished(size)
        self.blocks = blocks
        self.read = 0
        self.closed = threading.Event()
        self.ended = threading.Event()

    async def __call__(self, scope: Any, receive: Receive, send_to: Send) -> None:
        assert scope["type"] == "http"
        headers = {name.decode(): value.decode("latin-1") for name, value in scope["headers"]}
        answer = plan(self.upload, headers, INLINE)
        try:
            await send(answer, self._counted(answer.start, answer.stop), receive, send_to)
        finally:
            self.ended.set()

    async def _counted(self, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        try:
            async with contextlib.aclosing(self.blocks(start, stop)) as blocks:
                async for block in blocks:
                    self.read += len(block)
                    yield block
        finally:
            self.closed.set()


async def of_data(start: int, stop: int) -> AsyncGenerator[bytes, None]:
    for at in range(start, stop, 100):
        yield DATA[at : min(stop, at + 100)]


def test_the_bytes_arrive() -> None:
    client = TestClient(Server(of_data))
    answer = client.get("/")
    assert (answer.status_code, answer.content) == (200, DATA)
    part = client.get("/", headers={"Range": "bytes=150-449", "If-Range": answer.headers["etag"]})
    assert (part.status_code, part.content) == (206, DATA[150:450])
    assert part.headers["content-range"] == "bytes 150-449/1024"


@pytest.mark.parametrize(
    ("headers", "status"),
    [({"If-None-Match": ETAG}, 304), ({"If-Match": '"x"'}, 412), ({"Range": "bytes=2000-"}, 416)],
)
def test_an_answer_without_a_body_reads_nothing(headers: dict[str, str], status: int) -> None:
    server = Server(of_data)
    answer = TestClient(server).get("/", headers=headers)
    assert (answer.status_code, answer.content, server.read) == (status, b"", 0)


def test_it_is_right_on_a_real_connection_too() -> None:
    server = Server(of_data)
    with serving(server, lifespan=False) as url, socket.create_connection(("127.0.0.1", port(url)), 10) as raw:
        for headers, status, body in [
            ("Range: bytes=-24", b"206", DATA[-24:]),
            (f"If-None-Match: {ETAG}", b"304", b""),
            ("Range: bytes=2000-", b"416", b""),
            ("Accept: */*", b"200", DATA),
        ]:
            raw.sendall(f"GET / HTTP/1.1\r\nHost: x\r\n{headers}\r\n\r\n".encode())
            head = read_head(raw)
            assert head.split(b" ")[1] == status
            assert read_exactly(raw, len(body)) == body


SIZE = 1 << 40
BLOCK = bytes(64 * 1024)


async def without_end(start: int, stop: int) -> AsyncGenerator[bytes, None]:
    while True:
        await asyncio.sleep(0)
        yield BLOCK


def port(url: str) -> int:
    return urlsplit(url).port or 0


def read_head(raw: socket.socket) -> bytes:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += read_exactly(raw, 1)
    return head


def read_exactly(raw: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        received = raw.recv(size - len(data))
        assert received, "the connection ended"
        data += received
    return data


@pytest.mark.parametrize("reads", [True, False], ids=["while it reads", "while it stalls"])
def test_no_more_is_read_for_a_client_that_has_gone(reads: bool) -> None:
    server = Server(without_end, size=SIZE)
    with serving(server, lifespan=False) as url:
        with socket.create_connection(("127.0.0.1", port(url)), 10) as raw:
            raw.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            wait_for(lambda: server.read > 0)
            if reads:
                read_exactly(raw, 4 * len(BLOCK))
        assert server.closed.wait(10), "the blocks are still being read"
        assert server.ended.wait(10)
    assert server.read < SIZE


@pytest.mark.parametrize("failing", ["http.response.start", "http.response.body"])
def test_the_blocks_are_closed_when_sending_fails(failing: str) -> None:
    blocks = of_data(0, len(DATA))  # held here, so that nobody else closes them

    async def receive() -> dict[str, Any]:
        await asyncio.Event().wait()
        raise AssertionError

    async def send_to(message: dict[str, Any]) -> None:
        if message["type"] == failing:
            raise ConnectionResetError

    async def served() -> list[bytes]:
        with pytest.raises(ConnectionResetError):
            await send(asked(), blocks, receive, send_to)
        return [block async for block in blocks]

    assert asyncio.run(served()) == []


async def never(start: int, stop: int) -> AsyncGenerator[bytes, None]:
    raise BytesMissing
    yield b""


def test_missing_bytes_are_noticed_before_anything_is_sent() -> None:
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        await asyncio.Event().wait()
        raise AssertionError

    async def send_to(message: dict[str, Any]) -> None:
        sent.append(message)

    server = Server(never)
    with pytest.raises(BytesMissing):
        asyncio.run(server({"type": "http", "headers": []}, receive, send_to))
    assert sent == []
    assert server.closed.is_set()
