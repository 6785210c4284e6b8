"""tus 1.0.0, the core protocol, over HTTP."""

from __future__ import annotations

import pytest
import requests

from tests.e2e.server import OCTETS, TUS, ServerProcess, metadata, some_bytes
from tests.http.asking import NUMBER, UNKNOWN, UPLOAD_BYTES, Connect, Start, checksum, either_way, path_of, post, said
from tests.http.wire import HEAD, Wire, chunked
from tests.http.wire import OCTETS as OCTETS_HEAD

pytestmark = either_way


def unchanged(server: ServerProcess, url: str, offset: int) -> bool:
    return server.offset(url) == offset


@pytest.mark.requirement("CORE-01", "CORE-19", "CORE-20", "CORE-23", "CORE-24", "CREA-31")
def test_the_core_is_there(server: ServerProcess) -> None:
    url = server.create(10)
    head = server.head(url)
    assert head.status_code == 200
    assert head.headers["Upload-Offset"] == "0" and head.headers["Upload-Length"] == "10"
    assert "no-store" in head.headers["Cache-Control"]
    assert server.patch(url, 0, b"x" * 10).status_code == 204
    head = server.head(url)
    assert head.headers["Upload-Offset"] == head.headers["Upload-Length"] == "10"
    for place in (server.url, url):
        assert requests.options(place, timeout=5).status_code == 200


@pytest.mark.requirement("CORE-02", "CORE-31")
@pytest.mark.parametrize("offset", ["-1", "abc", "1.5", "", "+0", "0x0", "1_0", "\u0660", "9" * 30, " "])
def test_an_offset_is_a_whole_number(server: ServerProcess, connect: Connect, offset: str) -> None:
    url = server.create(10)
    wire = connect()
    said = f"PATCH {path_of(url)} HTTP/1.1\r\n{OCTETS_HEAD}Upload-Offset: {offset}\r\nContent-Length: 1\r\n\r\nx"
    wire.send(said.encode())
    assert wire.read().status == 400
    assert unchanged(server, url, 0)


@pytest.mark.requirement("CORE-02")
def test_two_offsets_are_none(server: ServerProcess, connect: Connect) -> None:
    url = server.create(10)
    wire = connect()
    twice = "Upload-Offset: 0\r\n" * 2
    wire.send(f"PATCH {path_of(url)} HTTP/1.1\r\n{OCTETS_HEAD}{twice}Content-Length: 1\r\n\r\nx")
    assert wire.read().status == 400
    assert unchanged(server, url, 0)


@pytest.mark.requirement("CORE-06", "CORE-07", "CORE-09", "CORE-10", "CORE-11")
@pytest.mark.parametrize("version", [None, "0.2.2", "2.0.0", "1.0", "nonsense", ""])
def test_another_version_is_refused_and_changes_nothing(server: ServerProcess, version: str | None) -> None:
    url = server.create(10)
    headers = {**OCTETS, "Upload-Offset": "0", "Upload-Length": "10"}
    del headers["Tus-Resumable"]
    if version is not None:
        headers["Tus-Resumable"] = version
    for method, place in (("POST", server.url), ("HEAD", url), ("PATCH", url), ("DELETE", url)):
        answer = requests.request(method, place, headers=headers, data=b"x" if method == "PATCH" else None, timeout=5)
        assert answer.status_code == 412, method
        assert answer.headers["Tus-Version"] == answer.headers["Tus-Resumable"] == "1.0.0"
        assert "Location" not in answer.headers
    assert unchanged(server, url, 0)


@pytest.mark.requirement("CORE-07", "CORE-08", "CORE-21", "CORE-22", "CORE-37", "TERM-05")
def test_an_unknown_upload(server: ServerProcess) -> None:
    for method in ("HEAD", "PATCH", "DELETE"):
        for upload_id in (UNKNOWN, "..%2f..%2fetc%2fpasswd", "%00", "x" * 5000, "a/b"):
            url = f"{server.url}/{upload_id}"
            answer = requests.request(method, url, headers={**OCTETS, "Upload-Offset": "0"}, timeout=5)
            assert answer.status_code == 404
            assert answer.headers["Tus-Resumable"] == "1.0.0"
            assert "Upload-Offset" not in answer.headers


