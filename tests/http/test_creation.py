"""The Creation extension, and deferred lengths, over HTTP."""

from __future__ import annotations

from urllib.parse import urljoin

import pytest
import requests

from tests.e2e.server import TUS, ServerProcess, metadata
from tests.http.asking import NUMBER, Connect, post, said


@pytest.mark.requirement("CREA-01", "CREA-02", "CREA-03", "CREA-27", "CREA-28", "CREA-29", "CREA-31")
def test_creation(server: ServerProcess) -> None:
    assert "creation" in requests.options(server.url, timeout=5).headers["Tus-Extension"].split(",")
    answer = post(server, Upload_Length="5")
    assert answer.status_code == 201 and answer.content == b""
    url = answer.headers["Location"]
    assert urljoin(server.url, url) == url
    assert server.head(url).headers["Upload-Offset"] == "0"
    assert requests.post(server.url + "/", headers={**TUS, "Upload-Length": "5"}, timeout=5).status_code == 201
    answer = requests.post(url, headers={**TUS, "Upload-Length": "5"}, timeout=5)
    assert answer.status_code == 405 and "Location" not in answer.headers


@pytest.mark.requirement("CREA-28", "CREA-29")
def test_a_relative_location_works_too(server: ServerProcess) -> None:
    answer = post(server, Upload_Length="5", X_Forwarded_Host="elsewhere.example")
    assert answer.headers["Location"].startswith("/files/")
    assert server.offset(urljoin(server.url, answer.headers["Location"])) == 0


@pytest.mark.requirement("CREA-04", "CREA-05", "CORE-03")
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Upload_Length": "5", "Upload_Defer_Length": "1"},
        *({"Upload_Length": value} for value in ("-1", "+5", "1e3", "1.5", "x", "", "1_0", "0x5", "9" * 30, "5, 5")),
        *({"Upload_Defer_Length": value} for value in ("0", "2", "01", "true", "")),
        {"Upload_Length": "5", "Upload_Defer_Length": "0"},
    ],
)
def test_a_length_is_said_once_and_rightly(server: ServerProcess, headers: dict[str, str]) -> None:
    answer = post(server, None, **headers)
    assert answer.status_code == 400 and "Location" not in answer.headers
    assert answer.json()["error"] == "bad_header"


@pytest.mark.requirement("CORE-03", "CORE-20", "CREA-07", "CREA-31")
@pytest.mark.parametrize("length", [0, 1, 20_000_000])
def test_the_length_is_told_as_it_was_said(server: ServerProcess, length: int) -> None:
    head = server.head(server.create(length)).headers
    assert head["Upload-Length"] == str(length) and NUMBER.fullmatch(head["Upload-Offset"])
    assert "Upload-Defer-Length" not in head


@pytest.mark.requirement("CORE-20", "CREA-06", "CREA-07", "CREA-08", "CREA-09", "CREA-10", "CREA-11")
def test_a_deferred_length(server: ServerProcess) -> None:
    assert "creation-defer-length" in requests.options(server.url, timeout=5).headers["Tus-Extension"].split(",")
    url = server.create(None)
    for offset, data in ((0, b"abc"), (3, b"")):
        head = server.head(url).headers
        assert head["Upload-Defer-Length"] == "1" and "Upload-Length" not in head
        assert head["Upload-Offset"] == str(offset)
        assert server.patch(url, offset, data).status_code == 204
    assert server.patch(url, 3, b"", **{"Upload-Length": "2"}).status_code == 400
    assert server.head(url).headers["Upload-Defer-Length"] == "1"
    assert server.patch(url, 3, b"", **{"Upload-Length": "5"}).status_code == 204
    head = server.head(url).headers
    assert head["Upload-Length"] == "5" and "Upload-Defer-Length" not in head
    for length in ("5", "6"):
        assert server.patch(url, 3, b"de", **{"Upload-Length": length}).status_code == 400
    assert server.patch(url, 3, b"de").status_code == 204
    assert server.stored(url) == b"abcde"


@pytest.mark.requirement("CREA-08")
def test_a_deferred_length_comes_with_the_last_bytes(server: ServerProcess) -> None:
    url = server.create(None)
    assert server.patch(url, 0, b"abc").status_code == 204
    assert requests.get(url, timeout=5).status_code == 404
    assert server.patch(url, 3, b"de", **{"Upload-Length": "5"}).headers["Upload-Offset"] == "5"
    assert server.stored(url) == b"abcde"


@pytest.mark.requirement("CREA-09")
@pytest.mark.parametrize("length", ["4", "5", "6", "x"])
def test_a_length_does_not_change(server: ServerProcess, length: str) -> None:
    url = server.create(5)
    assert server.patch(url, 0, b"abc", **{"Upload-Length": length}).status_code == 400
    head = server.head(url).headers
    assert (head["Upload-Offset"], head["Upload-Length"]) == ("0", "5")


