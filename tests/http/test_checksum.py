"""The Checksum extension, with checksums in headers and in trailers, over HTTP."""

from __future__ import annotations

import pytest
import requests

from tests.e2e.server import ServerProcess, received, some_bytes, wait_for
from tests.http.asking import Connect, Start, checksum, said
from tests.http.wire import chunked

ALGORITHMS = ["sha1", "sha256", "sha512", "md5"]


@pytest.mark.requirement("CSUM-02", "CSUM-10", "CSUM-11", "CSUM-12", "CSUM-13", "CSUM-16")
def test_what_is_announced(server: ServerProcess) -> None:
    for place in (server.url, server.create(1)):
        headers = requests.options(place, timeout=5).headers
        assert {"checksum", "checksum-trailer"} <= set(headers["Tus-Extension"].split(","))
        assert headers["Tus-Checksum-Algorithm"].split(",") == ALGORITHMS


@pytest.mark.requirement("CSUM-01", "CSUM-04", "CSUM-06", "CSUM-07", "CSUM-08", "CSUM-13")
@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("size", [0, 11, 1_000_000])
def test_each_algorithm_verifies(server: ServerProcess, algorithm: str, size: int) -> None:
    data = some_bytes(size)
    url = server.create(size + 1)
    wrong = {"Upload-Checksum": checksum(algorithm, data + b"x")}
    assert server.patch(url, 0, data, **wrong).status_code == 460
    assert server.offset(url) == 0
    assert server.patch(url, 0, data, **{"Upload-Checksum": checksum(algorithm, data)}).status_code == 204
    assert server.patch(url, size, b"!").status_code == 204
    assert server.stored(url) == data + b"!"


@pytest.mark.requirement("CSUM-04")
def test_the_example_of_the_specification(server: ServerProcess) -> None:
    url = server.create(11)
    example = {"Upload-Checksum": "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0="}
    assert server.patch(url, 0, b"hello world", **example).status_code == 204


@pytest.mark.requirement("CSUM-03", "CSUM-04")
def test_it_is_of_the_body_and_not_of_the_upload(server: ServerProcess) -> None:
    url = server.create(6)
    assert server.patch(url, 0, b"abc").status_code == 204
    assert server.patch(url, 3, b"def", **{"Upload-Checksum": checksum("sha1", b"abcdef")}).status_code == 460
    assert server.patch(url, 3, b"def", **{"Upload-Checksum": checksum("sha1", b"def")}).status_code == 204
    assert server.stored(url) == b"abcdef"


@pytest.mark.requirement("CSUM-05", "CSUM-06", "CSUM-08", "CSUM-09", "CSUM-11", "CSUM-14")
@pytest.mark.parametrize(
    ("value", "statuses"),
    [
        (checksum("sha1", b"other"), {460}),
        ("foo AAAA", {400}),
        ("SHA1 " + checksum("sha1", b"abc").split()[1], {400}),
        ("sha1", {400}),
        ("sha1  ", {400}),
        ("sha1  " + checksum("sha1", b"abc").split()[1], {400}),
        ("sha1 %%%", {400}),
        ("sha1 AAAA", {460}),
        ("sha1 AAAAAAAAAAAAAAAAAAAAAAAAAAAA", {460}),
        ("", {400}),
    ],
)
def test_a_wrong_checksum_leaves_nothing(server: ServerProcess, value: str, statuses: set[int]) -> None:
    url = server.create(None)
    headers = {"Upload-Checksum": value, "Upload-Length": "3"}
    assert server.patch(url, 0, b"abc", **headers).status_code in statuses
    head = server.head(url).headers
    assert head["Upload-Offset"] == "0" and head["Upload-Defer-Length"] == "1"
    assert server.patch(url, 0, b"right", **{"Upload-Length": "5"}).status_code == 204
    assert server.stored(url) == b"right"


