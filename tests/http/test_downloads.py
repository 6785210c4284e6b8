"""GET of finished uploads, as a browser or curl sees it."""

from __future__ import annotations

import pytest
import requests

from tests.e2e.server import TUS, ServerProcess, metadata, some_bytes
from tests.http.asking import Connect, Start, post

DATA = some_bytes(300_000)


@pytest.fixture(scope="module")
def url(server: ServerProcess) -> str:
    url = server.create(len(DATA), **{"Upload-Metadata": metadata(filename="Grüße 1.png", filetype="image/png")})
    assert server.patch(url, 0, DATA).status_code == 204
    return url


def get(url: str, **headers: str) -> requests.Response:
    return requests.get(url, headers={name.replace("_", "-"): value for name, value in headers.items()}, timeout=10)


def test_the_whole_upload(url: str) -> None:
    answer = get(url)
    assert answer.status_code == 200 and answer.content == DATA
    assert answer.headers["Content-Length"] == str(len(DATA))
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert answer.headers["ETag"].startswith('"') and answer.headers["Last-Modified"].endswith("GMT")
    assert answer.headers["Content-Type"] == "image/png"
    assert answer.headers["Content-Disposition"].startswith("inline;")
    assert "filename*=UTF-8''Gr%C3%BC%C3%9Fe%201.png" in answer.headers["Content-Disposition"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("value", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=1000-200000", 1000, 200_001),
        ("bytes=299999-", 299_999, 300_000),
        ("bytes=-1", 299_999, 300_000),
        ("bytes=-400000", 0, 300_000),
        ("bytes=5-999999999", 5, 300_000),
    ],
)
def test_a_range(url: str, value: str, start: int, stop: int) -> None:
    answer = get(url, Range=value)
    assert answer.status_code == 206 and answer.content == DATA[start:stop]
    assert answer.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{len(DATA)}"
    assert answer.headers["Content-Length"] == str(stop - start)


@pytest.mark.parametrize("value", ["bytes=300000-", "bytes=-0"])
def test_a_range_beyond_the_end(url: str, value: str) -> None:
    answer = get(url, Range=value)
    assert answer.status_code == 416 and answer.headers["Content-Range"] == f"bytes */{len(DATA)}"


@pytest.mark.parametrize("value", ["bytes=2-1", "bytes=a-b", "lines=0-1", "bytes=0-1,5-6", "bytes", ""])
def test_what_is_not_one_range_counts_as_none(url: str, value: str) -> None:
    answer = get(url, Range=value)
    assert answer.status_code == 200 and answer.content == DATA


def test_conditions(url: str) -> None:
    etag = get(url, Range="bytes=0-0").headers["ETag"]
    assert get(url, If_None_Match=etag).status_code == 304
    assert get(url, If_None_Match='"x"', Range="bytes=0-0").status_code == 206
    assert get(url, If_Match='"x"').status_code == 412
    assert get(url, Range="bytes=0-9", If_Range=etag).content == DATA[:10]
    assert get(url, Range="bytes=0-9", If_Range='"x"').content == DATA


def test_an_empty_upload(server: ServerProcess) -> None:
    answer = get(server.create(0))
    assert answer.status_code == 200 and answer.content == b""
    assert answer.headers["Content-Length"] == "0"


@pytest.mark.parametrize("kind", ["text/html", "image/svg+xml", "application/xhtml+xml", "TEXT/HTML", "nonsense"])
def test_what_could_run_is_only_saved(server: ServerProcess, kind: str) -> None:
    answer = get(server.create(0, **{"Upload-Metadata": metadata(filename="a.html", filetype=kind)}))
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["Content-Disposition"].startswith("attachment")


def test_only_a_finished_upload_is_there(server: ServerProcess) -> None:
    url = server.create(3)
    assert server.patch(url, 0, b"ab").status_code == 204
    answer = get(url)
    assert answer.status_code == 404 and answer.json()["error"] == "upload_not_finished"
    final = post(server, Upload_Concat=f"final;{server.create(3, **{'Upload-Concat': 'partial'})}")
    assert get(final.headers["Location"]).status_code == 404


def test_a_download_may_be_asked_for_in_the_guise_of_post(url: str) -> None:
    answer = requests.post(url, headers={"X-HTTP-Method-Override": "GET"}, timeout=10)
    assert answer.status_code == 200 and answer.content == DATA


def test_one_after_the_other_on_a_connection(url: str, connect: Connect) -> None:
    wire = connect()
    path = "/files/" + url.rsplit("/", 1)[1]
    for start in (0, 7, 100):
        wire.send(f"GET {path} HTTP/1.1\r\nHost: a\r\nRange: bytes={start}-{start + 9}\r\n\r\n")
        assert wire.read().body == DATA[start : start + 10]


def test_it_can_be_turned_off(start: Start) -> None:
    server = start(downloads="false")
    url = server.create(3)
    assert server.patch(url, 0, b"abc").status_code == 204
    for headers in ({}, TUS):
        answer = requests.get(url, headers=headers, timeout=5)
        assert answer.status_code in (404, 405) and b"abc" not in answer.content
    assert "ETag" not in server.head(url).headers
