"""Mounted in other people's applications: prefixes, lifespans and hooks, over real HTTP."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.routing import Mount

from tests.e2e.server import OCTETS, TUS, metadata, some_bytes
from tests.serving import serving
from tusserver import Hooks, Settings, create_app
from tusserver.app import TusApp
from tusserver.hooks import Change, Event, HookRefused

DATA = some_bytes(300_000)
PAGE = {"Origin": "https://app.example"}


def app_at(directory: Path, hooks: Hooks | None = None, base_path: str = "/files", **settings: Any) -> TusApp:
    stores = {"sessions": "memory:", "storage": f"disk://{directory}/uploads"}
    return create_app(Settings(**{**stores, "base_path": base_path, **settings}), hooks)


def create(base: str, length: int = len(DATA), /, **headers: str) -> requests.Response:
    return requests.post(base, headers={**TUS, **PAGE, "Upload-Length": str(length), **headers}, timeout=20)


def patch(url: str, data: bytes = DATA, offset: int = 0) -> requests.Response:
    return requests.patch(url, data=data, headers={**OCTETS, **PAGE, "Upload-Offset": str(offset)}, timeout=20)


def head(url: str) -> requests.Response:
    return requests.head(url, headers={**TUS, **PAGE}, timeout=20)


def get(url: str) -> requests.Response:
    return requests.get(url, headers=PAGE, timeout=20)


def delete(url: str) -> requests.Response:
    return requests.delete(url, headers={**TUS, **PAGE}, timeout=20)


def upload(base: str) -> str:
    url = create(base).headers["Location"]
    assert patch(url).status_code == 204
    return url


def stored(directory: Path) -> list[str]:
    return sorted(path.name for path in (directory / "uploads").rglob("[!.]*") if path.is_file())


# Where it is mounted


def with_lifespan(framework: Callable[..., Any], uploads: TusApp) -> Any:
    @contextlib.asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        async with uploads.running():
            yield

    return framework(lifespan=lifespan)


@pytest.mark.parametrize("framework", [Starlette, FastAPI])
@pytest.mark.parametrize("lifecycle", ["lifespan", "start and stop", "stop only"])
@pytest.mark.parametrize(
    ("prefix", "base_path", "base"),
    [("/api", "/files", "/api/files"), ("/api/uploads", "", "/api/uploads/"), ("/a b", "/", "/a%20b/")],
)
def test_mounted_under_a_prefix(
    tmp_path: Path, framework: Callable[..., Any], lifecycle: str, prefix: str, base_path: str, base: str
) -> None:
    uploads = app_at(tmp_path, base_path=base_path)
    host = with_lifespan(framework, uploads) if lifecycle == "lifespan" else framework()
    host.mount(prefix, uploads)
    # whoever neither enters running() nor calls start() is started by the first request
    calls: dict[str, Any] = {"before": uploads.start} if lifecycle == "start and stop" else {}
    calls |= {} if lifecycle == "lifespan" else {"after": uploads.stop}
    with serving(host, lifespan=lifecycle == "lifespan", **calls) as root:
        created = create(root + base)
        assert created.status_code == 201
        url = created.headers["Location"]
        assert url.rpartition("/")[0] == root + base.rstrip("/")
        assert created.headers["Access-Control-Allow-Origin"] == "*"
        assert "Location" in created.headers["Access-Control-Expose-Headers"]
        assert patch(url, DATA[:1000]).headers["Upload-Offset"] == "1000"
        assert head(url).headers["Upload-Offset"] == "1000"
        assert patch(url, DATA[1000:], 1000).status_code == 204
        assert get(url).content == DATA
        assert delete(url).status_code == 204
        assert head(url).status_code in (404, 410)


def test_preflight_under_a_prefix(tmp_path: Path) -> None:
    host = Starlette(routes=[Mount("/api/uploads", app_at(tmp_path, base_path="", cors_origins="https://app.example"))])
    asked = {
        **PAGE,
        "Access-Control-Request-Method": "PATCH",
        "Access-Control-Request-Headers": "tus-resumable,upload-offset,authorization",
    }
    with serving(host, lifespan=False, after=host.routes[0].app.stop) as root:  # type: ignore[attr-defined]
        answer = requests.options(root + "/api/uploads/", headers=asked, timeout=20)
    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] == "https://app.example"
    assert "PATCH" in answer.headers["Access-Control-Allow-Methods"]
    allowed = answer.headers["Access-Control-Allow-Headers"].lower()
    assert all(name in allowed for name in ("tus-resumable", "upload-offset", "authorization"))


def test_public_url_is_where_uploads_are(tmp_path: Path) -> None:
    host = FastAPI()
    uploads = app_at(tmp_path, base_path="", public_url="https://media.example/api/uploads")
    host.mount("/api/uploads", uploads)
    with serving(host, lifespan=False, after=uploads.stop) as root:
        assert create(root + "/api/uploads/").headers["Location"].startswith("https://media.example/api/uploads/")


def test_served_by_itself(tmp_path: Path) -> None:
    with serving(app_at(tmp_path)) as root:
        assert get(upload(root + "/files")).content == DATA
        assert get(root + "/readyz").json() == {"status": "ok"}


# Hooks

PRE = ("authorize", "pre_create", "pre_finish", "pre_terminate")
POST = ("post_create", "post_receive", "post_finish", "post_terminate")
Serve = Callable[..., str]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Serve an application with these hooks; the URL of the base path."""
    with contextlib.ExitStack() as stack:

        def start(**hooks: Any) -> str:
            return stack.enter_context(serving(app_at(tmp_path, Hooks(**hooks)))) + "/files"

        yield start