@pytest.mark.requirement("CSUM-09")
def test_nobody_sees_bytes_that_are_not_verified(start: Start) -> None:
    server = start(progress_every="50ms", lease_ttl="1s")
    data = some_bytes(500_000)
    url = server.create(len(data))
    raw = server.opened_patch(url, 0, len(data), **{"Upload-Checksum": checksum("sha1", data)})
    raw.sendall(data[:400_000])
    for _ in range(20):
        page = requests.get(f"{server.origin}/metrics", timeout=5).text
        assert 'tusserver_held_bytes{status="active"} 0.0' in page
    assert server.offset(url) == 0  # takes over: what was not verified is dropped
    assert b'"taken_over"' in received(raw)
    assert server.patch(url, 0, data, **{"Upload-Checksum": checksum("sha1", data)}).status_code == 204
    assert server.stored(url) == data


@pytest.mark.requirement("CSUM-08", "CSUM-09")
def test_a_body_that_breaks_off_is_not_verified_and_so_not_kept(server: ServerProcess) -> None:
    """AMB-19: the digest is of the whole body, and that never came."""
    data = some_bytes(500_000)
    url = server.create(len(data))
    assert server.patch(url, 0, data[:1000]).status_code == 204
    headers = {"Upload-Checksum": checksum("sha1", data[1000:])}
    raw = server.opened_patch(url, 1000, len(data) - 1000, **headers)
    raw.sendall(data[1000:400_000])
    raw.close()
    wait_for(lambda: '"client_gone"' in server.log.read_text() or server.offset(url))
    assert server.offset(url) == 1000
    assert server.patch(url, 1000, data[1000:], **headers).status_code == 204
    assert server.stored(url) == data


TRAILING = ["Upload-Offset: 0", "Transfer-Encoding: chunked", "Trailer: Upload-Checksum"]


@pytest.mark.requirement("CSUM-15", "CSUM-16")
@pytest.mark.parametrize(
    ("trailer", "status"),
    [
        *((checksum(algorithm, b"hello world"), 204) for algorithm in ALGORITHMS),
        (checksum("sha1", b"hello"), 460),
        ("foo AAAA", 400),
        ("", 400),
        (None, 400),
    ],
)
@pytest.mark.parametrize("sizes", [[4], [1], [100]])
def test_a_checksum_in_the_trailer(
    server: ServerProcess, connect: Connect, trailer: str | None, status: int, sizes: list[int]
) -> None:
    url = server.create(11)
    wire = connect()
    wire.send(said("PATCH", url, *TRAILING))
    wire.send(chunked(b"hello world", sizes), "0\r\n")
    wire.send("\r\n" if trailer is None else f"Upload-Checksum: {trailer}\r\n\r\n")
    assert wire.read().status == status
    assert server.offset(url) == (11 if status == 204 else 0)


@pytest.mark.requirement("CSUM-15")
def test_a_checksum_stands_in_one_place(server: ServerProcess, connect: Connect) -> None:
    url = server.create(11)
    right = f"Upload-Checksum: {checksum('sha1', b'hello world')}"
    wire = connect()
    wire.send(said("PATCH", url, *TRAILING, right), chunked(b"hello world", [4]), f"0\r\n{right}\r\n\r\n")
    assert wire.read().status == 400
    wire = connect()
    wire.send(said("PATCH", url, *TRAILING), chunked(b"hello world", [4]), f"0\r\n{right}\r\n{right}\r\n\r\n")
    assert wire.read().status == 400
    assert server.offset(url) == 0


def test_a_trailer_is_not_a_header(server: ServerProcess, connect: Connect) -> None:
    url = server.create(3)
    wire = connect()
    wire.send(said("PATCH", url, "Upload-Offset: 0", "Transfer-Encoding: chunked"))
    wire.send(chunked(b"abc", [3]), "0\r\nX-HTTP-Method-Override: DELETE\r\nUpload-Offset: 7\r\n\r\n")
    assert wire.read().status == 204
    assert server.stored(url) == b"abc"
