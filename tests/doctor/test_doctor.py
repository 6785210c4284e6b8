"""``tusserver doctor``: nothing wrong with what is right, and each mistake found with what to do about it."""

from __future__ import annotations

import contextlib
import json
import secrets
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from pymongo import MongoClient

from tests.command import done, run
from tests.deploy.proxies import PROXIES, ProxyProcess, binary
from tests.e2e.conftest import start as start
from tests.e2e.server import ServerProcess, wait_for
from tests.mongod import shared_replica_set

Findings = list[dict[str, str]]
Starter = Callable[..., ServerProcess]


def through(url: str, *more: str, cwd: Path) -> Findings:
    origin = ("--origin", "https://app.example.org")
    result = run("doctor", "--through", url, "--size", "4MiB", "--json", *origin, *more, cwd=cwd)
    assert "Traceback" not in result.stderr
    findings = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.returncode == any(finding["level"] == "problem" for finding in findings)
    return findings


def local(server: ServerProcess, *more: str) -> Findings:
    settings = ("TUSSERVER_SESSIONS", "TUSSERVER_STORAGE", "TUSSERVER_MONGO_URL", "TUSSERVER_DB_NAME")
    where = {name: server.environment[name] for name in settings if name in server.environment}
    result = run("doctor", "--json", *more, cwd=server.directory, **where)
    assert "Traceback" not in result.stderr, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def bad(findings: Findings) -> dict[str, str]:
    """What is wrong, and what to do."""
    return {
        each["what"]: f"{each['said']} {each['advice']}" for each in findings if each["level"] not in ("ok", "note")
    }


# Stores


def test_a_sound_embedded_default(start: Starter) -> None:
    server = start()
    findings = local(server)
    assert {key: said for key, said in bad(findings).items() if key not in ("volume", "storage")} == {}
    assert [finding["what"] for finding in findings] == [
        "sessions", "clock", "SQLite", "identity", "storage", "room", "volume",
    ]  # fmt: skip
    assert server.held() == []
    assert done("sessions", "list", "--json", cwd=server.directory, **_stores(server)) == ""


def _stores(server: ServerProcess) -> dict[str, str]:
    return {name: server.environment[name] for name in ("TUSSERVER_SESSIONS", "TUSSERVER_STORAGE")}


@pytest.mark.parametrize("storage", ["disk", "gridfs:"])
def test_a_sound_deployment_in_mongodb(start: Starter, storage: str) -> None:
    database = f"doctor-{secrets.token_hex(4)}"
    kept: dict[str, object] = {"sessions": "mongodb:", "mongo_url": shared_replica_set().url, "db_name": database}
    server = start(**kept, **({"storage": storage} if storage != "disk" else {}))
    findings = local(server)
    named = [finding["what"] for finding in findings]
    assert named[:6] == ["sessions", "clock", "MongoDB", "topology", "write concern", "indexes"]
    # A replica set of one node is worth a warning
    assert set(bad(findings)) <= {"topology", "volume", "storage", "write concern"}
    with MongoClient[Any](shared_replica_set().url) as client:
        mongo = client[database]
        assert mongo.uploads.count_documents({}) == 0
        assert mongo["uploads.chunks"].count_documents({}) == mongo["uploads.unfinished"].count_documents({}) == 0
        mongo.uploads.drop_index("by_holder")  # whoever starts makes it again
        assert bad(local(server)).keys() == bad(findings).keys()
        assert "by_holder" in mongo.uploads.index_information()
        client.drop_database(database)


def test_a_directory_that_is_not_shared_and_how_to_adopt_it(start: Starter, tmp_path: Path) -> None:
    server = start()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    option = ("--storage", f"disk://{elsewhere}")
    assert "it is not shared" in bad(local(server, *option))["identity"]
    asked = run("doctor", "--adopt-storage", *option, cwd=server.directory, **_stores(server))
    assert asked.returncode == 1 and "Aborted" in asked.stderr  # nobody said yes
    assert "identity" not in bad(local(server, "--adopt-storage", "--yes", *option))
    assert "identity" not in bad(local(server, *option))
    assert "identity" in bad(local(server))


