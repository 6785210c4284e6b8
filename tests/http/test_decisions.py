"""What this server does where the specification leaves room (docs/protocol.md). Expired uploads, final uploads and
terminated ones are with their extensions; each test says which ambiguity (AMB) it is about."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
import requests

from tests.e2e.server import OCTETS, TUS, ServerProcess, received, some_bytes, wait_for
from tests.http.asking import UNKNOWN, UPLOAD_BYTES, Connect, Start, checksum, either_way, path_of, post, said
from tests.http.wire import HEAD, chunked

pytestmark = either_way

ORDER = [
    (412, {"Tus-Resumable": "0.2.2"}),
    (415, {"Content-Type": "text/plain"}),
    (400, {"Upload-Offset": "x"}),
    (409, {"Upload-Offset": "1"}),
    (400, {"Upload-Length": "2"}),
    (413, {}),
]


@pytest.mark.requirement("CORE-09", "CORE-11", "CORE-27", "CORE-30")
@pytest.mark.parametrize("first", range(len(ORDER)))
def test_amb_01_the_order_of_the_checks(server: ServerProcess, first: int) -> None:
    """Everything is wrong from ``first`` on: the first of it is told."""
    url = server.create(3)
    headers = {**OCTETS, "Upload-Offset": "0"}
    for _, wrong in reversed(ORDER[first:]):
        headers |= wrong
    answer = requests.patch(url, data=b"abcdef", headers=headers, timeout=5)
    assert answer.status_code == ORDER[first][0]
    assert server.offset(url) == 0


@pytest.mark.requirement("CORE-06", "CORE-10", "CORE-46")
def test_amb_02_03_the_version_is_asked_for_except_by_get_and_options(server: ServerProcess) -> None:
    url = server.create(0)
    for headers in ({}, {"Tus-Resumable": "9.9.9"}):
        for method in ("HEAD", "PATCH", "DELETE", "POST", "PUT"):
            answer = requests.request(method, url, headers=headers, timeout=5)
            assert answer.status_code == 412 and answer.headers["Tus-Version"] == "1.0.0", method
        assert requests.get(url, headers=headers, timeout=5).status_code == 200
        assert requests.options(url, headers=headers, timeout=5).status_code == 200


@pytest.mark.requirement("CORE-26", "CORE-27")
@pytest.mark.parametrize("kind", [UPLOAD_BYTES.title(), f"{UPLOAD_BYTES}; charset=utf-8", f"{UPLOAD_BYTES} ;a=b"])
def test_amb_04_it_is_the_media_type_that_counts(server: ServerProcess, kind: str) -> None:
    assert server.patch(server.create(3), 0, b"abc", **{"Content-Type": kind}).status_code == 204


def test_amb_06_leading_zeros_are_numbers(server: ServerProcess) -> None:
    url = post(server, Upload_Length="0010").headers["Location"]
    head = server.head(url).headers
    assert head["Upload-Length"] == "10"
    assert server.patch(url, 0, b"abc", **{"Upload-Offset": "000"}).status_code == 204


@pytest.mark.requirement("CORE-46")
def test_amb_09_a_preflight_stays_one(server: ServerProcess) -> None:
    url = server.create(3)
    answer = requests.options(url, headers={**TUS, "X-HTTP-Method-Override": "DELETE"}, timeout=5)
    assert answer.status_code == 200 and "Tus-Version" in answer.headers
    assert server.offset(url) == 0


def test_amb_10_13_an_empty_patch_tells_the_offset(server: ServerProcess) -> None:
    url = server.create(3)
    for offset, data in ((0, b"abc"), (3, b"")):
        assert server.patch(url, offset, b"").headers["Upload-Offset"] == str(offset)
        answer = server.patch(url, offset, data)
        assert answer.status_code == 204 and answer.headers["Upload-Offset"] == "3"
    page = requests.get(f"{server.origin}/metrics", timeout=5).text
    finished = re.search(r"^tusserver_uploads_finished_total (\S+)", page, re.M)
    assert server.patch(url, 3, b"").status_code == 204
    page = requests.get(f"{server.origin}/metrics", timeout=5).text
    again = re.search(r"^tusserver_uploads_finished_total (\S+)", page, re.M)
    assert finished and again and finished[1] == again[1]
    assert server.patch(url, 3, b"d").status_code == 413
    assert server.patch(url, 2, b"").status_code == 409
    assert server.patch(url, 0, b"abc").status_code == 409
    assert server.stored(url) == b"abc"


def test_amb_11_more_than_there_is_room_for_is_refused_before_it_is_read(
    server: ServerProcess, connect: Connect
) -> None:
    url = server.create(5)
    assert server.patch(url, 0, b"ab").status_code == 204
    wire = connect()
    wire.send(said("PATCH", url, "Upload-Offset: 2", "Content-Length: 4"))
    answer = wire.read()
    assert answer.status == 413 and answer.headers["upload-offset"] == "2"
    assert server.offset(url) == 2


@pytest.mark.parametrize("verified", [False, True])
@pytest.mark.parametrize("sizes", [[1], [4], [100]])
def test_amb_12_of_a_body_without_a_size_what_fits_is_kept(
    server: ServerProcess, connect: Connect, sizes: list[int], verified: bool
) -> None:
    url = server.create(5)
    more = [f"Upload-Checksum: {checksum('sha1', b'abcdefgh')}"] if verified else []
    wire = connect()
    wire.send(said("PATCH", url, "Upload-Offset: 0", "Transfer-Encoding: chunked", *more))
    wire.send(chunked(b"abcdefgh", sizes), "0\r\n\r\n")
    answer = wire.read()
    kept = 0 if verified else 5
    assert answer.status == 413 and answer.headers["upload-offset"] == str(kept)
    assert server.offset(url) == kept
    if verified:
        assert server.patch(url, 0, b"abcde").status_code == 204
    assert server.stored(url) == b"abcde"


@pytest.mark.requirement("CREA-14", "CREA-22", "CREA-24")
def test_amb_15_empty_metadata_are_none(server: ServerProcess) -> None:
    url = server.create(3, **{"Upload-Metadata": ""})
    assert "Upload-Metadata" not in server.head(url).headers


@pytest.mark.requirement("CREA-28", "CREA-29")
@pytest.mark.parametrize(
    ("settings", "headers", "before"),
    [
        ({}, {"Host": "files.example:8080"}, "http://files.example:8080/files/"),
        ({}, {"X-Forwarded-Host": "a.example"}, "/files/"),
        ({}, {"X-Forwarded-Proto": "https"}, "/files/"),
        ({}, {"Forwarded": "host=a.example"}, "/files/"),
        ({"public_url": "https://up.example/x"}, {"X-Forwarded-Host": "a.example"}, "https://up.example/x/files/"),
        (
            {"trusted_proxies": "127.0.0.1"},
            {"X-Forwarded-Host": "a.example", "X-Forwarded-Proto": "https"},
            "https://a.example/files/",
        ),
        ({"trusted_proxies": "127.0.0.1"}, {"Forwarded": "proto=https;host=a.example"}, "https://a.example/files/"),
        ({"trusted_proxies": "10.0.0.0/8"}, {"Forwarded": "proto=https;host=a.example"}, "/files/"),
    ],
)
def test_amb_16_17_where_an_upload_is(
    server: ServerProcess, start: Start, settings: dict[str, object], headers: dict[str, str], before: str
) -> None:
    serving = start(**settings) if settings else server
    answer = requests.post(serving.url, headers={**TUS, "Upload-Length": "3", **headers}, timeout=5)
    place = answer.headers["Location"]
    assert place.startswith(before)
    assert serving.offset(serving.url + "/" + place.removeprefix(before)) == 0


@pytest.mark.requirement("CORE-38", "CORE-41")
@pytest.mark.parametrize("method", ["HEAD", "PATCH", "DELETE"])
def test_amb_22_who_comes_takes_over(server: ServerProcess, method: str) -> None:
    data = some_bytes(200_000)
    url = server.create(len(data))
    raw = server.opened_patch(url, 0, len(data))
    if method != "PATCH":  # one that comes too late is another matter, see below
        raw.sendall(data[:50_000])
    wait_for(lambda: "tusserver_bodies_in_progress 1.0" in requests.get(f"{server.origin}/metrics", timeout=5).text)
    headers = {**OCTETS, "Upload-Offset": "0"}
    answer = requests.request(method, url, data=b"" if method == "PATCH" else None, headers=headers, timeout=5)
    ended = received(raw)
    if method == "DELETE":
        assert answer.status_code == 204 and ended.startswith((b"HTTP/1.1 404", b"HTTP/1.1 409"))
    else:
        assert int(answer.headers["Upload-Offset"]) == server.offset(url) <= 50_000
        assert ended.startswith(b"HTTP/1.1 409") and b'"taken_over"' in ended


@pytest.mark.requirement("CORE-28", "CORE-30")
def test_amb_22_34_a_patch_behind_the_running_one_is_told_another_offset_than_its_own(server: ServerProcess) -> None:
    """Told its own, a client would send the same again."""
    data = some_bytes(200_000)
    url = server.create(len(data))
    raw = server.opened_patch(url, 0, len(data))
    raw.sendall(data[:50_000])
    wait_for(lambda: "tusserver_bodies_in_progress 1.0" in requests.get(f"{server.origin}/metrics", timeout=5).text)
    assert server.patch(url, 3, b"x").status_code == 409
    answer = server.patch(url, 0, data)
    assert answer.status_code == 204 or (answer.status_code, answer.headers["Upload-Offset"]) != (409, "0")


def test_amb_22_a_get_disturbs_nobody(server: ServerProcess) -> None:
    data = some_bytes(200_000)
    url = server.create(len(data))
    raw = server.opened_patch(url, 0, len(data))
    for at in range(0, 180_000, 20_000):
        raw.sendall(data[at : at + 20_000])
        assert requests.get(url, timeout=5).status_code == 404
        assert requests.options(url, timeout=5).status_code == 200
        assert requests.get(f"{server.origin}/metrics", timeout=5).status_code == 200
    raw.sendall(data[180_000:])
    assert raw.recv(65536).startswith(b"HTTP/1.1 204")
    assert server.stored(url) == data


@pytest.mark.requirement("CREA-03")
@pytest.mark.parametrize("method", ["PUT", "TRACE", "PROPFIND", "POST", "post"])
def test_amb_31_another_method_is_told_which_there_are(server: ServerProcess, connect: Connect, method: str) -> None:
    url = server.create(3)
    answer = requests.request(method, url, headers={**TUS, "Upload-Length": "3"}, timeout=5)
    assert answer.status_code == 405 and answer.headers["Tus-Resumable"] == "1.0.0"
    assert {"HEAD", "PATCH", "DELETE"} <= set(answer.headers["Allow"].split(", "))
    answer = requests.request("PATCH", server.url, headers={**OCTETS, "Upload-Offset": "0"}, timeout=5)
    assert answer.status_code == 405 and "POST" in answer.headers["Allow"].split(", ")


@pytest.mark.requirement("CORE-23", "CORE-43")
def test_amb_32_options_and_head_are_200(server: ServerProcess) -> None:
    url = server.create(3)
    for answer in (requests.options(server.url, timeout=5), requests.options(url, timeout=5), server.head(url)):
        assert answer.status_code == 200 and answer.content == b""


@pytest.mark.requirement("CORE-30", "CORE-31")
def test_amb_34_a_conflict_says_where_to_go_on(server: ServerProcess) -> None:
    url = server.create(5)
    assert server.patch(url, 0, b"abc").status_code == 204
    answer = server.patch(url, 0, b"abc")
    assert answer.status_code == 409 and answer.headers["Upload-Offset"] == "3"


@pytest.mark.parametrize("size", [1_000, 100_000_000])
def test_amb_35_a_refusal_ends_the_connection_instead_of_reading_on(
    server: ServerProcess, connect: Connect, size: int
) -> None:
    url = server.create(5)
    wire = connect()
    wire.send(said("PATCH", url, "Upload-Offset: 3", f"Content-Length: {size}"), b"x" * min(size, 10_000))
    answer = wire.read()
    assert answer.status == 409 and answer.headers["connection"] == "close"
    assert wire.ended()


def test_amb_35_a_refusal_without_a_body_keeps_the_connection(server: ServerProcess, connect: Connect) -> None:
    url = server.create(5)
    wire = connect()
    wire.send(said("PATCH", url, "Upload-Offset: 3"))
    assert wire.read().status == 409
    wire.send(f"HEAD {path_of(url)} HTTP/1.1\r\n{HEAD}\r\n")
    assert wire.read(head_only=True).status == 200


def test_amb_36_ids_are_long_and_plain(server: ServerProcess) -> None:
    urls = {server.create(1) for _ in range(20)}
    assert len(urls) == 20
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{22,}", url.rsplit("/", 1)[1]) for url in urls)


def beside(upload_id: str) -> Iterator[str]:
    """Ways to write what is not the path of this upload."""
    yield from (f"%2e%2e/files/{upload_id}", f"./{upload_id}", f"/{upload_id}", f"{upload_id}/", f"x/{upload_id}")
    yield from (f"{upload_id}%00", f"{upload_id}%20", f"{upload_id}%0A", f"%0A{upload_id}", "a%0Ab", "%ff", "%", "%zz")
    yield from (f"{upload_id}.json", upload_id.swapcase() + "A", upload_id[:-1], "%5c", "..", "%2e%2e%2f", "x" * 9000)


@pytest.mark.requirement("CORE-07", "CORE-21", "CORE-37", "TERM-05")
@pytest.mark.parametrize("number", range(len(list(beside("")))))
def test_amb_36_anything_else_is_no_upload(server: ServerProcess, connect: Connect, number: int) -> None:
    url = server.create(3)
    upload_id = url.rsplit("/", 1)[1]
    place = list(beside(upload_id))[number]
    for method in ("HEAD", "PATCH", "DELETE", "GET"):
        wire = connect()
        wire.send(said(method, f"/files/{place}", "Upload-Offset: 0"))
        answer = wire.read(head_only=method == "HEAD")
        assert answer.status == 404, method
        assert answer.headers["tus-resumable"] == "1.0.0"
    assert server.offset(url) == 0


def test_amb_36_only_the_base_path_creates(server: ServerProcess, connect: Connect) -> None:
    for place in ("/files%0A", "/files%20", "/Files", "/files/x", "/filesx", "//files"):
        wire = connect()
        wire.send(f"POST {place} HTTP/1.1\r\n{HEAD}Upload-Length: 3\r\n\r\n")
        assert wire.read().status in (404, 405), place


@pytest.mark.parametrize(
    "line",
    [
        "Tus-Resumable: 1.0.0", "Upload-Offset: 0", f"Content-Type: {UPLOAD_BYTES}", "Upload-Checksum: sha1 AAAA",
        "Upload-Length: 3", "X-HTTP-Method-Override: PATCH",
    ],
)  # fmt: skip
@pytest.mark.requirement("CORE-02", "CREA-04")
def test_amb_37_a_header_that_is_there_twice_is_refused(server: ServerProcess, connect: Connect, line: str) -> None:
    url = server.create(None)
    lines = ["Upload-Offset: 0", "Content-Length: 3", line]
    name = line.partition(":")[0]
    if f"{name}:" not in said("PATCH", url, "Upload-Offset: 0"):
        lines.append(line)
    wire = connect()
    wire.send(said("PATCH", url, *lines), "abc")
    assert wire.read().status == 400
    head = server.head(url).headers
    assert head["Upload-Offset"] == "0" and head["Upload-Defer-Length"] == "1"


@pytest.mark.parametrize("line", ["Upload-Length: 3", "Upload-Metadata: a YQ==", "Upload-Concat: partial"])
@pytest.mark.requirement("CREA-04", "CREA-19", "CONC-06")
def test_amb_37_nor_does_it_create_anything(server: ServerProcess, connect: Connect, line: str) -> None:
    wire = connect()
    others = [] if line.startswith("Upload-Length") else ["Upload-Length: 3"]
    wire.send(said("POST", "/files", *others, line, line))
    answer = wire.read()
    assert answer.status == 400 and "location" not in answer.headers


@pytest.mark.requirement("CREA-09")
def test_amb_38_39_a_length_is_declared_once_and_not_below_the_offset(server: ServerProcess) -> None:
    url = server.create(None)
    assert server.patch(url, 0, b"abc").status_code == 204
    for status, length in ((400, "2"), (413, "20000001"), (204, "4"), (400, "4")):
        assert server.patch(url, 3, b"", **{"Upload-Length": length}).status_code == status
    assert server.head(url).headers["Upload-Length"] == "4"


def test_an_unknown_upload_is_told_before_the_rest(server: ServerProcess) -> None:
    answer = server.patch(f"{server.url}/{UNKNOWN}", 7, b"abc", **{"Upload-Length": "1"})
    assert answer.status_code == 404
