"""tus 1.0.0: what the head of a PATCH says, and its trailers."""

from __future__ import annotations

import hashlib
from base64 import b64encode

import pytest

from tests.protocol.asking import ID, OCT, SHA1, TUS, Header, patch
from tusserver.protocol.commands import Append, Body, Checksum
from tusserver.protocol.refusals import (
    BadChecksum,
    BadHeader,
    TooLarge,
    WrongContentType,
)

# PATCH


@pytest.mark.requirement("CORE-26")
def test_patch_appends() -> None:
    assert patch(OCT, ("upload-offset", "7"), ("content-length", "4")) == Append(
        upload_id=ID, offset=7, body=Body(size=4)
    )


@pytest.mark.parametrize(
    ("headers", "size"),
    [
        ((), 0),
        ((("content-length", "0"),), 0),
        ((("content-length", "007"),), 7),
        ((("transfer-encoding", "chunked"),), None),
        ((("transfer-encoding", "chunked"), ("content-length", "4")), None),
    ],
)
def test_the_size_of_the_body(headers: tuple[Header, ...], size: int | None) -> None:
    assert patch(OCT, ("upload-offset", "0"), *headers).body.size == size


@pytest.mark.parametrize("value", ["-1", "4, 4", "", "four"])
def test_a_malformed_content_length_is_refused(value: str) -> None:
    with pytest.raises(BadHeader, match="Content-Length"):
        patch(OCT, ("upload-offset", "0"), ("content-length", value))


@pytest.mark.requirement("CORE-27")
@pytest.mark.parametrize("headers", [(), (("content-type", "text/plain"),)])
def test_patch_of_another_content_type_is_refused_before_its_syntax(headers: tuple[Header, ...]) -> None:
    with pytest.raises(WrongContentType):
        patch(("upload-offset", "nonsense"), *headers)


@pytest.mark.requirement("CORE-02")
@pytest.mark.parametrize("value", ["-1", "abc", "1.5", "", "+5", "1_0", str(2**63)])
def test_a_malformed_offset_is_refused(value: str) -> None:
    with pytest.raises(BadHeader, match=r"^Upload-Offset must be"):
        patch(OCT, ("upload-offset", value))


@pytest.mark.requirement("CORE-02")
def test_a_missing_offset_is_refused() -> None:
    with pytest.raises(BadHeader, match=r"^Upload-Offset is missing"):
        patch(OCT)


@pytest.mark.requirement("CREA-08", "CREA-25")
def test_patch_may_declare_the_length() -> None:
    assert patch(OCT, ("upload-offset", "0"), ("upload-length", "1000")).length == 1000
    with pytest.raises(TooLarge):
        patch(OCT, ("upload-offset", "0"), ("upload-length", "1001"))
    with pytest.raises(BadHeader):
        patch(OCT, ("upload-offset", "0"), ("upload-length", "-1"))


# Checksums


@pytest.mark.requirement("CSUM-03", "CSUM-10")
def test_patch_may_carry_a_checksum() -> None:
    digest = hashlib.sha1(b"hello world").digest()
    body = patch(OCT, ("upload-offset", "0"), ("upload-checksum", SHA1)).body
    assert body == Body(size=0, checksum=Checksum(algorithm="sha1", digest=digest)) and body.verified
    assert not patch(OCT, ("upload-offset", "0")).body.verified


@pytest.mark.requirement("CSUM-05", "CSUM-14")
@pytest.mark.parametrize("value", ["foo AAAA", "sha1", "sha1  ", "sha1 %%%", ""])
def test_a_malformed_checksum_refuses_the_patch(value: str) -> None:
    with pytest.raises(BadChecksum):
        patch(OCT, ("upload-offset", "0"), ("upload-checksum", value))


@pytest.mark.requirement("CSUM-15")
@pytest.mark.parametrize("announced", ["Upload-Checksum", "upload-checksum", "X-Time , Upload-Checksum"])
def test_a_checksum_may_be_announced_for_the_trailers(announced: str) -> None:
    headers = (OCT, ("upload-offset", "0"), ("transfer-encoding", "chunked"), ("trailer", announced))
    body = patch(*headers, trailers=True).body
    assert body == Body(size=None, checksum_follows=True) and body.verified
    with pytest.raises(BadChecksum, match="carries no trailers"):
        patch(*headers, trailers=False)
    with pytest.raises(BadChecksum, match="not as both"):
        patch(*headers, ("upload-checksum", SHA1), trailers=True)


def test_other_trailers_do_not_matter() -> None:
    assert patch(OCT, ("upload-offset", "0"), ("trailer", "X-Upload-Checksum")).body == Body(size=0)


@pytest.mark.requirement("CSUM-15")
def test_the_trailers_give_the_checksum() -> None:
    digest = hashlib.sha256(b"hello world").digest()
    value = f"sha256 {b64encode(digest).decode()}"
    expected = Checksum(algorithm="sha256", digest=digest)
    assert TUS.parse_trailers((("x-time", "1"), ("upload-checksum", value))) == expected


@pytest.mark.requirement("CSUM-05", "CSUM-15")
@pytest.mark.parametrize(
    "trailers",
    [
        (),
        (("x-time", "1"),),
        (("upload-checksum", "foo AAAA"),),
        (("upload-checksum", ""),),
        (("upload-checksum", SHA1), ("upload-checksum", SHA1)),
    ],
)
def test_missing_or_malformed_trailers_are_refused(trailers: tuple[Header, ...]) -> None:
    with pytest.raises(BadChecksum):
        TUS.parse_trailers(trailers)