@pytest.mark.requirement(
    "CORE-04", "CORE-05", "CORE-12", "CORE-14", "CORE-15", "CORE-43", "CORE-44", "CORE-46", "CSUM-12"
)
@pytest.mark.parametrize("version", [None, "1.0.0", "99.0"])
def test_options_tell_what_the_server_can_do(server: ServerProcess, version: str | None) -> None:
    for place in (server.url, f"{server.url}/{UNKNOWN}"):
        answer = requests.options(place, headers={"Tus-Resumable": version} if version else {}, timeout=5)
        assert answer.status_code == 200 and answer.content == b""
        assert answer.headers["Tus-Version"] == "1.0.0"
        assert answer.headers["Tus-Max-Size"] == str(20_000_000)
        extensions = answer.headers["Tus-Extension"].split(",")
        assert len(set(extensions)) == len(extensions) == 9
        assert "sha1" in answer.headers["Tus-Checksum-Algorithm"].split(",")


@pytest.mark.requirement("CORE-13", "CORE-47")
def test_every_extension_that_is_announced_works_and_each_has_a_test(server: ServerProcess) -> None:
    """All extensions are always on, so there is no answer without ``Tus-Extension``, nor an empty one; their own
    tests are in the modules named after them."""
    announced = requests.options(server.url, timeout=5).headers["Tus-Extension"].split(",")
    assert sorted(announced) == [
        "checksum",
        "checksum-trailer",
        "concatenation",
        "concatenation-unfinished",
        "creation",
        "creation-defer-length",
        "creation-with-upload",
        "expiration",
        "termination",
    ]
    assert server.create(1)
    assert server.create(None)


@pytest.mark.requirement("CORE-16", "CORE-17", "CORE-18")
@pytest.mark.parametrize("real", ["POST", "GET", "PUT", "HEAD"])
def test_the_override_is_the_method(server: ServerProcess, connect: Connect, real: str) -> None:
    url = server.create(3)
    wire = connect()
    wire.send(
        f"{real} {path_of(url)} HTTP/1.1\r\n{OCTETS_HEAD}X-HTTP-Method-Override: PATCH\r\nUpload-Offset: 0\r\n"
        "Content-Length: 3\r\n\r\nabc"
    )
    assert wire.read().status == 204
    assert server.stored(url) == b"abc"
    wire = connect()
    wire.send(f"{real} {path_of(url)} HTTP/1.1\r\n{HEAD}X-HTTP-Method-Override: delete\r\n\r\n")
    assert wire.read(head_only=real == "HEAD").status == 204
    assert server.head(url).status_code == 404


@pytest.mark.requirement("CORE-25", "CORE-34", "CORE-35", "CORE-36")
def test_bytes_go_where_the_offset_says(server: ServerProcess) -> None:
    data = some_bytes(300_000)
    url = server.create(len(data))
    for start, stop in ((0, 1), (1, 200_000), (200_000, 200_000), (200_000, 300_000)):
        answer = server.patch(url, start, data[start:stop])
        assert answer.status_code == 204 and answer.content == b""
        assert answer.headers["Upload-Offset"] == str(stop)
    assert server.stored(url) == data


@pytest.mark.requirement("CORE-26", "CORE-27")
@pytest.mark.parametrize("content_type", ["text/plain", "application/octet-stream", "", None])
def test_another_content_type_is_refused(server: ServerProcess, content_type: str | None) -> None:
    url = server.create(3)
    headers = {**TUS, "Upload-Offset": "0"} | ({} if content_type is None else {"Content-Type": content_type})
    assert requests.patch(url, data=b"abc", headers=headers, timeout=5).status_code == 415
    assert unchanged(server, url, 0)


@pytest.mark.requirement("CORE-28", "CORE-30", "CORE-31")
def test_another_offset_is_refused_and_told(server: ServerProcess) -> None:
    url = server.create(10)
    assert server.patch(url, 0, b"01234").status_code == 204
    for offset in (0, 4, 6, 10, 2**62):
        answer = server.patch(url, offset, b"xxxxx")
        assert answer.status_code == 409
        assert answer.headers["Upload-Offset"] == "5"
    assert server.patch(url, 5, b"56789").status_code == 204
    assert server.stored(url) == b"0123456789"


