"""What every answer carries, a success or not: what pages of other origins need, and ``Tus-Resumable``."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
import requests

from tests.e2e.server import OCTETS, TUS, ServerProcess
from tests.http.asking import UNKNOWN, UPLOAD_BYTES, Connect, Start, checksum, post, said
from tests.http.wire import HEAD

PAGE = {"Origin": "https://page.example"}
EXPOSED = {
    "Location", "Tus-Version", "Tus-Resumable", "Tus-Max-Size", "Tus-Extension", "Tus-Checksum-Algorithm",
    "Upload-Offset", "Upload-Length", "Upload-Metadata", "Upload-Defer-Length", "Upload-Concat", "Upload-Expires",
    "Retry-After",
}  # fmt: skip
SENT = {
    "Tus-Resumable", "Upload-Length", "Upload-Offset", "Upload-Metadata", "Upload-Defer-Length", "Upload-Concat",
    "Upload-Checksum", "X-HTTP-Method-Override", "Content-Type", "Authorization", "X-Requested-With", "X-Request-ID",
}  # fmt: skip


def names(value: str) -> set[str]:
    return {name.strip() for name in value.split(",")}


@dataclass(frozen=True, kw_only=True)
class Case:
    """A request that is answered with ``status``; ``of`` makes the upload that it is about, if there is to be one."""

    status: int
    method: str
    of: Callable[[ServerProcess], str] | None = None
    path: str = "/files"
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None

    def ask(self, server: ServerProcess) -> requests.Response:
        url = self.of(server) if self.of else server.origin + self.path
        return requests.request(self.method, url, headers=PAGE | self.headers, data=self.body, timeout=10)


def fresh(server: ServerProcess) -> str:
    return server.create(5)


def finished(server: ServerProcess) -> str:
    url = server.create(5)
    assert server.patch(url, 0, b"abcde").status_code == 204
    return url


def final(server: ServerProcess) -> str:
    part = server.create(5, **{"Upload-Concat": "partial"})
    return post(server, Upload_Concat=f"final;{part}").headers["Location"]


AT_0 = {**OCTETS, "Upload-Offset": "0"}
NOWHERE = f"/files/{UNKNOWN}"
CASES = {
    "created": Case(status=201, method="POST", headers={**TUS, "Upload-Length": "5"}),
    "inspected": Case(status=200, method="HEAD", of=fresh, headers=TUS),
    "inspected-finished": Case(status=200, method="HEAD", of=finished, headers=TUS),
    "appended": Case(status=204, method="PATCH", of=fresh, headers=AT_0, body=b"abc"),
    "terminated": Case(status=204, method="DELETE", of=fresh, headers=TUS),
    "described": Case(status=200, method="OPTIONS"),
    "downloaded": Case(status=200, method="GET", of=finished),
    "downloaded-in-part": Case(status=206, method="GET", of=finished, headers={"Range": "bytes=1-2"}),
    "downloaded-beyond": Case(status=416, method="GET", of=finished, headers={"Range": "bytes=9-"}),
    "known": Case(status=304, method="GET", of=finished, headers={"If-None-Match": "*"}),
    "another": Case(status=412, method="GET", of=finished, headers={"If-Match": '"x"'}),
    "no-length": Case(status=400, method="POST", headers=TUS),
    "bad-metadata": Case(status=400, method="POST", headers={**TUS, "Upload-Length": "5", "Upload-Metadata": "a !"}),
    "final-fixed": Case(status=403, method="PATCH", of=final, headers=AT_0, body=b"x"),
    "unknown-head": Case(status=404, method="HEAD", path=NOWHERE, headers=TUS),
    "unknown-patch": Case(status=404, method="PATCH", path=NOWHERE, headers=AT_0, body=b"x"),
    "unknown-delete": Case(status=404, method="DELETE", path=NOWHERE, headers=TUS),
    "unknown-get": Case(status=404, method="GET", path=NOWHERE),
    "no-id": Case(status=404, method="DELETE", path="/files/a/b", headers=TUS),
    "a-line-end": Case(status=404, method="DELETE", path="/files/a%0Ab", headers=TUS),
    "unfinished-get": Case(status=404, method="GET", of=fresh),
    "no-such-method": Case(status=405, method="PUT", headers=TUS),
    "no-such-method-here": Case(status=405, method="POST", of=fresh, headers=TUS),
    "another-offset": Case(status=409, method="PATCH", of=fresh, headers={**AT_0, "Upload-Offset": "3"}, body=b"x"),
    "no-version": Case(status=412, method="PATCH", of=fresh, body=b"x"),
    "no-version-head": Case(status=412, method="HEAD", of=fresh),
    "too-large": Case(status=413, method="POST", headers={**TUS, "Upload-Length": "20000001"}),
    "too-much": Case(status=413, method="PATCH", of=fresh, headers=AT_0, body=b"abcdef"),
    "another-type": Case(status=415, method="PATCH", of=fresh, headers={**TUS, "Upload-Offset": "0"}, body=b"abc"),
    "large-metadata": Case(
        status=431, method="POST", headers={**TUS, "Upload-Length": "5", "Upload-Metadata": "a" * 9000}
    ),
    "large-headers": Case(status=431, method="POST", headers={**TUS, "Upload-Length": "5", "X": "a" * 66_000}),
    "wrong-checksum": Case(
        status=460, method="PATCH", of=fresh, headers={**AT_0, "Upload-Checksum": checksum("md5", b"x")}, body=b"abc"
    ),
}


@pytest.mark.requirement("CORE-07", "CORE-08", "CORE-24")
@pytest.mark.parametrize("name", CASES)
def test_every_answer(server: ServerProcess, name: str) -> None:
    case = CASES[name]
    answer = case.ask(server)
    assert answer.status_code == case.status
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert names(answer.headers["Access-Control-Expose-Headers"]) >= EXPOSED
    assert answer.headers["Tus-Resumable"] == "1.0.0"
    if case.method == "HEAD":
        assert "no-store" in answer.headers["Cache-Control"] and answer.content == b""
    elif case.status >= 400 and case.of is not finished:
        assert answer.headers["Content-Type"] == "application/json"
        assert set(json.loads(answer.content)) == {"error", "message"}
    assert case.of or "Upload-Offset" not in answer.headers


@pytest.mark.parametrize("method", ["POST", "HEAD", "PATCH", "DELETE", "GET"])
@pytest.mark.parametrize("place", ["/files", NOWHERE])
@pytest.mark.requirement("CORE-43", "CORE-46")
def test_a_preflight(server: ServerProcess, method: str, place: str) -> None:
    asked = {"Access-Control-Request-Method": method, "Access-Control-Request-Headers": "upload-checksum, x-own"}
    answer = requests.options(server.origin + place, headers=PAGE | asked, timeout=5)
    assert answer.status_code == 200 and answer.content == b""
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert method in names(answer.headers["Access-Control-Allow-Methods"])
    assert names(answer.headers["Access-Control-Allow-Headers"]) >= SENT | {"x-own"}
    assert int(answer.headers["Access-Control-Max-Age"]) > 0


def test_an_answer_that_no_page_asked_for_has_none_of_it(server: ServerProcess) -> None:
    for answer in (server.head(fresh(server)), post(server), requests.options(server.url, timeout=5)):
        assert not [name for name in answer.headers if name.lower().startswith("access-control")]


def test_named_origins(start: Start) -> None:
    server = start(cors_origins="https://page.example,https://other.example", cors_credentials="true")
    for page in ("https://page.example", "https://other.example"):
        for answer in (post(server, Origin=page, Upload_Length="5"), post(server, Origin=page)):
            assert answer.headers["Access-Control-Allow-Origin"] == page
            assert answer.headers["Access-Control-Allow-Credentials"] == "true"
            assert "Origin" in names(answer.headers["Vary"])
    answer = post(server, Origin="https://evil.example", Upload_Length="5")
    assert answer.status_code == 201
    assert "Access-Control-Allow-Origin" not in answer.headers and "Origin" in names(answer.headers["Vary"])


def test_without_origins_there_is_no_cors(start: Start) -> None:
    server = start(cors_origins="")
    answer = requests.options(server.url, headers=PAGE, timeout=5)
    assert not [name for name in answer.headers if name.lower().startswith("access-control")]


@pytest.mark.requirement("CORE-07")
def test_an_answer_without_a_body_that_was_asked_for_in_a_guise(server: ServerProcess, connect: Connect) -> None:
    wire = connect()
    wire.send(f"POST {NOWHERE} HTTP/1.1\r\n{HEAD}Origin: https://page.example\r\nX-HTTP-Method-Override: HEAD\r\n\r\n")
    answer = wire.read()
    assert answer.status == 404 and answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["tus-resumable"] == "1.0.0" and answer.body == b""


@pytest.mark.requirement("CORE-07")
def test_an_answer_to_what_came_in_pieces(server: ServerProcess, connect: Connect) -> None:
    wire = connect()
    wire.send(said("POST", "/files", "Upload-Length: 1", "Origin: https://page.example", "Transfer-Encoding: chunked"))
    wire.send("2\r\nab\r\n0\r\n\r\n")
    answer = wire.read()
    assert answer.status == 413 and answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["tus-resumable"] == "1.0.0" and UPLOAD_BYTES not in answer.headers.values()