def recorder(told: list[str], name: str) -> Callable[[Event], Any]:
    async def hook(event: Event) -> None:
        told.append(f"{name} {event.upload.offset}")

    return hook


def refusing(status: int) -> Callable[[Event], Any]:
    async def hook(event: Event) -> None:
        raise HookRefused(status, "Not with us.")

    return hook


async def failing(event: Event) -> None:
    raise ZeroDivisionError("secret of the application")


def refused(answer: requests.Response, status: int) -> None:
    assert answer.status_code == status
    assert answer.json() == {"error": "refused_by_application", "message": "Not with us."}
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.headers["Tus-Resumable"] == "1.0.0"


def test_hooks_run_in_this_order(serve: Serve) -> None:
    told: list[str] = []
    base = serve(**{name: recorder(told, name) for name in PRE + POST})
    url = create(base).headers["Location"]
    assert told == ["pre_create 0", "post_create 0"]
    del told[:]
    patch(url)
    assert told == ["authorize 0", "pre_finish 0", f"post_receive {len(DATA)}", f"post_finish {len(DATA)}"]
    del told[:]
    delete(url)
    size = len(DATA)
    assert told == [f"authorize {size}", f"pre_terminate {size}", "post_terminate " + told[2].split()[1]]


def test_hooks_of_creation_with_upload(serve: Serve) -> None:
    told: list[str] = []
    base = serve(**{name: recorder(told, name) for name in PRE + POST})
    requests.post(base, data=DATA, headers={**OCTETS, "Upload-Length": str(len(DATA))}, timeout=20)
    names = [line.split()[0] for line in told]
    assert names == ["pre_create", "post_create", "pre_finish", "post_receive", "post_finish"]


def test_an_empty_upload_finishes_in_the_post(serve: Serve) -> None:
    told: list[str] = []
    create(serve(post_finish=recorder(told, "post_finish")), 0)
    assert told == ["post_finish 0"]


def test_a_finished_upload_finishes_once(serve: Serve) -> None:
    told: list[str] = []
    url = upload(serve(post_finish=recorder(told, "post_finish")))
    assert patch(url, b"", len(DATA)).status_code == 204
    assert len(told) == 1