@pytest.mark.requirement("CORE-33")
def test_many_small_patches(server: ServerProcess) -> None:
    data = some_bytes(100)
    url = server.create(100)
    with requests.Session() as session:
        for at in range(100):
            headers = {**OCTETS, "Upload-Offset": str(at)}
            assert session.patch(url, data=data[at : at + 1], headers=headers, timeout=5).status_code == 204
    assert server.stored(url) == data


@pytest.mark.requirement("CORE-36")
@pytest.mark.parametrize("sizes", [[1], [7, 1, 100], [65536], [1, 70_000]])
def test_a_chunked_body(server: ServerProcess, connect: Connect, sizes: list[int]) -> None:
    data = some_bytes(5_000 if sizes == [1] else 150_000)
    url = server.create(len(data))
    wire = connect()
    wire.send(f"PATCH {path_of(url)} HTTP/1.1\r\n{OCTETS_HEAD}Upload-Offset: 0\r\nTransfer-Encoding: chunked\r\n\r\n")
    wire.send(chunked(data, sizes), "0\r\n\r\n")
    answer = wire.read()
    assert answer.status == 204 and answer.headers["upload-offset"] == str(len(data))
    assert server.stored(url) == data


@pytest.mark.requirement("CORE-38", "CORE-39", "CORE-41")
def test_a_chunked_body_that_breaks_off_is_kept(server: ServerProcess, connect: Connect) -> None:
    data = some_bytes(50_000)
    url = server.create(len(data))
    wire = connect()
    wire.send(f"PATCH {path_of(url)} HTTP/1.1\r\n{OCTETS_HEAD}Upload-Offset: 0\r\nTransfer-Encoding: chunked\r\n\r\n")
    wire.send(chunked(data[:30_000], [10_000]), b"2710\r\n", data[30_000:35_000])
    wire.close()
    offset = server.offset(url)
    if offset < 35_000:  # the connection had not been looked at yet
        offset = server.offset(url)
    assert offset == 35_000
    assert server.patch(url, offset, data[offset:]).status_code == 204
    assert server.stored(url) == data


@pytest.mark.requirement("CWU-10")
@pytest.mark.parametrize("offset", [0, 5])
def test_permission_to_send_is_given_only_when_the_body_is_wanted(
    server: ServerProcess, connect: Connect, offset: int
) -> None:
    url = server.create(10)
    wire = connect()
    wire.send(
        f"PATCH {path_of(url)} HTTP/1.1\r\n{OCTETS_HEAD}Upload-Offset: {offset}\r\nContent-Length: 3\r\n"
        "Expect: 100-continue\r\n\r\n"
    )
    answer = wire.read()
    if offset:
        assert answer.status == 409
        assert wire.ended()
    else:
        assert answer.status == 100
        wire.send("abc")
        assert wire.read().status == 204


def test_requests_in_one_go(server: ServerProcess, connect: Connect) -> None:
    url = server.create(6)
    wire = connect()
    for at, data in ((0, "abc"), (3, "def")):
        wire.send(
            f"PATCH {path_of(url)} HTTP/1.1\r\n{OCTETS_HEAD}Upload-Offset: {at}\r\nContent-Length: 3\r\n\r\n{data}"
        )
    wire.send(f"HEAD {path_of(url)} HTTP/1.1\r\n{HEAD}\r\n")
    assert [wire.read().status, wire.read().status] == [204, 204]
    assert wire.read(head_only=True).headers["upload-offset"] == "6"


def test_head_and_get_say_the_same_of_a_finished_upload(server: ServerProcess) -> None:
    url = server.create(3, **{"Upload-Metadata": metadata(filename="a.mp4", filetype="video/mp4")})
    assert "ETag" not in server.head(url).headers
    assert server.patch(url, 0, b"abc").status_code == 204
    head, get = (
        {name.lower(): value for name, value in answer.headers.items() if name.lower() != "date"}
        for answer in (server.head(url), requests.get(url, timeout=5))
    )
    assert head.pop("cache-control") == "no-store"
    assert get.pop("cache-control") == "private, no-cache"
    assert get.pop("content-length") == "3"
    assert head == get
    assert head["upload-offset"] == "3" and head["content-type"] == "video/mp4"


