"""Creation, creation with upload, checksum, termination and concatenation over HTTP: what only a server shows."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable

import pytest
import requests

from tests.e2e.server import OCTETS, TUS, ServerProcess, metadata, some_bytes, wait_for
from tests.http.test_core import path_of
from tests.http.wire import OCTETS as OCTETS_HEAD
from tests.http.wire import Wire, chunked

Connect = Callable[[], Wire]


def checksum(algorithm: str, data: bytes) -> str:
    digest = hashlib.new(algorithm, data, usedforsecurity=False).digest()
    return f"{algorithm} {base64.b64encode(digest).decode()}"


def post(server: ServerProcess, data: bytes | None = None, **headers: str) -> requests.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return requests.post(server.url, data=data, headers={**TUS, **named}, timeout=10)


# Creation


@pytest.mark.requirement("CREA-01", "CREA-02", "CREA-27", "CREA-28", "CREA-29")
def test_creation(server: ServerProcess) -> None:
    answer = post(server, Upload_Length="5")
    assert answer.status_code == 201
    assert server.offset(answer.headers["Location"]) == 0
    assert requests.post(server.url + "/", headers={**TUS, "Upload-Length": "5"}, timeout=5).status_code == 201
    assert (
        requests.post(answer.headers["Location"], headers={**TUS, "Upload-Length": "5"}, timeout=5).status_code == 405
    )


@pytest.mark.requirement("CREA-03", "CREA-04", "CREA-05", "CORE-03")
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Upload_Length": "5", "Upload_Defer_Length": "1"},
        {"Upload_Length": "-1"},
        {"Upload_Length": "1e3"},
        {"Upload_Length": ""},
        {"Upload_Defer_Length": "0"},
        {"Upload_Defer_Length": "01"},
        {"Upload_Defer_Length": "true"},
    ],
)
def test_a_length_is_said_once_and_rightly(server: ServerProcess, headers: dict[str, str]) -> None:
    answer = post(server, None, **headers)
    assert answer.status_code == 400 and "Location" not in answer.headers


@pytest.mark.requirement("CREA-06", "CREA-07", "CREA-08", "CREA-09", "CREA-10")
def test_a_deferred_length(server: ServerProcess) -> None:
    url = server.create(None)
    assert server.head(url).headers["Upload-Defer-Length"] == "1"
    assert "Upload-Length" not in server.head(url).headers
    assert server.patch(url, 0, b"abc").status_code == 204
    assert server.head(url).headers["Upload-Defer-Length"] == "1"
    assert server.patch(url, 3, b"", **{"Upload-Length": "2"}).status_code == 400
    assert server.patch(url, 3, b"", **{"Upload-Length": "5"}).status_code == 204
    head = server.head(url)
    assert head.headers["Upload-Length"] == "5" and "Upload-Defer-Length" not in head.headers
    for length in ("5", "6"):
        assert server.patch(url, 3, b"de", **{"Upload-Length": length}).status_code == 400
    assert server.patch(url, 3, b"de").status_code == 204
    assert server.stored(url) == b"abcde"


@pytest.mark.requirement("CREA-12", "CREA-13")
def test_an_empty_upload_is_complete_at_once(server: ServerProcess) -> None:
    url = server.create(0)
    head = server.head(url)
    assert head.headers["Upload-Offset"] == head.headers["Upload-Length"] == "0"
    assert server.stored(url) == b""


@pytest.mark.requirement("CREA-14", "CREA-18", "CREA-20", "CREA-23", "CREA-24")
@pytest.mark.parametrize("said", ["b Yg==,a", "b Yg==,a ,c Yw==", metadata(filename="ünï.mp4", type="video/mp4")])
def test_metadata_come_back_as_they_were(server: ServerProcess, said: str) -> None:
    url = server.create(5, **{"Upload-Metadata": said})
    assert server.head(url).headers["Upload-Metadata"] == said.strip()


@pytest.mark.requirement("CREA-15", "CREA-16", "CREA-17", "CREA-19")
@pytest.mark.parametrize(
    "said", ["a  Yg==", "a b c", ",a Yg==", "a Yg==,", "a !!", "a Yg==,a Yw==", "a Yg", "\xe4 Yg=="]
)
def test_malformed_metadata_are_refused(server: ServerProcess, connect: Connect, said: str) -> None:
    wire = connect()
    wire.send(f"POST /files HTTP/1.1\r\n{OCTETS_HEAD}Upload-Length: 5\r\nUpload-Metadata: {said}\r\n\r\n")
    answer = wire.read()
    assert answer.status == 400 and "location" not in answer.headers


@pytest.mark.requirement("CREA-21")
def test_metadata_cannot_break_out_of_a_header(server: ServerProcess) -> None:
    name = 'a"\r\nSet-Cookie: x=y\r\n.mp4'
    url = server.create(0, **{"Upload-Metadata": metadata(filename=name, filetype="text/html\r\nX: y")})
    answer = requests.get(url, timeout=5)
    assert "Set-Cookie" not in answer.headers and "X" not in answer.headers
    assert answer.headers["Content-Type"] == "application/octet-stream"


@pytest.mark.requirement("CREA-25", "CREA-26", "CONC-26")
def test_the_maximum_size(server: ServerProcess) -> None:
    assert post(server, Upload_Length="20000001").status_code == 413
    assert post(server, Upload_Length="20000000").status_code == 201
    url = server.create(None)
    assert server.patch(url, 0, b"", **{"Upload-Length": "20000001"}).status_code == 413
    parts = [server.create(11_000_000, **{"Upload-Concat": "partial"}) for _ in range(2)]
    assert post(server, Upload_Concat=f"final;{' '.join(parts)}").status_code == 413


# Creation with upload


@pytest.mark.requirement("CWU-02", "CWU-03", "CWU-04", "CWU-06", "CWU-07", "CWU-08")
@pytest.mark.parametrize("size", [0, 3, 5])
def test_bytes_may_come_with_the_creation(server: ServerProcess, size: int) -> None:
    answer = post(server, b"abcde"[:size], Upload_Length="5", Content_Type="application/offset+octet-stream")
    assert answer.status_code == 201 and answer.headers["Upload-Offset"] == str(size)
    url = answer.headers["Location"]
    assert server.offset(url) == size
    assert server.patch(url, size, b"abcde"[size:]).status_code == 204
    assert server.stored(url) == b"abcde"


@pytest.mark.requirement("CWU-05", "CWU-11", "CWU-12")
def test_bytes_that_cannot_be_taken_make_no_upload(server: ServerProcess, connect: Connect) -> None:
    octets = "application/offset+octet-stream"
    before = server.held()
    assert post(server, b"abc", Upload_Length="5", Content_Type="text/plain").status_code == 415
    assert post(server, b"abcdef", Upload_Length="5", Content_Type=octets).status_code == 413
    wrong = checksum("sha1", b"xyz")
    assert post(server, b"abc", Upload_Length="5", Content_Type=octets, Upload_Checksum=wrong).status_code == 460
    wire = connect()
    wire.send(f"POST /files HTTP/1.1\r\n{OCTETS_HEAD}Upload-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n")
    wire.send(chunked(b"abcdefgh", [3]), "0\r\n\r\n")
    answer = wire.read()
    assert answer.status == 413 and "location" not in answer.headers
    assert server.held() == before


# Checksum


@pytest.mark.requirement("CSUM-01", "CSUM-02", "CSUM-03", "CSUM-04", "CSUM-07", "CSUM-10", "CSUM-11", "CSUM-13")
@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha512", "md5"])
@pytest.mark.parametrize("size", [11, 1_000_000])
def test_each_algorithm_verifies(server: ServerProcess, algorithm: str, size: int) -> None:
    data = some_bytes(size)
    url = server.create(size)
    answer = server.patch(url, 0, data, **{"Upload-Checksum": checksum(algorithm, data[1:])})
    assert answer.status_code == 460
    assert server.offset(url) == 0
    assert server.patch(url, 0, data, **{"Upload-Checksum": checksum(algorithm, data)}).status_code == 204
    assert server.stored(url) == data


@pytest.mark.requirement("CSUM-04")
def test_the_example_of_the_specification(server: ServerProcess) -> None:
    url = server.create(11)
    said = {"Upload-Checksum": "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0="}
    assert server.patch(url, 0, b"hello world", **said).status_code == 204


@pytest.mark.requirement("CSUM-05", "CSUM-06", "CSUM-08", "CSUM-09", "CSUM-14")
@pytest.mark.parametrize("said", ["foo AAAA", "sha1", "sha1  ", "sha1 %%%", "sha1 AAAA", "SHA1 AAAA", ""])
def test_a_wrong_checksum_leaves_nothing(server: ServerProcess, said: str) -> None:
    url = server.create(None)
    for checksum_said in (said, checksum("sha1", b"other")):
        headers = {"Upload-Checksum": checksum_said, "Upload-Length": "3"}
        assert server.patch(url, 0, b"abc", **headers).status_code in (400, 460)
        head = server.head(url)
        assert head.headers["Upload-Offset"] == "0" and head.headers["Upload-Defer-Length"] == "1"
    assert server.patch(url, 0, b"right", **{"Upload-Length": "5"}).status_code == 204
    assert server.stored(url) == b"right"


@pytest.mark.requirement("CSUM-09")
def test_nobody_sees_bytes_that_are_not_verified(start: Callable[..., ServerProcess]) -> None:
    server = start(progress_every="50ms", lease_ttl="1s")
    data = some_bytes(500_000)
    url = server.create(len(data))
    raw = server.opened_patch(url, 0, len(data), **{"Upload-Checksum": checksum("sha1", data)})
    raw.sendall(data[:400_000])
    for _ in range(20):
        page = requests.get(f"{server.origin}/metrics", timeout=5).text
        assert 'tusserver_held_bytes{status="active"} 0.0' in page
    assert server.offset(url) == 0  # takes over: what was not verified is dropped
    assert server.patch(url, 0, data, **{"Upload-Checksum": checksum("sha1", data)}).status_code == 204
    assert server.stored(url) == data


@pytest.mark.requirement("CSUM-15", "CSUM-16")
@pytest.mark.parametrize(
    ("trailer", "status"),
    [
        (checksum("sha256", b"hello world"), 204),
        (checksum("md5", b"hello world"), 204),
        (checksum("sha1", b"hello"), 460),
        ("foo AAAA", 400),
        (None, 400),
    ],
)
def test_a_checksum_in_the_trailer(server: ServerProcess, connect: Connect, trailer: str | None, status: int) -> None:
    url = server.create(11)
    wire = connect()
    wire.send(
        f"PATCH {path_of(url)} HTTP/1.1\r\n{OCTETS_HEAD}Upload-Offset: 0\r\nTransfer-Encoding: chunked\r\n"
        "Trailer: Upload-Checksum\r\n\r\n"
    )
    wire.send(chunked(b"hello world", [4]), "0\r\n", f"Upload-Checksum: {trailer}\r\n\r\n" if trailer else "\r\n")
    assert wire.read().status == status
    assert server.offset(url) == (11 if status == 204 else 0)


def test_a_trailer_is_not_a_header(server: ServerProcess, connect: Connect) -> None:
    url = server.create(3)
    wire = connect()
    wire.send(f"PATCH {path_of(url)} HTTP/1.1\r\n{OCTETS_HEAD}Upload-Offset: 0\r\nTransfer-Encoding: chunked\r\n\r\n")
    wire.send(chunked(b"abc", [3]), "0\r\nX-HTTP-Method-Override: DELETE\r\nUpload-Offset: 7\r\n\r\n")
    assert wire.read().status == 204
    assert server.stored(url) == b"abc"


# Expiration


@pytest.mark.requirement("EXP-01", "EXP-02", "EXP-04", "EXP-05", "EXP-07", "EXP-08", "EXP-10")
def test_an_idle_upload_expires(start: Callable[..., ServerProcess]) -> None:
    server = start(expire_after="1s", sweep_every="100ms")
    answer = post(server, Upload_Length="5")
    assert answer.headers["Upload-Expires"].endswith("GMT")
    url = answer.headers["Location"]
    assert server.patch(url, 0, b"abc").headers["Upload-Expires"].endswith("GMT")
    wait_for(lambda: server.head(url).status_code == 410)
    wait_for(lambda: not list((server.uploads / "parts").iterdir()))
    assert server.patch(url, 3, b"de").status_code == 410
    done = server.create(3)
    last = server.patch(done, 0, b"abc")
    assert "Upload-Expires" not in last.headers


# Termination


@pytest.mark.requirement("TERM-01", "TERM-02", "TERM-03", "TERM-04")
@pytest.mark.parametrize("size", [0, 3, 5])
def test_termination_frees_everything(server: ServerProcess, size: int) -> None:
    url = server.create(5)
    assert server.patch(url, 0, b"abcde"[:size]).status_code == 204
    upload_id = url.rsplit("/", 1)[1]
    assert [path for path in server.uploads.rglob(f"{upload_id}*")]
    assert requests.delete(url, headers=TUS, timeout=5).status_code == 204
    assert not list(server.uploads.rglob(f"{upload_id}*"))
    for method in ("HEAD", "PATCH", "DELETE"):
        headers = {**OCTETS, "Upload-Offset": str(size)}
        assert requests.request(method, url, headers=headers, timeout=5).status_code == 404


def test_termination_ends_who_is_writing(server: ServerProcess) -> None:
    url = server.create(1_000_000)
    raw = server.opened_patch(url, 0, 1_000_000)
    raw.sendall(b"x" * 100_000)
    assert requests.delete(url, headers=TUS, timeout=5).status_code == 204
    assert raw.recv(65536).startswith((b"HTTP/1.1 409", b"HTTP/1.1 404"))
    assert not list(server.uploads.rglob(f"{url.rsplit('/', 1)[1]}*"))


# Concatenation


@pytest.mark.requirement(
    "CONC-01", "CONC-02", "CONC-05", "CONC-14", "CONC-16", "CONC-17", "CONC-20", "CONC-22", "CONC-24"
)
@pytest.mark.parametrize("form", ["absolute", "path"])
def test_concatenation(server: ServerProcess, form: str) -> None:
    parts = []
    for data in (b"one", b"two"):
        url = server.create(3, **{"Upload-Concat": "partial", "Upload-Metadata": "of b25l"})
        assert server.patch(url, 0, data).status_code == 204
        parts.append(url)
    said = "final;" + " ".join(url if form == "absolute" else path_of(url) for url in parts)
    final = post(server, Upload_Concat=said).headers["Location"]
    assert post(server, Upload_Concat=said).headers["Location"] == final
    head = server.head(final)
    assert head.headers["Upload-Concat"] == said and "Upload-Metadata" not in head.headers
    assert head.headers["Upload-Offset"] == head.headers["Upload-Length"] == "6"
    for offset in (0, 6, 7):
        assert server.patch(final, offset, b"x").status_code == 403
    assert server.stored(final) == b"onetwo"
    for url, data in zip(parts, (b"one", b"two"), strict=True):
        assert server.head(url).headers["Upload-Concat"] == "partial"
        assert server.stored(url) == data


@pytest.mark.requirement("CONC-06", "CONC-09", "CONC-25")
def test_a_final_upload_is_asked_for_rightly(server: ServerProcess) -> None:
    part = server.create(3, **{"Upload-Concat": "partial"})
    whole = server.create(3)
    wrong = [
        "foo",
        "final",
        "final;",
        f"Final;{part}",
        f"final;{part}  {part}",
        f"final;{whole}",
        f"final;{server.url}/x",
    ]
    for said in [*wrong, f"final;https://elsewhere.example/files/{part.rsplit('/', 1)[1]}"]:
        assert post(server, Upload_Concat=said).status_code == 400, said
    assert post(server, Upload_Concat=f"final;{part}", Upload_Length="3").status_code == 400


@pytest.mark.requirement("CONC-18", "CONC-21")
def test_a_final_upload_over_partials_on_their_way(server: ServerProcess) -> None:
    part = server.create(3, **{"Upload-Concat": "partial"})
    final = post(server, Upload_Concat=f"final;{part}").headers["Location"]
    head = server.head(final)
    assert "Upload-Offset" not in head.headers and head.headers["Upload-Length"] == "3"
    assert requests.get(final, timeout=5).status_code == 404
    assert server.patch(part, 0, b"abc").status_code == 204
    wait_for(lambda: "Upload-Offset" in server.head(final).headers)
    assert server.stored(final) == b"abc"