def test_mongodb_away_is_one_problem_in_a_sentence(tmp_path: Path) -> None:
    url = "mongodb://127.0.0.1:9/?serverSelectionTimeoutMS=300&timeoutMS=300"
    result = run("doctor", "--mongo-url", url, "--storage", f"disk://{tmp_path}", cwd=tmp_path)
    assert result.returncode == 1
    assert "MongoDB does not answer" in result.stdout + result.stderr
    assert "Traceback" not in result.stderr


# The way to clients


def test_a_server_without_a_proxy(start: Starter, tmp_path: Path) -> None:
    server = start()
    findings = through(server.url, cwd=tmp_path)
    assert bad(findings) == {}
    assert len(findings) == 14
    assert server.held() == []


def test_a_text_that_people_read(start: Starter, tmp_path: Path) -> None:
    text = done("doctor", "--through", start().url, "--size", "1MiB", cwd=tmp_path)
    assert text.splitlines()[0] == "ok       reach: tus 1.0.0"
    assert text.splitlines()[-1] == "0 problems, 0 warnings."
    assert "\x1b" not in text


@pytest.fixture
def behind(start: Starter, tmp_path: Path) -> Iterator[Callable[..., str]]:
    """The URL of the upload endpoint behind the shipped nginx configuration with something replaced in it."""
    with contextlib.ExitStack() as stack:

        def proxied(*replaced: tuple[str, str], pods: list[ServerProcess] | None = None) -> str:
            def command(proxy: ProxyProcess) -> list[str]:
                binary("nginx", "apt-get install nginx")
                made = PROXIES["nginx"](proxy)
                site = proxy.directory / "tusserver.conf"
                text = site.read_text()
                for old, new in replaced:
                    assert old in text, old
                    text = text.replace(old, new)
                site.write_text(text)
                return made

            place = tmp_path / f"nginx-{secrets.token_hex(2)}"
            place.mkdir()
            servers = pods or [start(trusted_proxies="127.0.0.1")] * 3
            proxy = ProxyProcess(place, servers, command)
            stack.callback(proxy.stop)
            proxy.start()
            wait_for(lambda: servers[0].passes(proxy.url), what="the proxy to pass requests on")
            return proxy.url

        yield proxied


def test_the_shipped_nginx(behind: Callable[..., str], tmp_path: Path) -> None:
    assert bad(through(behind(), cwd=tmp_path)) == {}