@pytest.mark.requirement("CORE-01", "CORE-47")
def test_no_method_of_the_core_is_missing(server: ServerProcess) -> None:
    url = server.create(3)
    answers = [server.head(url), server.patch(url, 0, b"a"), requests.options(server.url, timeout=5)]
    assert [answer.status_code for answer in answers] == [200, 204, 200]


@pytest.mark.requirement("CORE-02", "CORE-19", "CORE-35")
def test_offsets_are_told_as_plain_numbers(server: ServerProcess) -> None:
    url = server.create(12)
    for offset in range(12):
        assert NUMBER.fullmatch(server.head(url).headers["Upload-Offset"])
        told = server.patch(url, offset, b"x").headers["Upload-Offset"]
        assert NUMBER.fullmatch(told) and int(told) == offset + 1


@pytest.mark.requirement("CORE-13")
def test_what_is_not_on_is_not_announced(start: Start) -> None:
    server = start(expire_after="never")
    headers = requests.options(server.url, timeout=5).headers
    assert "expiration" not in headers["Tus-Extension"] and "" not in headers["Tus-Extension"].split(",")


@pytest.mark.requirement("CORE-15", "CORE-44")
def test_no_bound_no_maximum(start: Start) -> None:
    server = start()
    assert "Tus-Max-Size" not in requests.options(server.url, timeout=5).headers
    assert post(server, Upload_Length=str(2**63)).status_code == 400


@pytest.mark.requirement("CORE-16", "CORE-17")
@pytest.mark.parametrize("real", ["POST", "GET", "DELETE", "PATCH"])
def test_the_override_may_be_head(server: ServerProcess, connect: Connect, real: str) -> None:
    url = server.create(3)
    wire = connect()
    wire.send(f"{real} {path_of(url)} HTTP/1.1\r\n{HEAD}X-HTTP-Method-Override: HEAD\r\n\r\n")
    answer = wire.read()
    assert answer.status == 200 and answer.headers["upload-offset"] == "0" and answer.body == b""
    assert unchanged(server, url, 0)


@pytest.mark.requirement("CORE-16")
def test_the_override_may_be_post(server: ServerProcess) -> None:
    headers = {**TUS, "Upload-Length": "3", "X-HTTP-Method-Override": "POST"}
    assert requests.put(server.url, headers=headers, timeout=5).status_code == 201


@pytest.mark.requirement("CORE-22", "CORE-24")
def test_an_answer_about_nothing_is_not_kept_either(server: ServerProcess) -> None:
    answer = server.head(f"{server.url}/{UNKNOWN}")
    assert answer.status_code == 404 and "no-store" in answer.headers["Cache-Control"]
    assert not {"Upload-Offset", "Upload-Length"} & set(answer.headers)


@pytest.mark.requirement("CORE-40", "CORE-41")
@pytest.mark.parametrize("chunks", [True, False])
def test_a_body_that_stalls_is_ended_and_what_arrived_is_kept(start: Start, chunks: bool) -> None:
    server = start(idle_timeout="300ms")
    data = some_bytes(100_000)
    url = server.create(len(data))
    wire = Wire(server.port)
    framing = "Transfer-Encoding: chunked" if chunks else "Content-Length: 100000"
    wire.send(said("PATCH", url, "Upload-Offset: 0", framing))
    wire.send(chunked(data[:60_000], [7_000]) if chunks else data[:60_000])
    answer = wire.read()
    assert answer.status == 408 and answer.headers["upload-offset"] == "60000"
    assert wire.ended()
    wire.close()
    assert server.patch(url, 60_000, data[60_000:]).status_code == 204
    assert server.stored(url) == data


@pytest.mark.parametrize("space", [" ", "\t", "  \t "])
def test_white_space_around_a_value_is_no_part_of_it(server: ServerProcess, connect: Connect, space: str) -> None:
    url = server.create(3)
    wire = connect()
    lines = {
        "Tus-Resumable": "1.0.0", "Content-Type": UPLOAD_BYTES, "Upload-Offset": "0", "Content-Length": "3",
        "Upload-Checksum": checksum("sha1", b"abc"),
    }  # fmt: skip
    head = "".join(f"{name}:{space}{value}{space}\r\n" for name, value in lines.items())
    wire.send(f"PATCH {path_of(url)} HTTP/1.1\r\nHost: a\r\n{head}\r\nabc")
    assert wire.read().status == 204
    assert server.stored(url) == b"abc"
