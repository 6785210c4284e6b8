"""The Concatenation extension, also over uploads that are not finished, over HTTP."""

from __future__ import annotations

import pytest
import requests

from tests.e2e.server import ServerProcess, metadata, some_bytes, wait_for
from tests.http.asking import UNKNOWN, UPLOAD_BYTES, kept, path_of, post

PARTIAL = {"Upload-Concat": "partial"}


def partial(server: ServerProcess, data: bytes) -> str:
    """A finished partial upload."""
    url = server.create(len(data), **PARTIAL)
    assert server.patch(url, 0, data).status_code == 204
    return url


def joined(server: ServerProcess, *urls: str, **headers: str) -> str:
    """A final upload over these."""
    answer = post(server, None, Upload_Concat=f"final;{' '.join(urls)}", **headers)
    assert answer.status_code == 201, answer.text
    return answer.headers["Location"]


@pytest.mark.requirement("CONC-01", "CONC-11")
def test_it_is_announced(server: ServerProcess) -> None:
    announced = requests.options(server.url, timeout=5).headers["Tus-Extension"].split(",")
    assert {"concatenation", "concatenation-unfinished"} <= set(announced)


@pytest.mark.requirement(
    "CONC-02", "CONC-04", "CONC-05", "CONC-14", "CONC-16", "CONC-17", "CONC-19", "CONC-20", "CONC-22", "CONC-23",
    "CONC-24",
)  # fmt: skip
@pytest.mark.parametrize("form", ["absolute", "path"])
def test_concatenation(server: ServerProcess, form: str) -> None:
    parts = [partial(server, data) for data in (b"one", b"three")]
    value = "final;" + " ".join(url if form == "absolute" else path_of(url) for url in parts)
    final = post(server, Upload_Concat=value).headers["Location"]
    head = server.head(final).headers
    assert head["Upload-Concat"] == value
    assert head["Upload-Offset"] == head["Upload-Length"] == "8"
    for offset in (0, 3, 8, 9):
        for data in (b"x", b""):
            assert server.patch(final, offset, data).status_code == 403
    assert server.stored(final) == b"onethree"
    for url, data in zip(parts, (b"one", b"three"), strict=True):
        head = server.head(url).headers
        assert head["Upload-Concat"] == "partial"
        assert head["Upload-Offset"] == head["Upload-Length"] == str(len(data))
        assert server.stored(url) == data


def test_the_same_again_is_the_same_upload(server: ServerProcess) -> None:
    parts = [partial(server, data) for data in (b"one", b"two")]
    final = joined(server, *parts)
    held = server.held()
    assert joined(server, *parts) == final
    assert server.held() == held


@pytest.mark.requirement("CONC-07", "CONC-15")
def test_the_order_and_number_of_the_list_count(server: ServerProcess) -> None:
    one, two = partial(server, b"one"), partial(server, some_bytes(200_000))
    for urls in ((one, two), (two, one), (one, one), (one, two, one, one), (one,)):
        expected = b"".join(server.stored(url) for url in urls)
        final = joined(server, *urls)
        assert server.head(final).headers["Upload-Length"] == str(len(expected))
        assert server.stored(final) == expected


@pytest.mark.requirement("CONC-12", "CONC-13")
def test_metadata_are_those_of_the_final_upload_itself(server: ServerProcess) -> None:
    part = server.create(3, **PARTIAL, **{"Upload-Metadata": "of b25l"})
    assert server.patch(part, 0, b"abc").status_code == 204
    assert "Upload-Metadata" not in server.head(joined(server, part)).headers
    own = metadata(filename="whole.bin")
    assert server.head(joined(server, part, Upload_Metadata=own)).headers["Upload-Metadata"] == own
    assert server.head(part).headers["Upload-Metadata"] == "of b25l"


