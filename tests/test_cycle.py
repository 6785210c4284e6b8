"""One request and its response: what an ASGI application sees and sends, compared with uvicorn's own connections."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tests.serving import serving
from tusserver.connection import UploadProtocol
from tusserver.exchange import Headers, on_the_wire, sent_whole

CLOSE = "Host: x\r\nConnection: close\r\n\r\n"


def said(url: str, requests: str) -> bytes:
    """What is on the wire until the server hangs up, but for the date."""
    where = urlsplit(url)
    with socket.create_connection((where.hostname, where.port), timeout=20) as raw:
        raw.sendall(requests.encode("latin-1"))
        answer = b""
        while block := raw.recv(65536):
            answer += block
    return re.sub(rb"date: [^\r]*", b"date: then", answer)


# Answers in one go: on the wire they are what two ASGI messages would have made of them


async def answering(scope: Any, receive: Any, send: Any) -> None:
    """Answers as the path says: ``/<whole or messages>/<status>``."""
    _, how, status = scope["path"].split("/")
    headers: Headers = [("Tus-Resumable", "1.0.0"), ("Upload-Metadata", "name \xe9")]
    body = b"" if status == "204" else b"an answer"
    if status != "204" and scope["method"] != "HEAD":
        headers = [*headers, ("Content-Length", str(len(body)))]
    if how == "whole":
        assert sent_whole(send, int(status), headers, body)
        assert not sent_whole(send, 200, [], b""), "an answer to what has been answered"
        return
    await send({"type": "http.response.start", "status": int(status), "headers": on_the_wire(headers)})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving(answering, lifespan=False, http=UploadProtocol) as url:
        yield url


@pytest.mark.parametrize(
    "requests",
    [
        f"GET /{{}}/200 HTTP/1.1\r\n{CLOSE}",
        f"HEAD /{{}}/200 HTTP/1.1\r\n{CLOSE}",
        f"PATCH /{{}}/204 HTTP/1.1\r\nContent-Length: 3\r\n{CLOSE}abc",
        "GET /{}/404 HTTP/1.0\r\n\r\n",
        f"POST /{{}}/201 HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 0\r\n{CLOSE}",
        "HEAD /{}/200 HTTP/1.1\r\nHost: x\r\n\r\nGET /{}/200 HTTP/1.1\r\nHost: x\r\n\r\n"
        f"GET /{{}}/503 HTTP/1.1\r\n{CLOSE}",
    ],
    ids=["body", "head", "no content", "1.0", "expect", "pipelined"],
)
def test_an_answer_in_one_go_is_the_same_on_the_wire(url: str, requests: str) -> None:
    whole = said(url, requests.replace("{}", "whole"))
    assert whole == said(url, requests.replace("{}", "messages"))
    assert whole.count(b"HTTP/1.1 ") == requests.count(" HTTP/1.")
    assert b"upload-metadata: name \xe9\r\n" in whole


@pytest.mark.parametrize("value", ["a\r\nset-cookie: x", "a\nb", "a\rb", "a\0b", "\u20ac"])
def test_a_value_that_no_header_may_have_is_not_sent(value: str) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        headers = [("Tus-Resumable", "1.0.0"), ("Upload-Metadata", value)]
        assert not sent_whole(send, 200, headers, b"")
        await send({"type": "http.response.start", "status": 200, "headers": on_the_wire(headers)})

    with serving(app, lifespan=False, http=UploadProtocol) as url:
        answer = said(url, f"GET / HTTP/1.1\r\n{CLOSE}")
    assert answer.startswith(b"HTTP/1.1 500 ") and b"set-cookie" not in answer and b"1.0.0" not in answer


def test_who_wraps_send_sees_every_answer() -> None:
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async def wrapped(message: Any) -> None:
            seen.append(message["type"])
            await send(message)

        assert not sent_whole(wrapped, 200, [], b"")
        await answering({**scope, "path": "/messages/200"}, receive, wrapped)

    with serving(app, lifespan=False, http=UploadProtocol) as url:
        assert b"an answer" in said(url, f"GET / HTTP/1.1\r\n{CLOSE}")
    assert seen == ["http.response.start", "http.response.body"]


# What an application does by messages, beside uvicorn's own

START: Any = {"type": "http.response.start", "status": 200, "headers": [(b"X-Is", b"there")]}


def start(status: int = 200, *headers: tuple[bytes, bytes]) -> Any:
    return {"type": "http.response.start", "status": status, "headers": [(b"x-is", b"there"), *headers]}


def body(block: bytes, more: bool = False) -> Any:
    return {"type": "http.response.body", "body": block, "more_body": more}


LENGTH = (b"content-length", b"6")

ANSWERS: dict[str, list[Any]] = {
    "length": [start(200, LENGTH), body(b"abcdef")],
    "length-in-parts": [start(200, LENGTH), body(b"abc", True), body(b"", True), body(b"def")],
    "chunks": [start(), body(b"abc", True), body(b"", True), body(b"def", True), body(b"")],
    "chunks-said": [start(200, (b"transfer-encoding", b"chunked")), body(b"abc", True), body(b"def")],
    "no-body": [start(204), body(b"")],
    "unchanged": [start(304), body(b"")],
    "empty": [start(200, (b"content-length", b"0")), body(b"")],
    "closing": [start(200, LENGTH, (b"connection", b"close")), body(b"abcdef")],
    "no-headers": [{"type": "http.response.start", "status": 299}, {"type": "http.response.body"}],
    "too-short": [start(200, LENGTH), body(b"abc")],
    "too-long": [start(200, LENGTH), body(b"abcdefg")],
    "upside-down": [body(b"abc"), start()],
    "twice": [start(), start()],
    "incomplete": [start(), body(b"abc", True)],
    "nothing": [],
}


async def scripted(scope: Any, receive: Any, send: Any) -> None:
    """Sends what ANSWERS has for the path's name."""
    for message in ANSWERS[scope["path"].rsplit("/", 1)[1]]:
        await send(message)


