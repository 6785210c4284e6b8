"""The admin API: who may ask, what it tells, and that it disturbs nobody."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from tests.e2e.server import ServerProcess, metadata, wait_for

TOKEN = "correct-horse-battery"
KIB = 1024


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    server = ServerProcess(tmp_path_factory.mktemp("admin"), {"admin_token": TOKEN, "trusted_proxies": "127.0.0.1"})
    server.start()
    yield server
    server.stop()


@pytest.fixture
def ask(server: ServerProcess) -> Callable[..., requests.Response]:
    def asking(path: str, method: str = "GET", token: str | None = TOKEN, **params: object) -> requests.Response:
        # Each from another address: whoever is wrong too often is not listened to
        headers = {"X-Forwarded-For": f"192.0.2.{secrets.randbelow(256)}"}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        said: Any = params
        return requests.request(method, f"{server.origin}/admin/{path}", headers=headers, params=said, timeout=10)

    return asking


Ask = Callable[..., requests.Response]


def id_of(url: str) -> str:
    return url.rsplit("/", 1)[1]


@pytest.mark.parametrize("path", ["uploads", "stats", f"uploads/{'0' * 32}"])
@pytest.mark.parametrize("token", [None, "", "wrong", TOKEN + "x", TOKEN[:-1], "\u00fc"])
def test_nobody_without_the_token(ask: Ask, path: str, token: str | None) -> None:
    said = token.encode().decode("latin-1") if token is not None else None
    answer = ask(path, token=said)
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert answer.json()["error"] == "unauthorized"


def test_without_a_token_in_the_settings_there_is_no_such_thing(start: Callable[..., ServerProcess]) -> None:
    server = start()
    headers = {"Authorization": f"Bearer {TOKEN}"}
    assert requests.get(f"{server.origin}/admin/uploads", headers=headers, timeout=10).status_code == 404


def test_pages_newest_first(server: ServerProcess, ask: Ask) -> None:
    urls = [server.create(5) for _ in range(7)]
    seen: list[str] = []
    page = ask("uploads", limit=3).json()
    while True:
        assert len(page["uploads"]) <= 3
        seen += [upload["id"] for upload in page["uploads"]]
        if page["next"] is None:
            break
        page = ask("uploads", limit=3, after=page["next"]).json()
    assert seen[:7] == [id_of(url) for url in reversed(urls)]
    assert len(set(seen)) == len(seen)


def test_what_is_active_now_is_seen_and_not_disturbed(server: ServerProcess, ask: Ask) -> None:
    url = server.create(4 * KIB, **{"Upload-Metadata": metadata(filename="a.mp4")})
    with server.opened_patch(url, 0, 4 * KIB) as raw:
        raw.sendall(bytes(KIB))

        def moving() -> Any:
            return [each for each in ask("uploads", active="true").json()["uploads"] if each["bytes_per_second"]]

        (upload,) = wait_for(moving)
        assert (upload["id"], upload["offset"], upload["name"]) == (id_of(url), KIB, "a.mp4")
        shown = ask(f"uploads/{id_of(url)}").json()
        assert [moment["what"] for moment in shown["timeline"]] == ["created", "taken", "received"]
        raw.sendall(bytes(3 * KIB))
        assert raw.recv(65536).startswith(b"HTTP/1.1 204")
    assert ask("uploads", active="true").json()["uploads"] == []


def test_cancel_and_unlock(server: ServerProcess, ask: Ask) -> None:
    url = server.create(4 * KIB)
    assert ask(f"uploads/{id_of(url)}/unlock", "POST").json() == {"unlocked_from": None}
    with server.opened_patch(url, 0, 4 * KIB) as raw:
        raw.sendall(bytes(KIB))
        wait_for(lambda: ask(f"uploads/{id_of(url)}").json()["offset"] == KIB)
        assert ask(f"uploads/{id_of(url)}/unlock", "POST").json()["unlocked_from"]
        assert raw.recv(65536).startswith(b"HTTP/1.1 409")
    assert server.offset(url) == KIB
    assert ask(f"uploads/{id_of(url)}/cancel", "POST").json()["status"] == "cancelled"
    assert server.head(url).status_code == 404
    assert ask(f"uploads/{id_of(url)}/cancel", "POST").status_code == 404
    assert ask(f"uploads/{id_of(url)}/cancel").status_code == 405


def test_stats(server: ServerProcess, ask: Ask) -> None:
    before = ask("stats").json()
    server.create(0)
    after = ask("stats").json()
    assert after["statuses"]["completed"]["count"] == before["statuses"]["completed"]["count"] + 1
    assert 0 < after["success"] <= 1
    assert ask("stats", since="0s").json()["success"] is None


@pytest.mark.parametrize(
    ("path", "params", "says"),
    [
        ("uploads", {"status": "done"}, "status is one of active, completed"),
        ("uploads", {"limit": "0"}, "limit is a number from 1"),
        ("uploads", {"limit": "9" * 5000}, "limit is a number"),
        ("uploads", {"limit": "\u0661"}, "limit is a number"),
        ("uploads", {"active": "yes"}, "active is true or false"),
        ("uploads", {"stale": "soon"}, "stale is a duration"),
        ("uploads", {"after": "x"}, "after is what"),
        ("uploads", {"pages": "2"}, "There is no parameter pages"),
        ("stats", {"since": "soon"}, "since is a duration"),
    ],
)
def test_a_question_that_cannot_be(ask: Ask, path: str, params: dict[str, str], says: str) -> None:
    answer = ask(path, **params)
    assert answer.status_code == 400
    assert answer.json()["error"] == "bad_query"
    assert says in answer.json()["message"]


@pytest.mark.parametrize("upload_id", ["x", "0" * 32, "..", "%0A" * 16, "a" * 5000])
def test_an_unknown_upload(ask: Ask, upload_id: str) -> None:
    assert ask(f"uploads/{upload_id}/cancel", "POST").status_code == 404