@pytest.mark.requirement("CONC-06", "CONC-09", "CONC-24", "CONC-25")
def test_amb_25_26_a_final_upload_is_asked_for_rightly(server: ServerProcess) -> None:
    part, whole = server.create(3, **PARTIAL), server.create(3)
    final = joined(server, part)
    wrong = [
        "foo", "", "Partial", "partial;", f"partial;{part}", "final", "final;", f"Final;{part}", f"final; {part}",
        f"final;{part}  {part}", f"final;{part},{part}", f"final {part}", f"final;{whole}", f"final;{final}",
        f"final;{part} {whole}", f"final;{server.url}/{UNKNOWN}", f"final;{server.url}/x", f"final;{server.url}",
        f"final;{part}?x=y", f"final;/elsewhere/{path_of(part).rsplit('/', 1)[1]}",
        f"final;https://elsewhere.example{path_of(part)}",
    ]  # fmt: skip
    before = server.held()
    for value in wrong:
        answer = post(server, Upload_Concat=value)
        assert answer.status_code == 400, value
        assert "Location" not in answer.headers
    for more in ({"Upload_Length": "3"}, {"Upload_Defer_Length": "1"}):
        assert post(server, None, Upload_Concat=f"final;{part}", **more).status_code == 400
    assert post(server, Upload_Concat="partial").status_code == 400  # how long?
    assert server.held() == before


def test_amb_28_a_final_upload_takes_no_bytes(server: ServerProcess) -> None:
    part = partial(server, b"abc")
    before = server.held()
    answer = post(server, b"x", Upload_Concat=f"final;{part}", Content_Type=UPLOAD_BYTES)
    assert answer.status_code == 403 and "Location" not in answer.headers
    assert server.held() == before


@pytest.mark.requirement("CONC-02")
def test_a_partial_upload_may_begin_with_its_bytes(server: ServerProcess) -> None:
    answer = post(server, b"abc", Upload_Concat="partial", Upload_Length="3", Content_Type=UPLOAD_BYTES)
    assert answer.status_code == 201 and answer.headers["Upload-Offset"] == "3"
    assert server.stored(joined(server, answer.headers["Location"])) == b"abc"


@pytest.mark.requirement("CONC-10", "CONC-11", "CONC-18", "CONC-19", "CONC-21")
def test_a_final_upload_over_partials_on_their_way(server: ServerProcess) -> None:
    first, second = server.create(3, **PARTIAL), server.create(3, **PARTIAL)
    final = joined(server, first, second)
    for url, data in ((second, b"def"), (first, b"abc")):
        head = server.head(final).headers
        assert "Upload-Offset" not in head and head["Upload-Length"] == "6"
        assert server.patch(final, 0, b"x").status_code == 403
        assert requests.get(final, timeout=5).status_code == 404
        assert server.patch(url, 0, data).status_code == 204
    wait_for(lambda: "Upload-Offset" in server.head(final).headers)
    head = server.head(final).headers
    assert head["Upload-Offset"] == head["Upload-Length"] == "6"
    assert server.stored(final) == b"abcdef"


@pytest.mark.requirement("CONC-21")
def test_a_final_upload_over_a_partial_of_unknown_length(server: ServerProcess) -> None:
    known, unknown = partial(server, b"abc"), server.create(None, **PARTIAL)
    final = joined(server, known, unknown)
    assert "Upload-Length" not in server.head(final).headers
    assert server.patch(unknown, 0, b"de").status_code == 204
    assert "Upload-Length" not in server.head(final).headers
    assert server.patch(unknown, 2, b"", **{"Upload-Length": "4"}).status_code == 204
    head = server.head(final).headers
    assert head["Upload-Length"] == "7" and "Upload-Offset" not in head
    assert server.patch(unknown, 2, b"fg").status_code == 204
    wait_for(lambda: "Upload-Offset" in server.head(final).headers)
    assert server.stored(final) == b"abcdefg"


def test_nothing_of_a_refused_final_upload_stays(server: ServerProcess) -> None:
    part = server.create(11_000_000, **PARTIAL)
    answer = post(server, Upload_Concat=f"final;{part} {part}")
    assert answer.status_code == 413 and "Location" not in answer.headers
    assert len(kept(server, part)) <= 1