@pytest.fixture(scope="module")
def both() -> Iterator[tuple[str, str]]:
    """The same application at uvicorn's connections, and at ours."""
    with (
        serving(scripted, lifespan=False, http=HttpToolsProtocol) as theirs,
        serving(scripted, lifespan=False, http=UploadProtocol) as ours,
    ):
        yield theirs, ours


def plain(answer: bytes) -> bytes:
    """Without what is each server's own: the order in which it tells of the connection, and its words for a failure."""
    head, _, rest = answer.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    lines = [line for line in lines if not line.startswith((b"content-type: text/plain", b"content-length: 2"))]
    rest = rest.removesuffix(b"Internal Server Error")
    return b"\r\n".join([first, *sorted(lines), b"", rest])


@pytest.mark.parametrize("name", ANSWERS)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_response_is_as_uvicorns(both: tuple[str, str], method: str, name: str) -> None:
    theirs, ours = (said(url, f"{method} /{name} HTTP/1.1\r\n{CLOSE}") for url in both)
    assert plain(ours) == plain(theirs)
    if method == "GET" and name in ("nothing", "upside-down"):
        assert ours.startswith(b"HTTP/1.1 500 ")


def test_a_client_that_knows_no_chunks_gets_none(both: tuple[str, str]) -> None:
    """RFC 9112 section 6.1; the body ends with the connection."""
    head, _, rest = said(both[1], "GET /chunks HTTP/1.0\r\n\r\n").partition(b"\r\n\r\n")
    assert rest == b"abcdef" and b"chunked" not in head and b"connection: close" in head


@pytest.mark.parametrize("header", [(b"x y", b"z"), (b"", b"z"), (b"x", b"a\r\nset-cookie: z"), (b"x:", b"z")])
def test_a_header_that_is_none_is_not_sent(header: tuple[bytes, bytes]) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(start(200, header))

    with serving(app, lifespan=False, http=UploadProtocol) as url:
        answer = said(url, f"GET / HTTP/1.1\r\n{CLOSE}")
    assert answer.startswith(b"HTTP/1.1 500 ") and b"z" not in answer


def test_what_fails_ends_its_own_request_only(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/fails":
            raise ValueError("on purpose")
        if scope["path"] == "/is-cancelled":
            raise asyncio.CancelledError
        await send(start(204))
        await send(body(b""))

    with serving(app, lifespan=False, http=UploadProtocol) as url:
        for path, status in {"/fails": b"500", "/is-cancelled": b"503", "/": b"204"}.items():
            assert said(url, f"GET {path} HTTP/1.1\r\n{CLOSE}").startswith(b"HTTP/1.1 " + status)
    errors = [record.exc_info[1] for record in caplog.records if record.exc_info]
    assert [repr(error) for error in errors] == ["ValueError('on purpose')"], "that one was cancelled is no error"


async def telling(scope: Any, receive: Any, send: Any) -> None:
    """Answers with what it is told of a request."""
    told = {name: scope[name] for name in sorted(scope) if name not in ("server", "client", "extensions", "state")}
    got, more = b"", True
    while more:
        message = await receive()
        got, more = got + message.get("body", b""), message.get("more_body", False)
    await send(start())
    await send(body(repr((told, got, message["type"])).encode()))


@pytest.mark.parametrize(
    "request_",
    [
        f"GET / HTTP/1.1\r\n{CLOSE}",
        f"GET /a%20b/%c3%a9?c=%20&d HTTP/1.1\r\nX: 1\r\nx: 2\r\n{CLOSE}",
        f"GET http://elsewhere/a?b HTTP/1.1\r\n{CLOSE}",
        f"OPTIONS * HTTP/1.1\r\n{CLOSE}",
        f"GET //a//b HTTP/1.1\r\n{CLOSE}",
        f"POST /a HTTP/1.1\r\nContent-Length: 6\r\n{CLOSE}abcdef",
        f"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n{CLOSE}3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n",
        f"MKCOL /a HTTP/1.1\r\nX:  padded \r\nY:\r\n{CLOSE}",
        "GET /old HTTP/1.0\r\n\r\n",
    ],
)
def test_a_request_is_told_as_uvicorn_does(request_: str) -> None:
    answers = []
    for http in (HttpToolsProtocol, UploadProtocol):
        with serving(telling, lifespan=False, http=http) as url:
            answer = said(url, request_)
            assert answer.startswith(b"HTTP/1.1 200 ")
            answers.append(re.findall(rb"\(\{.*\)", answer))
    assert answers[0] == answers[1]
