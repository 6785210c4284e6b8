"""Which protocol class speaks HTTP, by the uvicorn that is there; and answers that go out in one go."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from tests.serving import serving
from tusserver import connection
from tusserver.connection import PlainProtocol, UploadProtocol, protocol
from tusserver.exchange import Headers, on_the_wire, sent_whole


def test_ours_where_uvicorn_is_the_known_one() -> None:
    assert protocol(True) is UploadProtocol
    assert protocol(False) is PlainProtocol


class OtherCycle:
    """A request of a uvicorn to come, which is made of other things."""

    def __init__(self, scope: object, stream: object) -> None:
        self.body, self.more_body, self.waiting_for_100_continue = b"", True, False


class OtherConnection(asyncio.Protocol):
    """A connection of a uvicorn to come."""


@pytest.mark.parametrize(
    ("name", "other"), [("RequestResponseCycle", OtherCycle), ("HttpToolsProtocol", OtherConnection)]
)
def test_uvicorns_own_where_it_is_not(
    name: str, other: type, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert {"RequestResponseCycle": RequestResponseCycle, "HttpToolsProtocol": HttpToolsProtocol}[name] is not other
    monkeypatch.setattr(connection, name, other)
    assert protocol(True) == "auto"
    assert "Install the uvicorn that tusserver asks for" in caplog.text


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


def said(url: str, requests: str) -> bytes:
    """What is on the wire until the server hangs up, but for the date."""
    where = urlsplit(url)
    with socket.create_connection((where.hostname, where.port), timeout=20) as raw:
        raw.sendall(requests.encode())
        answer = b""
        while block := raw.recv(65536):
            answer += block
    return re.sub(rb"date: [^\r]*", b"date: then", answer)


@pytest.mark.parametrize(
    "requests",
    [
        "GET /{}/200 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        "HEAD /{}/200 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        "PATCH /{}/204 HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc",
        "GET /{}/404 HTTP/1.0\r\n\r\n",
        "POST /{}/201 HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        "HEAD /{}/200 HTTP/1.1\r\nHost: x\r\n\r\nGET /{}/200 HTTP/1.1\r\nHost: x\r\n\r\n"
        "GET /{}/503 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    ],
    ids=["body", "head", "no content", "1.0", "expect", "pipelined"],
)
def test_an_answer_in_one_go_is_the_same_on_the_wire(url: str, requests: str) -> None:
    whole = said(url, requests.replace("{}", "whole"))
    assert whole == said(url, requests.replace("{}", "messages"))
    assert whole.count(b"HTTP/1.1 ") == requests.count(" HTTP/1.")
    assert b"upload-metadata: name \xe9\r\n" in whole


@pytest.mark.parametrize("value", ["a\r\nset-cookie: x", "a\nb", "a\rb", "a\0b"])
def test_a_value_that_would_end_its_line_is_not_sent(value: str) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        headers = [("Tus-Resumable", "1.0.0"), ("Upload-Metadata", value)]
        assert not sent_whole(send, 200, headers, b"")
        await send({"type": "http.response.start", "status": 200, "headers": on_the_wire(headers)})

    with serving(app, lifespan=False, http=UploadProtocol) as url:
        answer = said(url, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert b"set-cookie" not in answer and b"1.0.0" not in answer


def test_who_wraps_send_sees_every_answer() -> None:
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async def wrapped(message: Any) -> None:
            seen.append(message["type"])
            await send(message)

        assert not sent_whole(wrapped, 200, [], b"")
        await answering({**scope, "path": "/messages/200"}, receive, wrapped)

    with serving(app, lifespan=False, http=UploadProtocol) as url:
        assert b"an answer" in said(url, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert seen == ["http.response.start", "http.response.body"]