MISTAKES = {
    "collects bodies": (
        [("proxy_request_buffering off;", "proxy_request_buffering on;")],
        {"streaming": "proxy_request_buffering off", "broken off": "0 B of 64.0 KiB"},
    ),
    "caps bodies": (
        [("client_max_body_size 0;", "client_max_body_size 1m;")],
        {"body size": "client_max_body_size 0"},
    ),
    "says another host": (
        [("X-Forwarded-Host $http_host;", "X-Forwarded-Host internal;")],
        {"Location": "X-Forwarded-Host"},
    ),
    "hides CORS": (
        [("proxy_connect_timeout", "proxy_hide_header Access-Control-Allow-Origin; proxy_connect_timeout")],
        {"CORS": "--cors-origins"},
    ),
    "doubles CORS": (
        [("proxy_connect_timeout", "add_header Access-Control-Allow-Origin * always; proxy_connect_timeout")],
        {"CORS": "leave it to one"},
    ),
    "exposes no header": (
        [("proxy_connect_timeout", "proxy_hide_header Access-Control-Expose-Headers; proxy_connect_timeout")],
        {"CORS": "pages cannot see location"},
    ),
    "forbids PATCH": (
        [("proxy_connect_timeout", "limit_except GET HEAD POST OPTIONS { deny all; } proxy_connect_timeout")],
        {"PATCH": "Allow PATCH", "DELETE": "Allow DELETE"},
    ),
    "hides the offset": (
        [("proxy_connect_timeout", "proxy_hide_header Upload-Offset; proxy_connect_timeout")],
        {"HEAD": "without upload-offset"},
    ),
    "cuts silence": (
        [("client_body_timeout 300s;", "client_body_timeout 1s;")],
        {"silence": "client_body_timeout 300s"},
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_nginx(behind: Callable[..., str], tmp_path: Path, mistake: str) -> None:
    replaced, wrong = MISTAKES[mistake]
    more = ("--silence", "2.5") if mistake == "cuts silence" else ()
    found = bad(through(behind(*replaced), *more, cwd=tmp_path))
    for what, advice in wrong.items():
        assert advice in found.get(what, ""), found
    assert found.keys() == wrong.keys()  # one mistake is no reason to speak of others


def test_the_largest_body_that_passes_is_said(behind: Callable[..., str], tmp_path: Path) -> None:
    said = bad(through(behind(("client_max_body_size 0;", "client_max_body_size 1m;")), cwd=tmp_path))["body size"]
    size, unit = said.split("up to about ")[1].split()[:2]
    assert 900 <= float(size) * {"KiB": 1, "MiB": 1024}[unit] <= 1024


def test_servers_that_do_not_share_their_sessions(behind: Callable[..., str], start: Starter, tmp_path: Path) -> None:
    apart = [start(sessions=f"sqlite://{tmp_path}/{n}.db", trusted_proxies="127.0.0.1") for n in range(3)]
    found = bad(through(behind(pods=apart), cwd=tmp_path))
    assert "do not share their sessions" in found["servers"]
    assert found.keys() <= {"servers", "probes", "DELETE"}


def test_a_small_maximum_is_no_mistake(start: Starter, tmp_path: Path) -> None:
    for maximum in ("100KB", "1KB", "1"):
        assert bad(through(start(max_size=maximum).url, cwd=tmp_path)) == {}


def test_cors_is_tried_only_when_somebody_says_for_whom(start: Starter, tmp_path: Path) -> None:
    url = start(cors_origins="https://real.example.net").url
    result = run("doctor", "--through", url, "--size", "1MiB", cwd=tmp_path)
    assert result.returncode == 0, result.stdout
    assert "note     CORS: not tried" in result.stdout


def test_looking_claims_nothing(start: Starter, tmp_path: Path) -> None:
    database = f"doctor-{secrets.token_hex(4)}"
    other = tmp_path / "other"
    other.mkdir()
    where = {"TUSSERVER_MONGO_URL": shared_replica_set().url, "TUSSERVER_DB_NAME": database}
    first = run("doctor", "--storage", f"disk://{other}", cwd=tmp_path, **where)
    assert "note     identity" in first.stdout, first.stdout + first.stderr
    kept: dict[str, object] = {"sessions": "mongodb:", "mongo_url": shared_replica_set().url, "db_name": database}
    server = start(**kept)
    assert requests.get(f"{server.origin}/readyz", timeout=10).ok
    with MongoClient[Any](shared_replica_set().url) as client:
        client.drop_database(database)


def test_a_server_that_goes_away_is_a_sentence(start: Starter, tmp_path: Path) -> None:
    server = start()
    with socket.create_server(("127.0.0.1", 0)) as relay:

        def once() -> None:
            for _ in range(2):  # OPTIONS and POST pass, and then nobody is there
                theirs, _ = relay.accept()
                with theirs, socket.create_connection(("127.0.0.1", server.port)) as ours:
                    ours.sendall(theirs.recv(65536))
                    while block := ours.recv(65536):
                        theirs.sendall(block)
                        if b"HTTP/1.1" in block:
                            break
            relay.close()

        thread = threading.Thread(target=once)
        thread.start()
        port = relay.getsockname()[1]
        result = run("doctor", "--through", f"http://127.0.0.1:{port}/files", cwd=tmp_path)
        thread.join()
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert "no connection" in result.stdout


def test_nothing_is_there(tmp_path: Path) -> None:
    (finding,) = through("http://127.0.0.1:9/files", cwd=tmp_path)
    assert (finding["level"], finding["what"]) == ("problem", "reach")


def test_something_else_is_there(start: Starter, tmp_path: Path) -> None:
    (finding,) = through(f"{start().origin}/healthz", cwd=tmp_path)
    assert "without Tus-Version" in finding["said"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--header", "no colon"), "--header must be 'Name: value'"),
        (("--size", "big"), "--size must be a size"),
        (("--header", "X: a\r\nY: b"), "--header must be 'Name: value'"),
        (("--through", "files.example.org"), "--through must be a URL"),
        (("--through", "http://h:notaport/files"), "--through must be a URL"),
    ],
)
def test_a_wrong_option(tmp_path: Path, arguments: tuple[str, ...], says: str) -> None:
    result = run("doctor", "--through", "http://127.0.0.1:9/files", *arguments, cwd=tmp_path)
    assert result.returncode == 2
    assert says in result.stderr