def test_post_finish_is_told_where_the_bytes_are(serve: Serve) -> None:
    places: list[str | None] = []

    async def remember(event: Event) -> None:
        places.append(event.location)

    upload(serve(post_finish=remember))
    assert [Path(place or "").read_bytes() for place in places] == [DATA]


def test_hooks_know_the_caller(serve: Serve) -> None:
    callers: list[Any] = []

    async def remember(event: Event) -> None:
        callers.append(event.caller)

    create(serve(pre_create=remember), Authorization="Bearer abc")
    assert callers[0].method == "POST"
    assert callers[0].headers["authorization"] == "Bearer abc"
    assert callers[0].client == "127.0.0.1"
    assert callers[0].scope["type"] == "http"


def test_pre_create_changes_metadata_and_owner(serve: Serve) -> None:
    owners: list[str | None] = []

    async def change(event: Event) -> Change:
        return Change(metadata={**event.metadata, "filename": "größe.mp4", "by": b"\x00\xff"}, owner="ada")

    async def remember(event: Event) -> None:
        owners.append(event.upload.owner)

    url = create(
        serve(pre_create=change, authorize=remember), **{"Upload-Metadata": metadata(filename="x", kind="video")}
    ).headers["Location"]
    said = dict(pair.split(" ") for pair in head(url).headers["Upload-Metadata"].split(","))
    assert said == {"filename": "Z3LDtsOfZS5tcDQ=", "kind": "dmlkZW8=", "by": "AP8="}
    assert owners == ["ada"]


def test_an_owner_that_cannot_be_stored_is_the_hooks_failure(serve: Serve) -> None:
    async def own(event: Event) -> Change:
        return Change(owner="\ud800")

    answer = create(serve(pre_create=own))
    assert answer.status_code == 500
    assert answer.json()["error"] == "refused_by_application"


def test_pre_create_refuses(serve: Serve, tmp_path: Path) -> None:
    told: list[str] = []
    refused(create(serve(pre_create=refusing(418), post_create=recorder(told, "post_create"))), 418)
    assert told == []
    assert stored(tmp_path) == []


@pytest.mark.parametrize("status", [200, 302, 99, 1000])
def test_a_refusal_is_always_an_error(serve: Serve, status: int) -> None:
    refused(create(serve(pre_create=refusing(status))), 403)


def test_authorize_refuses_every_method(tmp_path: Path) -> None:
    locked = [False]

    async def authorize(event: Event) -> None:
        if locked[0]:
            raise HookRefused(404, "Not with us.")

    with serving(app_at(tmp_path, Hooks(authorize=authorize))) as root:
        url = create(root + "/files").headers["Location"]
        assert patch(url, DATA[:5]).status_code == 204
        locked[0] = True
        refused(patch(url, DATA[5:], 5), 404)
        refused(delete(url), 404)
        refused(get(url), 404)
        answer = head(url)
        assert (answer.status_code, answer.content, answer.headers.get("Upload-Offset")) == (404, b"", None)
        locked[0] = False
        assert head(url).headers["Upload-Offset"] == "5"


def test_pre_finish_leaves_the_upload_unfinished(serve: Serve) -> None:
    told: list[str] = []
    base = serve(pre_finish=refusing(422), post_finish=recorder(told, "post_finish"))
    url = create(base).headers["Location"]
    refused(patch(url), 422)
    assert told == []
    assert int(head(url).headers["Upload-Offset"]) < len(DATA)
    assert get(url).status_code == 404


def test_pre_terminate_keeps_the_upload(serve: Serve) -> None:
    url = upload(serve(pre_terminate=refusing(409)))
    refused(delete(url), 409)
    assert get(url).content == DATA


