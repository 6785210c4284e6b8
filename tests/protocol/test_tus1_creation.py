"""tus 1.0.0: what the head of a creation says."""

from __future__ import annotations

import pytest

from tests.protocol.asking import ID, OCT, SHA1, Header, post, request
from tusserver.protocol.commands import Body, Create
from tusserver.protocol.refusals import (
    BadChecksum,
    BadConcat,
    BadHeader,
    BadMetadata,
    FinalUploadFixed,
    HeadersTooLarge,
    LengthExceeded,
    TooLarge,
    WrongContentType,
)
from tusserver.protocol.tus1 import Tus1
from tusserver.protocol.upload import Concat, Kind

# Creation


@pytest.mark.requirement("CREA-04", "CREA-12", "CREA-25")
@pytest.mark.parametrize("length", [0, 1, 1000])
def test_a_creation_with_a_length(length: int) -> None:
    assert post(("upload-length", str(length))) == Create(length=length)


@pytest.mark.requirement("CREA-04", "CREA-06")
def test_a_creation_with_a_deferred_length() -> None:
    assert post(("upload-defer-length", "1")) == Create(length=None)


@pytest.mark.requirement("CREA-04", "CREA-05", "CORE-03")
@pytest.mark.parametrize(
    "headers",
    [
        (),
        (("upload-length", "1"), ("upload-defer-length", "1")),
        *((("upload-defer-length", value),) for value in ("0", "2", "true", "01", "")),
        *((("upload-length", value),) for value in ("-1", "x", "1e3", "", "1.0", str(2**63))),
    ],
)
def test_a_creation_needs_exactly_one_right_length(headers: tuple[Header, ...]) -> None:
    with pytest.raises(BadHeader, match=r"Upload-(Defer-)?Length"):
        post(*headers)


@pytest.mark.requirement("CREA-25")
def test_a_creation_beyond_the_maximum_is_refused() -> None:
    with pytest.raises(TooLarge):
        post(("upload-length", "1001"))
    assert Tus1(max_size=None).parse(request("POST", None, ("upload-length", "1001"))) == Create(length=1001)


@pytest.mark.requirement("CREA-24")
def test_metadata_is_kept_as_received() -> None:
    raw = "b Yg==,empty ,a YQ==,bare"
    assert post(("upload-length", "1"), ("upload-metadata", raw)).metadata == raw


@pytest.mark.parametrize("raw", ["", "  "])
def test_empty_metadata_is_none(raw: str) -> None:
    assert post(("upload-length", "1"), ("upload-metadata", raw)).metadata is None


@pytest.mark.requirement("CREA-15", "CREA-16", "CREA-18", "CREA-19")
@pytest.mark.parametrize("raw", ["a  Yg==", "a Yg==,", "a b", "a Yg==,a Yw=="])
def test_malformed_metadata_refuses_the_creation(raw: str) -> None:
    with pytest.raises(BadMetadata):
        post(("upload-length", "1"), ("upload-metadata", raw))


def test_metadata_is_bounded_in_bytes() -> None:
    assert post(("upload-length", "1"), ("upload-metadata", "k" * 100)).metadata == "k" * 100
    with pytest.raises(HeadersTooLarge, match="100 bytes"):
        post(("upload-length", "1"), ("upload-metadata", "k" * 101))


# Creation with upload


@pytest.mark.requirement("CWU-01", "CWU-04")
def test_a_creation_takes_bytes_along() -> None:
    assert post(("upload-length", "10"), OCT, ("content-length", "4")).body == Body(size=4)
    assert post(("upload-length", "10"), OCT, ("content-length", "10")).body == Body(size=10)
    assert post(("upload-length", "10"), OCT, ("transfer-encoding", "chunked")).body == Body(size=None)
    assert post(("upload-defer-length", "1"), OCT, ("content-length", "4")).body == Body(size=4)


@pytest.mark.requirement("CWU-07")
@pytest.mark.parametrize("size", [(), (("content-length", "0"),)])
def test_upload_bytes_may_be_none_at_all(size: tuple[Header, ...]) -> None:
    assert post(("upload-length", "10"), OCT, *size).body == Body(size=0)


@pytest.mark.requirement("CWU-05")
@pytest.mark.parametrize("kind", [(), (("content-type", "text/plain"),)])
@pytest.mark.parametrize("size", [("content-length", "4"), ("transfer-encoding", "chunked")])
def test_other_bytes_are_not_taken_along(kind: tuple[Header, ...], size: Header) -> None:
    with pytest.raises(WrongContentType):
        post(("upload-length", "10"), *kind, size)


def test_the_content_type_of_no_body_does_not_matter() -> None:
    assert post(("upload-length", "10"), ("content-type", "text/plain"), ("content-length", "0")).body is None


@pytest.mark.requirement("CWU-11")
def test_a_body_beyond_the_length_is_refused_at_once() -> None:
    with pytest.raises(LengthExceeded):
        post(("upload-length", "5"), OCT, ("content-length", "10"))


@pytest.mark.requirement("CREA-25")
def test_a_body_beyond_the_maximum_is_refused_at_once() -> None:
    with pytest.raises(TooLarge):
        post(("upload-defer-length", "1"), OCT, ("content-length", "1001"))


@pytest.mark.requirement("CWU-12")
def test_a_creation_may_carry_a_checksum() -> None:
    body = post(("upload-length", "11"), OCT, ("content-length", "11"), ("upload-checksum", SHA1)).body
    assert body is not None and body.verified
    with pytest.raises(BadChecksum):
        post(("upload-length", "11"), OCT, ("content-length", "11"), ("upload-checksum", "sha1 no-sense"))


# Concatenation


@pytest.mark.requirement("CONC-02", "CONC-22")
def test_a_partial_upload_is_created_like_a_whole_one() -> None:
    command = post(("upload-length", "5"), ("upload-concat", "partial"))
    assert command == Create(length=5, concat=Concat(raw="partial", kind=Kind.PARTIAL))
    with pytest.raises(BadHeader):
        post(("upload-concat", "partial"))


@pytest.mark.requirement("CONC-05", "CONC-07", "CONC-13", "CONC-22", "CONC-24")
def test_a_final_upload_names_its_partial_uploads() -> None:
    raw = f"final;https://media.example/files/{ID} /files/{'b' * 20} /files/{ID}"
    command = post(("upload-concat", raw), ("upload-metadata", "a YQ=="))
    concat = Concat(raw=raw, kind=Kind.FINAL, parts=(ID, "b" * 20, ID))
    assert command == Create(length=None, metadata="a YQ==", concat=concat)


@pytest.mark.requirement("CONC-09")
@pytest.mark.parametrize("header", [("upload-length", "5"), ("upload-defer-length", "1"), ("upload-length", "x")])
def test_a_final_upload_is_given_no_length(header: Header) -> None:
    with pytest.raises(BadConcat, match="Upload-Length"):
        post(("upload-concat", f"final;/files/{ID}"), header)


def test_a_final_upload_is_given_no_body() -> None:
    with pytest.raises(FinalUploadFixed):
        post(("upload-concat", f"final;/files/{ID}"), OCT, ("content-length", "5"))


@pytest.mark.requirement("CONC-06", "CONC-24", "CONC-25")
@pytest.mark.parametrize(
    "raw", ["foo", "final", "final;", "partial ", f"final;https://evil.example/files/{ID}", f"final;/files/{ID}  {ID}"]
)
def test_malformed_concat_refuses_the_creation(raw: str) -> None:
    with pytest.raises(BadConcat):
        post(("upload-length", "5"), ("upload-concat", raw))
