"""A connection of ``tusserver serve``: which class that is, by the uvicorn that is there; and requests that come in
unusual ways."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import socket
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from tests.e2e.server import wait_for
from tests.http.wire import Wire
from tests.serving import serving
from tusserver import connection, patience, server
from tusserver.connection import PlainProtocol, UploadProtocol
from tusserver.cycle import Cycle
from tusserver.parser import Parser
from tusserver.server import protocol


def test_ours_where_uvicorn_is_the_known_one() -> None:
    assert protocol(True) is UploadProtocol
    assert protocol(False) is PlainProtocol


class OtherState:
    """What the connections of a uvicorn to come share, which is kept otherwise."""

    def __init__(self) -> None:
        self.connections, self.tasks = set[Any](), 0


class OtherConnection(asyncio.Protocol):
    """A connection of a uvicorn to come."""


@pytest.mark.parametrize(("name", "other"), [("ServerState", OtherState), ("HttpToolsProtocol", OtherConnection)])
def test_uvicorns_own_where_it_is_not(
    name: str, other: type, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert {"ServerState": ServerState, "HttpToolsProtocol": HttpToolsProtocol}[name] is not other
    monkeypatch.setattr(server, name, other)
    assert protocol(True) == "auto"
    assert "Install the uvicorn that tusserver asks for" in caplog.text


class Echo:
    """An application that answers with the method, the path and the body of each request; to ``/wait`` once ``go``
    says so, or the client has gone; to ``/early`` before the body. ``asked``: the paths so far. ``gone``: those whose
    client had gone by the end."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.gone: list[str] = []
        self.go = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        path = scope["path"]
        self.asked.append(path)
        body, more, gone = b"", path != "/early", False
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
            gone = message["type"] == "http.disconnect"
        while path == "/wait" and not (self.go or gone):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.01):
                    gone = (await receive())["type"] == "http.disconnect"
        if gone:
            self.gone.append(path)
        answer = b"%b %b %b" % (scope["method"].encode(), path.encode(), body)
        headers = [(b"content-length", b"%d" % len(answer))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
def url(echo: Echo) -> Iterator[str]:
    with serving(echo, lifespan=False, http=UploadProtocol) as url:
        yield url


@pytest.fixture
def wire(url: str) -> Iterator[Wire]:
    with contextlib.closing(Wire(urlsplit(url).port or 0)) as wire:
        yield wire


def get(path: str) -> str:
    return f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"


# Another protocol that a client would rather speak

UPGRADE = (
    "Host: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n"
)


@pytest.mark.parametrize(
    ("framing", "body"),
    [
        ("Content-Length: 5\r\n", "hello"),
        ("Transfer-Encoding: chunked\r\n", "3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\nTrailer: X\r\n", "5\r\nhello\r\n0\r\nX: y\r\n\r\n"),
    ],
)
@pytest.mark.parametrize("at_once", [True, False])
def test_a_request_that_asks_for_another_protocol_is_answered_in_this_one(
    echo: Echo, wire: Wire, framing: str, body: str, at_once: bool
) -> None:
    """RFC 9110 section 7.8: a server may ignore Upgrade. What follows the head is then the body."""
    head = f"PATCH /a HTTP/1.1\r\n{UPGRADE}{framing}\r\n"
    wire.send(head)
    if not at_once:
        wait_for(lambda: bool(echo.asked), what="the head to arrive")
    wire.send(body, get("/b"))
    assert wire.read().body == b"PATCH /a hello"
    assert wire.read().body == b"GET /b "


def test_a_body_behind_such_a_head_is_no_request(echo: Echo, wire: Wire) -> None:
    inner = get("/smuggled")
    wire.send(f"POST /a HTTP/1.1\r\n{UPGRADE}Content-Length: {len(inner)}\r\n\r\n")
    wait_for(lambda: bool(echo.asked), what="the head to arrive")
    wire.send(inner)
    assert wire.read().body == f"POST /a {inner}".encode()
    assert echo.asked == ["/a"]


def test_many_such_requests_at_once(wire: Wire) -> None:
    wire.send(f"GET /a HTTP/1.1\r\n{UPGRADE}\r\n" * 90, get("/b"))
    assert [wire.read().body for _ in range(91)] == [b"GET /a "] * 90 + [b"GET /b "]


# Requests that do not wait for the answer to the one before


def test_they_are_answered_one_after_the_other(echo: Echo, wire: Wire) -> None:
    wire.send(get("/wait"), get("/a"), "POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc")
    wait_for(lambda: echo.asked == ["/wait"], what="the first to be asked")
    assert wire.silent()
    assert echo.asked == ["/wait"]
    echo.go = True
    assert [wire.read().body for _ in range(3)] == [b"GET /wait ", b"GET /a ", b"POST /b abc"]


def test_not_too_many_of_them_are_read(echo: Echo, wire: Wire) -> None:
    """Else a client that never waits would fill the memory."""
    some = f"GET /a HTTP/1.1\r\nHost: x\r\nX: {'x' * 8000}\r\n\r\n".encode()
    wire.send(get("/wait"))
    wire.raw.settimeout(1)
    sent = 0
    with pytest.raises(TimeoutError):
        while sent < 64 * 1024 * 1024:  # several times what the kernel keeps
            sent += wire.raw.send(some[sent % len(some) :])
    assert echo.asked == ["/wait"]
    wire.raw.settimeout(10)
    echo.go = True
    assert wire.read().body == b"GET /wait "
    assert {wire.read().body for _ in range(sent // len(some))} == {b"GET /a "}


def test_not_too_much_of_a_body_behind_is_read(echo: Echo, wire: Wire) -> None:
    wire.send(get("/wait"), "POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 67108864\r\n\r\n")
    wire.raw.settimeout(1)
    some, sent = b"x" * 65536, 0
    with pytest.raises(TimeoutError):
        while sent < 64 * 1024 * 1024:
            sent += wire.raw.send(some)
    assert echo.asked == ["/wait"]


def test_of_those_that_come_at_once_a_hundred_are_answered(echo: Echo, wire: Wire) -> None:
    """The client has to send the others again, as after any connection that closes: RFC 9112 section 9.3.2."""
    wire.send(get("/a") * 2000)
    assert {wire.read().body for _ in range(connection.MOST_PIPELINED)} == {b"GET /a "}
    assert wire.ended()
    assert len(echo.asked) == connection.MOST_PIPELINED


BEHIND = [
    "POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n",
    "PATCH /b HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000\r\n\r\n",
    "nonsense\r\n\r\n",
]


@pytest.mark.parametrize("behind", BEHIND)
def test_who_waits_is_told_that_the_client_has_gone_whatever_came_behind(echo: Echo, wire: Wire, behind: str) -> None:
    wire.send(get("/wait"), behind)
    wait_for(lambda: echo.asked == ["/wait"], what="the first to be asked")
    wire.raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    wire.close()
    wait_for(lambda: echo.gone == ["/wait"], what="the first to hear of it")
    assert echo.asked == ["/wait"]


def test_what_comes_behind_the_last_is_not_answered(echo: Echo, wire: Wire) -> None:
    wire.send("GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", get("/b"))
    assert wire.read().body == b"GET /a "
    assert wire.ended()
    assert echo.asked == ["/a"]


# What is no HTTP, or not in time


def test_nonsense_is_told_in_json(wire: Wire) -> None:
    wire.send("nonsense\r\n\r\n")
    answer = wire.read()
    assert answer.status == 400 and answer.headers["connection"] == "close"
    assert json.loads(answer.body)["error"] == "bad_request"
    assert wire.ended()


@pytest.mark.parametrize("nonsense", ["nonsense\r\n\r\n", "nonsense" * 1_000_000, "X: y" * connection.MAX_HEAD])
def test_requests_before_nonsense_are_answered(echo: Echo, wire: Wire, nonsense: str) -> None:
    wire.send(get("/wait"), get("/a"), nonsense)
    wait_for(lambda: echo.asked == ["/wait"], what="the first to be asked")
    assert wire.silent()
    echo.go = True
    assert [wire.read().body for _ in range(2)] == [b"GET /wait ", b"GET /a "]
    assert wire.ended()


def test_a_body_that_breaks_off_in_nonsense_is_told_to_the_application(echo: Echo, wire: Wire) -> None:
    wire.send("POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
    wait_for(lambda: echo.asked == ["/a"], what="the head to arrive")
    wire.send("nonsense\r\n")
    assert wire.read().status == 400
    wait_for(lambda: echo.gone == ["/a"], what="the application to hear of it")


def test_trailers_are_bounded_also_where_more_comes_at_once(echo: Echo, wire: Wire) -> None:
    body = f"3\r\nabc\r\n0\r\n{'X: y' * 3000}\r\n\r\n"
    wire.send("POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", body, get("/b"))
    answer = wire.read()
    assert answer.status == 431 and json.loads(answer.body)["error"] == "trailers_too_large"
    assert wire.ended() and "/b" not in echo.asked


def test_what_comes_before_a_head_is_no_part_of_it(wire: Wire) -> None:
    body = "x" * (connection.MAX_HEAD - 1000)
    wire.send(f"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n")
    wire.send(body, f"GET /b HTTP/1.1\r\nHost: x\r\nX: {'y' * 2000}")
    assert wire.read().body.endswith(b"x")
    wire.send("\r\n\r\n")
    assert wire.read().body == b"GET /b "


# Answers that do not wait for the body


def test_a_connection_on_which_a_body_may_come_or_not_is_not_used_again(echo: Echo, wire: Wire) -> None:
    """Who has asked whether to send it may do so all the same, or not (RFC 9110 section 10.1.1)."""
    wire.send("POST /early HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 40\r\n\r\n")
    answer = wire.read()
    assert answer.status == 200 and answer.headers["connection"] == "close"
    assert wire.ended()
    assert echo.asked == ["/early"]


def test_one_on_which_it_comes_is(wire: Wire) -> None:
    wire.send("POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: 300000\r\n\r\n")
    assert wire.read().body == b"POST /early "
    wire.send("x" * 300_000, get("/b"))
    assert wire.read().body == b"GET /b "


def test_permission_is_given_also_with_a_blank_behind(wire: Wire) -> None:
    wire.send("POST /a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue \r\nContent-Length: 3\r\n\r\n")
    assert wire.read(head_only=True).status == 100
    wire.send("abc")
    assert wire.read().body == b"POST /a abc"


def test_a_head_that_breaks_off_is_told_of_in_time(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setattr(patience, "HEAD_SECONDS", 0.2)
    port = urlsplit(url).port or 0
    for begun in ("", "GET / HT", get("/a") + "GET / HTTP/1.1\r\nX: "):
        with contextlib.closing(Wire(port)) as wire:
            wire.send(begun)
            if begun.startswith(get("/a")):
                assert wire.read().body == b"GET /a "
            answer = wire.read()
            assert answer.status == 408 and json.loads(answer.body)["error"] == "headers_timeout"
            assert wire.ended()


# Connections that nobody uses


class Idle:
    """A connection that is to be closed when it has been idle for 0.2 seconds. ``ended``: when it was."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.ended = self.loop.create_future()
        self.waits = patience.Patience(
            self.loop, keep_alive=0.2, late=lambda: None, idle=lambda: self.ended.set_result(self.loop.time())
        )

    async def pass_by(self, seconds: float) -> bool:
        """Whether it is still open after so many seconds."""
        done, _ = await asyncio.wait({self.ended}, timeout=seconds)
        return not done


@pytest.mark.anyio
async def test_an_idle_connection_is_closed_after_a_while() -> None:
    idle = Idle()
    began = idle.loop.time()
    idle.waits.rest()
    assert not await idle.pass_by(20)
    assert idle.ended.result() - began >= 0.2


@pytest.mark.anyio
async def test_the_while_begins_with_the_last_answer() -> None:
    idle = Idle()
    for _ in range(5):
        last = idle.loop.time()
        idle.waits.rest()
        await idle.pass_by(0.08)
    assert not await idle.pass_by(20)
    assert idle.ended.result() - last >= 0.2


@pytest.mark.anyio
async def test_a_connection_at_work_is_not_idle() -> None:
    idle = Idle()
    idle.waits.rest()
    idle.waits.head_complete()
    assert await idle.pass_by(0.5)
    idle.waits.rest()
    assert not await idle.pass_by(20)


@pytest.mark.anyio
async def test_nobody_waits_for_a_connection_that_has_ended() -> None:
    idle = Idle()
    idle.waits.rest()
    idle.waits.end()
    assert await idle.pass_by(0.5)


def test_an_upload_that_lasts_longer_is_not_idle(echo: Echo) -> None:
    with (
        serving(echo, lifespan=False, http=UploadProtocol, keep_alive=1) as url,
        contextlib.closing(Wire(urlsplit(url).port or 0)) as wire,
    ):
        wire.send(get("/a"))
        assert wire.read().body == b"GET /a "
        wire.send("PATCH /b HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nabc")
        assert wire.silent(2.5)
        wire.send("def")
        assert wire.read().body == b"PATCH /b abcdef"


def test_what_has_ended_leaves_nothing_to_the_garbage_collector(url: str) -> None:
    def left() -> int:
        return sum(isinstance(each, UploadProtocol | Cycle | Parser) for each in gc.get_objects())

    gc.collect()
    gc.disable()
    try:
        for _ in range(20):
            with contextlib.closing(Wire(urlsplit(url).port or 0)) as wire:
                wire.send(get("/a"), "POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc")
                assert [wire.read().body for _ in range(2)] == [b"GET /a ", b"POST /b abc"]
        wait_for(lambda: left() == 0, what="nothing to be left")
    finally:
        gc.enable()


def test_line_ends_between_requests_keep_no_connection(url: str) -> None:
    """RFC 9112 section 2.2 lets them pass; they are nothing that a server would wait for."""
    began = time.monotonic()
    with contextlib.closing(Wire(urlsplit(url).port or 0)) as wire:
        wire.send(get("/a"))
        assert wire.read().body == b"GET /a "
        wire.send("\r\n")
        assert wire.ended()
    assert time.monotonic() - began >= 1