@pytest.mark.parametrize("name", PRE)
def test_a_failing_pre_hook_is_a_500_that_tells_nothing(serve: Serve, name: str) -> None:
    base = serve(**{name: failing})
    answer = create(base)
    if name != "pre_create":
        url = answer.headers["Location"]
        answer = delete(url) if name == "pre_terminate" else patch(url)
    assert answer.status_code == 500
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json()["error"] == "refused_by_application"
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "secret" not in answer.text and "Traceback" not in answer.text


def test_failing_post_hooks_are_harmless(serve: Serve) -> None:
    url = upload(serve(**dict.fromkeys(POST, failing)))
    assert get(url).content == DATA
    assert delete(url).status_code == 204


# A server that loses a body


@pytest.mark.parametrize(
    ("http", "status", "error"), [("httptools", b"400", b'"body_incomplete"'), ("h11", b"204", b"upload-offset: 3")]
)
def test_a_body_that_its_server_has_lost_is_not_taken_for_an_empty_one(
    tmp_path: Path, http: str, status: bytes, error: bytes
) -> None:
    """uvicorn with httptools loses that of a client that would rather speak HTTP/2."""
    with serving(app_at(tmp_path), http=http) as root:
        url = create(root + "/files", 3).headers["Location"]
        octets = "".join(f"{name}: {value}\r\n" for name, value in OCTETS.items())
        framing = "Upload-Offset: 0\r\nContent-Length: 3\r\nConnection: Upgrade, close\r\nUpgrade: h2c\r\n\r\nabc"
        where = urlsplit(url)
        with socket.create_connection((where.hostname, where.port), timeout=20) as raw:
            raw.sendall(f"PATCH {where.path} HTTP/1.1\r\nHost: x\r\n{octets}{framing}".encode())
            answer = b"".join(iter(lambda: raw.recv(65536), b""))
        assert answer.startswith(b"HTTP/1.1 " + status) and error in answer
        if status == b"400":
            assert head(url).headers["Upload-Offset"] == "0" and patch(url, b"abc").status_code == 204
        assert get(url).content == b"abc"


# Before the body is read


def expecting(base: str, path: str, method: str, *lines: str) -> tuple[socket.socket, bytes]:
    """A request that waits for permission to send its body, and the first bytes of the answer."""
    port = int(base.rsplit(":", 1)[1].split("/")[0])
    raw = socket.create_connection(("127.0.0.1", port), timeout=20)
    head = [
        f"{method} {path} HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        "Tus-Resumable: 1.0.0",
        "Content-Type: application/offset+octet-stream",
        f"Content-Length: {len(DATA)}",
        "Expect: 100-continue",
        *lines,
    ]
    raw.sendall("\r\n".join([*head, "", ""]).encode())
    return raw, raw.recv(65536)


def test_pre_create_decides_before_the_body_is_sent(serve: Serve, tmp_path: Path) -> None:
    base = serve(pre_create=refusing(403))
    raw, first = expecting(base, "/files", "POST", f"Upload-Length: {len(DATA)}")
    with raw:
        assert first.startswith(b"HTTP/1.1 403")
    assert stored(tmp_path) == []


def test_authorize_decides_before_the_body_is_sent(tmp_path: Path) -> None:
    locked = [False]

    async def authorize(event: Event) -> None:
        if locked[0]:
            raise HookRefused(401, "Not with us.")

    with serving(app_at(tmp_path, Hooks(authorize=authorize))) as root:
        path = create(root + "/files").headers["Location"].removeprefix(root)
        locked[0] = True
        raw, first = expecting(root, path, "PATCH", "Upload-Offset: 0")
        with raw:
            assert first.startswith(b"HTTP/1.1 401")
        locked[0] = False
        raw, first = expecting(root, path, "PATCH", "Upload-Offset: 0")
        with raw:
            assert first.startswith(b"HTTP/1.1 100")
            raw.sendall(DATA)
            assert b"HTTP/1.1 204" in raw.recv(65536)
        assert get(root + path).content == DATA
