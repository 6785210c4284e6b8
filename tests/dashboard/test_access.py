"""Who gets to see the dashboard and to press its buttons, and who does not."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from starlette.requests import Request
from starlette.responses import Response

from tests.dashboard.asking import TOKEN, logged_in, told
from tests.e2e.conftest import start as start
from tests.e2e.server import OCTETS, TUS, ServerProcess
from tusserver.admin_token import CLIENTS, GUESSES, WITHIN, AdminToken, TooManyGuesses
from tusserver.app import create_app
from tusserver.dashboard import pages
from tusserver.dashboard.access import COOKIE, SESSION_SECONDS, Access
from tusserver.origin import Origin
from tusserver.settings import Settings

PATHS = ("", "/events", "/uploads", f"/uploads/{'0' * 32}")


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server without a token."""
    yield from served(tmp_path_factory, {})


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server with a token."""
    yield from served(tmp_path_factory, {"admin_token": TOKEN})


def served(factory: pytest.TempPathFactory, settings: dict[str, object]) -> Iterator[ServerProcess]:
    server = ServerProcess(factory.mktemp("dashboard"), settings)
    server.start()
    yield server
    server.stop()


def status(server: ServerProcess, path: str = "", **headers: str) -> int:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    with requests.get(f"{server.origin}/dashboard{path}", headers=named, timeout=10, stream=True) as answer:
        return answer.status_code


def test_whoever_is_local_sees_it(local: ServerProcess) -> None:
    assert status(local) == 200
    assert told(local, lambda seen: True)["active"] == []
    assert status(local, Host=f"localhost:{local.port}") == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Forwarded": "for=192.0.2.1"},
        {"X-Forwarded-For": "127.0.0.1"},
        {"X-Forwarded-Host": "up.example"},
        {"X-Forwarded-Server": "proxy.example"},
        {"X-Forwarded-Port": "443"},
        {"X-Real-IP": "192.0.2.1"},
        {"Via": "1.1 proxy"},
        {"Host": "rebound.example"},
        {"Host": "localhost.rebound.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Referer": "http://elsewhere.example/"},
    ],
    ids=str,
)
@pytest.mark.parametrize("path", PATHS)
def test_nobody_else_is_local(local: ServerProcess, path: str, headers: dict[str, str]) -> None:
    assert status(local, path, **headers) == (403 if path == "" else 401)


@pytest.mark.parametrize("settings", [{"public_url": "https://up.example"}, {"trusted_proxies": "127.0.0.1"}], ids=str)
def test_behind_a_proxy_nobody_is_local(start: Callable[..., ServerProcess], settings: dict[str, str]) -> None:
    server = start(**settings)
    assert [status(server, path) for path in PATHS] == [403, 401, 401, 401]


@pytest.mark.parametrize("client", ["192.0.2.7", "::ffff:192.0.2.7", "testclient", None])
def test_another_machine_is_not_local(client: str | None) -> None:
    assert not Access(None).may_see(a_request({"host": "localhost"}, client))
    assert Access(None).may_see(a_request({"host": "localhost"}, "::ffff:127.0.0.1"))


def test_with_a_token_being_local_does_not_do(guarded: ServerProcess) -> None:
    assert [status(guarded, path) for path in PATHS] == [401] * 4
    assert [status(guarded, path, Authorization="Bearer wrong") for path in PATHS] == [401] * 4
    assert [status(guarded, path, Authorization=f"Bearer {TOKEN}") for path in PATHS] == [200, 200, 200, 404]


def test_the_form_takes_the_token(guarded: ServerProcess) -> None:
    session = logged_in(guarded)
    (cookie,) = session.cookies.get_dict(path="/dashboard")
    assert cookie == COOKIE
    assert told(guarded, lambda seen: True, session)["trouble"] is None
    session.post(f"{guarded.origin}/dashboard/logout", headers={"Origin": guarded.origin}, timeout=10)
    assert session.get(f"{guarded.origin}/dashboard/uploads", timeout=10).status_code == 401


def test_the_cookie_is_for_this_site_and_no_script(guarded: ServerProcess) -> None:
    answer = login(guarded, TOKEN, Origin=guarded.origin)
    assert answer.status_code == 303
    said = answer.headers["Set-Cookie"]
    assert "HttpOnly" in said
    assert "samesite=strict" in said.lower()
    assert TOKEN not in said


def test_a_wrong_token_is_told(guarded: ServerProcess) -> None:
    answer = login(guarded, "wrong", Origin=guarded.origin)
    assert (answer.status_code, "Set-Cookie" in answer.headers) == (401, False)
    assert "That is not the admin token" in answer.text
    assert login(guarded, "x" * 5000, Origin=guarded.origin).status_code == 413


def test_whoever_guesses_is_not_listened_to_and_nobody_else_is_held_up(start: Callable[..., ServerProcess]) -> None:
    server = start(admin_token=TOKEN, trusted_proxies="127.0.0.1")

    def answers(client: str, token: str) -> list[requests.Response]:
        headers = {"X-Forwarded-For": client, "Origin": server.origin}
        bearing = {**headers, "Authorization": f"Bearer {token}"}
        return [
            requests.get(f"{server.origin}/admin/stats", headers=bearing, timeout=10),
            requests.get(f"{server.origin}/dashboard/uploads", headers=bearing, timeout=10),
            login(server, token, **headers),
        ]

    session = logged_in(server)
    for _ in range(3):
        assert [answer.status_code for answer in answers("127.0.0.1", "wrong")] == [401, 401, 401]
    assert [answer.status_code for answer in answers("127.0.0.1", "wrong")] == [401, 429, 429]
    for answer in answers("127.0.0.1", TOKEN):
        assert answer.status_code == 429
        assert 1 <= int(answer.headers["Retry-After"]) <= WITHIN
        assert "wait a minute" in answer.text
        assert "Set-Cookie" not in answer.headers
    assert [answer.status_code for answer in answers("192.0.2.1", TOKEN)] == [200, 200, 303]
    assert session.get(f"{server.origin}/dashboard/uploads", timeout=10).status_code == 200


def test_guesses_are_forgotten_and_their_number_is_bounded() -> None:
    now = [1000.0]
    token = AdminToken(TOKEN, Origin().client, clock=lambda: now[0])

    def guessed(client: str, brought: str = "wrong") -> bool | None:
        try:
            return token.is_said(brought, a_request({}, client))
        except TooManyGuesses:
            return None

    assert [guessed("2001:db8::1") for _ in range(GUESSES)] == [False] * GUESSES
    assert guessed("2001:db8::ffff", TOKEN) is None, "the same network"
    assert guessed("2001:db8:0:1::1", TOKEN) is True
    now[0] += WITHIN
    assert guessed("2001:db8::1", TOKEN) is True
    assert guessed("2001:db8::1") is False, "the old ones count no more"
    assert guessed("2001:db8::1") is False
    for number in range(GUESSES):
        assert guessed("192.0.2.1") is False, number
    assert guessed("::ffff:192.0.2.1", TOKEN) is None
    for number in range(CLIENTS):
        guessed(f"10.0.{number // 256}.{number % 256}")
    assert guessed("192.0.2.1", TOKEN) is True, "forgotten for those that came later"


@pytest.mark.anyio
async def test_a_form_that_does_not_end_is_not_waited_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(pages, "FORM_SECONDS", 0.05)
    app = create_app(Settings(sessions="memory:", storage=f"disk:{tmp_path}", admin_token=TOKEN))
    sent: list[Any] = []
    blocks = [{"type": "http.request", "body": b"token=", "more_body": True}]

    async def receive() -> Any:
        return blocks.pop() if blocks else await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {**a_request({"host": "up", "origin": "http://up"}).scope, "method": "POST", "path": "/dashboard/login"}
    async with asyncio.timeout(20):
        await app(scope, receive, send)
    assert sent[0]["status"] == 408
    assert (b"connection", b"close") in sent[0]["headers"]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "http://elsewhere.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
    ids=str,
)
@pytest.mark.parametrize("token", [True, False], ids=["token", "local"])
def test_no_other_site_presses_a_button(
    local: ServerProcess, guarded: ServerProcess, headers: dict[str, str], token: bool
) -> None:
    server = guarded if token else local
    session = logged_in(server) if token else requests.Session()
    url = server.create(5)
    upload_id = url.rsplit("/", 1)[1]
    for what in ("cancel", "unlock"):
        pressed = session.post(f"{server.origin}/dashboard/uploads/{upload_id}/{what}", headers=headers, timeout=10)
        assert pressed.status_code in (401, 403)
    assert server.offset(url) == 0
    own = {"Origin": server.origin, "Sec-Fetch-Site": "same-origin"}
    pressed = session.post(f"{server.origin}/dashboard/uploads/{upload_id}/cancel", headers=own, timeout=10)
    assert pressed.json()["status"] == "cancelled"


def test_a_session_ends_and_cannot_be_made_up() -> None:
    now = [1000.0]
    access = Access(a_token(TOKEN), clock=lambda: now[0])
    response = Response()
    access.let_in(a_request({"host": "up.example"}), response)
    value = response.headers["set-cookie"].split("=", 1)[1].split(";")[0]
    assert access.may_see(a_request({"cookie": f"{COOKIE}={value}"}))
    assert not Access(a_token("another-token-altogether")).may_see(a_request({"cookie": f"{COOKIE}={value}"}))
    later = f"{int(value.split('.')[0]) + 1}.{value.split('.')[1]}"
    for made_up in (later, "", ".", "1", f"{value}0", "\u0661.x"):
        cookie = f"{COOKIE}={made_up}".encode().decode("latin-1")
        assert not access.may_see(a_request({"cookie": cookie}))
    now[0] += SESSION_SECONDS
    assert not access.may_see(a_request({"cookie": f"{COOKIE}={value}"}))


@pytest.mark.parametrize("body", [b"", b"small"], ids=["alone", "with a body"])
def test_the_client_that_made_an_upload_is_shown(local: ServerProcess, body: bytes) -> None:
    headers = {**(OCTETS if body else TUS), "Upload-Length": "7"}
    url = requests.post(local.url, data=body, headers=headers, timeout=20).headers["Location"]
    seen = told(local, lambda picture: picture["latest"] and url.endswith(picture["latest"][0]["id"]))
    assert seen["latest"][0]["client"] == "127.0.0.1"


def test_the_client_that_is_still_making_an_upload_is_shown(local: ServerProcess) -> None:
    with socket.create_connection(("127.0.0.1", local.port)) as raw:
        head = ["POST /files HTTP/1.1", f"Host: 127.0.0.1:{local.port}", "Upload-Length: 9", "Content-Length: 9"]
        lines = [*head, *(f"{name}: {value}" for name, value in OCTETS.items()), "", "body"]
        raw.sendall("\r\n".join(lines).encode())
        told(local, lambda picture: [each["client"] for each in picture["active"]] == ["127.0.0.1"])


def test_it_can_be_turned_off(start: Callable[..., ServerProcess]) -> None:
    assert status(start(dashboard="false")) == 404


def test_viewers_do_not_hold_a_shutdown_up(start: Callable[..., ServerProcess]) -> None:
    server = start(shutdown_timeout="1m")
    with requests.get(f"{server.origin}/dashboard/events", timeout=20, stream=True) as answer:
        lines = answer.iter_lines(chunk_size=1)
        assert next(lines).startswith(b"retry")
        assert answer.headers["X-Accel-Buffering"] == "no"
        server.terminate(seconds=20)
        assert list(lines)[-1] == b""


def test_a_strict_policy(local: ServerProcess) -> None:
    answer = requests.get(f"{local.origin}/dashboard", timeout=10)
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert status(local, "/nothing.js") == 404
    assert status(local, "/login.html") == 404


def login(server: ServerProcess, token: str, **headers: str) -> requests.Response:
    url = f"{server.origin}/dashboard/login"
    return requests.post(url, {"token": token}, headers=headers, timeout=10, allow_redirects=False)


def a_token(token: str) -> AdminToken:
    return AdminToken(token, Origin().client)


def a_request(headers: dict[str, str], client: str | None = "127.0.0.1") -> Request:
    scope: dict[str, Any] = {
        "type": "http",
        "scheme": "http",
        "path": "/dashboard",
        "server": ("127.0.0.1", 1080),
        "client": None if client is None else (client, 5),
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers.items()],
    }
    return Request(scope)
