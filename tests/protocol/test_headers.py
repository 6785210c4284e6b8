"""Header values: what is right is understood, anything else is refused with the header's name."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from email.utils import parsedate_to_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tusserver.protocol.commands import Checksum
from tusserver.protocol.headers import (
    ALGORITHMS,
    MAX_INTEGER,
    build_checksum,
    build_http_date,
    build_integer,
    is_offset_octet_stream,
    parse_checksum,
    parse_integer,
)
from tusserver.protocol.refusals import BadChecksum, BadHeader

# Integers


@pytest.mark.requirement("CORE-02", "CORE-03")
@pytest.mark.parametrize(
    ("raw", "value"), [("0", 0), ("7", 7), ("007", 7), ("0" * 9000 + "1", 1), (str(MAX_INTEGER), MAX_INTEGER)]
)
def test_an_integer_is_read(raw: str, value: int) -> None:
    assert parse_integer(raw, "upload-offset") == value


@pytest.mark.requirement("CORE-02", "CORE-03")
@pytest.mark.parametrize(
    "raw",
    [
        "",
        " ",
        "-1",
        "+5",
        "1_0",
        " 5",
        "5 ",
        "5\n",
        "1.5",
        "1e3",
        "0x10",
        "abc",
        "5, 5",
        "5;a=b",
        "²",
        "\u0665",
        str(MAX_INTEGER + 1),
        "9" * 5000,
    ],
)
def test_what_is_no_integer_is_refused_by_name(raw: str) -> None:
    with pytest.raises(BadHeader, match=r"^Upload-Offset must be"):
        parse_integer(raw, "upload-offset")


@given(st.integers(0, MAX_INTEGER))
def test_an_integer_goes_round(value: int) -> None:
    assert parse_integer(build_integer(value), "upload-length") == value


# Upload-Checksum


@pytest.mark.requirement("CSUM-10", "CSUM-14")
@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha512", "md5"])
def test_each_algorithm_is_read(algorithm: str) -> None:
    digest = hashlib.new(algorithm, b"hello world").digest()
    raw = f"{algorithm} {b64encode(digest).decode()}"
    assert parse_checksum(raw) == Checksum(algorithm=algorithm, digest=digest)
    assert build_checksum(parse_checksum(raw)) == raw


@pytest.mark.requirement("CSUM-06")
@pytest.mark.parametrize("raw", ["sha1 AAAA", "sha1 AAAAAAAAAAAAAAAAAAAAAAAAAAAA", "md5 Kq5sNclPz7QV2+lfQIuc6R7oRu0="])
def test_a_digest_of_another_size_is_well_formed(raw: str) -> None:
    assert build_checksum(parse_checksum(raw)) == raw


def test_the_example_of_the_specification() -> None:
    assert parse_checksum("sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=").digest == hashlib.sha1(b"hello world").digest()


@pytest.mark.requirement("CSUM-10", "CSUM-11")
def test_algorithm_names_are_lower_case_ascii() -> None:
    assert "sha1" in ALGORITHMS
    assert all(name.isascii() and name == name.lower() and " " not in name for name in ALGORITHMS)


@pytest.mark.requirement("CSUM-05", "CSUM-11", "CSUM-14")
@pytest.mark.parametrize(
    "raw",
    [
        "",
        " ",
        "sha1",
        "sha1 ",
        "sha1  ",
        "sha1 %%%",
        "foo AAAA",
        "SHA1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=",
        "sha1  Kq5sNclPz7QV2+lfQIuc6R7oRu0=",
        "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0= ",
        "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0",
        "sha1 Kq5sNclPz7QV2-lfQIuc6R7oRu0=",
        "sha1=Kq5sNclPz7QV2+lfQIuc6R7oRu0=",
        "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=,md5 AAAA",
        "sha1 ä",
    ],
)
def test_a_malformed_checksum_is_refused(raw: str) -> None:
    with pytest.raises(BadChecksum, match="Upload-Checksum"):
        parse_checksum(raw)


# Dates and media types


@pytest.mark.requirement("EXP-10")
@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (784111777.0, "Sun, 06 Nov 1994 08:49:37 GMT"),
        (784111777.9, "Sun, 06 Nov 1994 08:49:37 GMT"),
        (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
        (1e300, "Fri, 31 Dec 9999 23:59:59 GMT"),
    ],
)
def test_a_date_is_imf_fixdate(seconds: float, text: str) -> None:
    assert build_http_date(seconds) == text


@given(st.integers(0, 253402300799))
def test_a_date_goes_round(seconds: int) -> None:
    assert parsedate_to_datetime(build_http_date(seconds)).timestamp() == seconds


@pytest.mark.requirement("CORE-26", "CORE-27")
@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        ("application/offset+octet-stream", True),
        ("Application/Offset+Octet-Stream", True),
        ("application/offset+octet-stream; charset=binary", True),
        ("application/offset+octet-stream ;x", True),
        (None, False),
        ("", False),
        ("text/plain", False),
        ("application/octet-stream", False),
        ("application/offset+octet-stream2", False),
        ("application/offset+octet-stream, text/plain", False),
        ("text/plain; application/offset+octet-stream", False),
    ],
)
def test_the_content_type_of_upload_bytes(content_type: str | None, expected: bool) -> None:
    assert is_offset_octet_stream(content_type) is expected
