"""The Creation With Upload extension over HTTP."""

from __future__ import annotations

import pytest
import requests

from tests.e2e.server import ServerProcess, some_bytes
from tests.http.asking import UPLOAD_BYTES, Connect, checksum, either_way, post, said
from tests.http.wire import HEAD, chunked

pytestmark = either_way


@pytest.mark.requirement("CWU-02", "CWU-03")
def test_it_is_announced(server: ServerProcess) -> None:
    announced = requests.options(server.url, timeout=5).headers["Tus-Extension"].split(",")
    assert {"creation", "creation-with-upload"} <= set(announced)


@pytest.mark.requirement("CWU-01", "CWU-04", "CWU-06", "CWU-07", "CWU-08")
@pytest.mark.parametrize("size", [0, 3, 5])
def test_bytes_may_come_with_the_creation(server: ServerProcess, size: int) -> None:
    answer = post(server, b"abcde"[:size], Upload_Length="5", Content_Type=UPLOAD_BYTES)
    assert answer.status_code == 201 and answer.headers["Upload-Offset"] == str(size)
    url = answer.headers["Location"]
    assert server.offset(url) == size
    assert server.patch(url, size, b"abcde"[size:]).status_code == 204
    assert server.stored(url) == b"abcde"


@pytest.mark.requirement("CWU-06", "CWU-08")
@pytest.mark.parametrize("length", ["Upload-Length: 100000", "Upload-Defer-Length: 1"])
def test_a_body_in_odd_pieces(server: ServerProcess, connect: Connect, length: str) -> None:
    data = some_bytes(100_000)
    wire = connect()
    wire.send(said("POST", "/files", length, "Transfer-Encoding: chunked"))
    wire.send(chunked(data, [1, 70_000, 13]), "0\r\n\r\n")
    answer = wire.read()
    assert answer.status == 201 and answer.headers["upload-offset"] == "100000"
    url = f"{server.origin}/files/{answer.headers['location'].rsplit('/', 1)[1]}"
    if "Defer" in length:
        assert server.patch(url, 100_000, b"", **{"Upload-Length": "100000"}).status_code == 204
    assert server.stored(url) == data


@pytest.mark.requirement("CWU-07")
def test_a_creation_without_a_body_says_no_offset_nor_needs_a_type(server: ServerProcess) -> None:
    answer = post(server, Upload_Length="5", Content_Type="text/plain")
    assert answer.status_code == 201 and "Upload-Offset" not in answer.headers


@pytest.mark.requirement("CWU-05", "CWU-11", "CWU-12")
def test_bytes_that_cannot_be_taken_make_no_upload(server: ServerProcess, connect: Connect) -> None:
    before = server.held()
    wrong = checksum("sha1", b"xyz")
    refused = [
        (415, post(server, b"abc", Upload_Length="5", Content_Type="text/plain")),
        (415, post(server, b"abc", Upload_Length="5")),
        (413, post(server, b"abcdef", Upload_Length="5", Content_Type=UPLOAD_BYTES)),
        (460, post(server, b"abc", Upload_Length="5", Content_Type=UPLOAD_BYTES, Upload_Checksum=wrong)),
        (400, post(server, b"abc", Upload_Length="5", Content_Type=UPLOAD_BYTES, Upload_Checksum="foo AAAA")),
    ]
    for status, answer in refused:
        assert answer.status_code == status and "Location" not in answer.headers
    wire = connect()
    wire.send(said("POST", "/files", "Upload-Length: 5", "Transfer-Encoding: chunked"))
    wire.send(chunked(b"abcdefgh", [3]), "0\r\n\r\n")
    last = wire.read()
    assert last.status == 413 and "location" not in last.headers
    assert server.held() == before


@pytest.mark.requirement("CWU-12")
def test_a_right_checksum_is_taken(server: ServerProcess) -> None:
    right = checksum("sha256", b"abc")
    answer = post(server, b"abc", Upload_Length="5", Content_Type=UPLOAD_BYTES, Upload_Checksum=right)
    assert answer.status_code == 201 and answer.headers["Upload-Offset"] == "3"


@pytest.mark.requirement("CWU-10")
@pytest.mark.parametrize(
    ("status", "lines"),
    [
        (413, ["Upload-Length: 20000001", "Content-Length: 20000001"]),
        (413, ["Upload-Length: 5", "Content-Length: 6"]),
        (400, ["Content-Length: 5"]),
        (400, ["Upload-Length: 5", "Content-Length: 5", "Upload-Metadata: a !!"]),
        (400, ["Upload-Length: 5", "Content-Length: 5", "Upload-Checksum: foo AAAA"]),
    ],
)
def test_a_creation_that_is_refused_does_not_ask_for_the_body(
    server: ServerProcess, connect: Connect, status: int, lines: list[str]
) -> None:
    wire = connect()
    wire.send(said("POST", "/files", *lines, "Expect: 100-continue"))
    assert wire.read().status == status
    assert wire.ended()


@pytest.mark.requirement("CWU-10")
def test_a_creation_that_is_accepted_asks_for_the_body(server: ServerProcess, connect: Connect) -> None:
    wire = connect()
    wire.send(said("POST", "/files", "Upload-Length: 5", "Content-Length: 5", "Expect: 100-continue"))
    assert wire.read().status == 100
    wire.send("abcde")
    answer = wire.read()
    assert answer.status == 201 and answer.headers["upload-offset"] == "5"
    wire.send(f"HEAD /files/{answer.headers['location'].rsplit('/', 1)[1]} HTTP/1.1\r\n{HEAD}\r\n")
    assert wire.read(head_only=True).headers["upload-offset"] == "5"