@pytest.mark.requirement("CREA-12", "CREA-13")
def test_an_empty_upload_is_complete_at_once(server: ServerProcess) -> None:
    answer = post(server, Upload_Length="0")
    assert answer.status_code == 201
    head = server.head(answer.headers["Location"]).headers
    assert head["Upload-Offset"] == head["Upload-Length"] == "0"
    assert server.stored(answer.headers["Location"]) == b""


@pytest.mark.requirement("CREA-14", "CREA-18", "CREA-20", "CREA-22", "CREA-24")
@pytest.mark.parametrize(
    "value",
    [
        "b Yg==,a",
        "b Yg==,a ,c Yw==",
        "is_confidential",
        "z eg==,a YQ==,m bQ==",
        metadata(filename="ünï.mp4", type="video/mp4"),
    ],
)
def test_metadata_come_back_as_they_were(server: ServerProcess, connect: Connect, value: str) -> None:
    url = server.create(5, **{"Upload-Metadata": value})
    assert server.head(url).headers["Upload-Metadata"] == value
    assert server.patch(url, 0, b"abcde").status_code == 204
    assert server.head(url).headers["Upload-Metadata"] == value


@pytest.mark.requirement("CREA-20")
def test_an_empty_value_may_have_its_space(server: ServerProcess) -> None:
    """Behind the last value it is white space around a header's value, which HTTP does not carry over."""
    url = server.create(5, **{"Upload-Metadata": "is_confidential "})
    assert server.head(url).headers["Upload-Metadata"] == "is_confidential"


@pytest.mark.requirement("CREA-15", "CREA-16", "CREA-17", "CREA-18", "CREA-19", "CREA-23")
@pytest.mark.parametrize(
    "value",
    [
        "a  Yg==", "a b c", ",a Yg==", "a Yg==,", "a Yg==,,b Yg==", "a !!", "filename not!!base64", "a Yg==,a Yw==",
        "a Yg", "a Yg==, b Yg==", "a,a", "\xe4 Yg==", "a Y_-=", "a Yg== ,b",
    ],
)  # fmt: skip
def test_malformed_metadata_are_refused(server: ServerProcess, connect: Connect, value: str) -> None:
    wire = connect()
    wire.send(said("POST", "/files", "Upload-Length: 5", f"Upload-Metadata: {value}"))
    answer = wire.read()
    assert answer.status == 400 and "location" not in answer.headers


@pytest.mark.requirement("CREA-21")
def test_metadata_cannot_break_out_of_a_header(server: ServerProcess) -> None:
    name = 'a"\r\nSet-Cookie: x=y\r\n.mp4'
    url = server.create(0, **{"Upload-Metadata": metadata(filename=name, filetype="text/html\r\nX: y")})
    for answer in (requests.get(url, timeout=5), server.head(url)):
        assert "Set-Cookie" not in answer.headers and "X" not in answer.headers
        assert answer.headers["Content-Type"] == "application/octet-stream"
        assert answer.headers["Content-Disposition"].startswith("attachment")


@pytest.mark.requirement("CREA-25", "CREA-26", "CONC-26")
def test_the_maximum_size(server: ServerProcess) -> None:
    maximum = int(requests.options(server.url, timeout=5).headers["Tus-Max-Size"])
    answer = post(server, Upload_Length=str(maximum + 1))
    assert answer.status_code == 413 and "Location" not in answer.headers
    assert post(server, Upload_Length=str(maximum)).status_code == 201
    url = server.create(None)
    assert server.patch(url, 0, b"", **{"Upload-Length": str(maximum + 1)}).status_code == 413
    assert server.head(url).headers["Upload-Defer-Length"] == "1"
    parts = [server.create(maximum // 2 + 1, **{"Upload-Concat": "partial"}) for _ in range(2)]
    answer = post(server, Upload_Concat=f"final;{' '.join(parts)}")
    assert answer.status_code == 413 and "Location" not in answer.headers


@pytest.mark.requirement("CREA-25")
@pytest.mark.parametrize("chunks", [True, False])
def test_the_maximum_size_binds_an_upload_of_unknown_length(
    server: ServerProcess, connect: Connect, chunks: bool
) -> None:
    url = server.create(None)
    assert server.patch(url, 0, bytes(19_999_999)).status_code == 204
    wire = connect()
    wire.send(
        said("PATCH", url, "Upload-Offset: 19999999", "Transfer-Encoding: chunked" if chunks else "Content-Length: 3")
    )
    wire.send("3\r\nabc\r\n0\r\n\r\n" if chunks else "abc")
    assert wire.read().status == 413
    assert server.offset(url) <= 20_000_000
