"""Upload-Metadata, and what can be read off it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tusserver.protocol.headers import (
    build_metadata,
    filename,
    media_type,
    parse_metadata,
)
from tusserver.protocol.refusals import BadMetadata

KEYS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters=","), min_size=1)
LATIN1 = st.text(st.characters(max_codepoint=0xFF))


# Upload-Metadata


@pytest.mark.requirement("CREA-14", "CREA-15", "CREA-20")
@pytest.mark.parametrize(
    ("raw", "metadata"),
    [
        ("", {}),
        (" \t", {}),
        ("name d29ybGQ=", {"name": b"world"}),
        ("name d29ybGQ=,is_confidential", {"name": b"world", "is_confidential": b""}),
        ("is_confidential ,name d29ybGQ=", {"is_confidential": b"", "name": b"world"}),
        ("a= ////,B +/8=", {"a=": b"\xff\xff\xff", "B": b"\xfb\xff"}),
    ],
)
def test_metadata_is_read_in_order(raw: str, metadata: dict[str, bytes]) -> None:
    assert list(parse_metadata(raw).items()) == list(metadata.items())


@pytest.mark.requirement("CREA-15", "CREA-16", "CREA-17", "CREA-18", "CREA-19")
@pytest.mark.parametrize(
    "raw",
    [
        "key  dmFs",
        "a b c",
        "key dmFs ",
        "key\tdmFs",
        " dmFs",
        ",a dmFs",
        "a dmFs,",
        "a dmFs,,b dmFs",
        ",",
        "a dmFs, b dmFs",
        "schlüssel dmFs",
        "k\x7f dmFs",
        "k\x00 dmFs",
        "filename not!!base64",
        "a dmF",
        "a dmF=s",
        "a =",
        "a dm Fs",
        "a d-_s",
        "a üabc",
        "a dmFs====",
        "a Yg==,a Yw==",
        "a,a",
    ],
)
def test_malformed_metadata_is_refused(raw: str) -> None:
    with pytest.raises(BadMetadata, match="Upload-Metadata"):
        parse_metadata(raw)


@given(st.dictionaries(KEYS, st.binary()))
def test_metadata_goes_round(metadata: dict[str, bytes]) -> None:
    assert list(parse_metadata(build_metadata(metadata)).items()) == list(metadata.items())


@pytest.mark.parametrize("key", ["", "a b", "a,b", "\xe4", "a\r\nSet-Cookie:b"])
def test_a_key_that_the_header_cannot_carry_is_a_defect(key: str) -> None:
    with pytest.raises(ValueError, match="metadata key"):
        build_metadata({key: b"value"})


@given(LATIN1)
def test_any_metadata_is_read_or_refused(raw: str) -> None:
    try:
        assert all(key and key.isascii() and not set(key) & set(" ,") for key in parse_metadata(raw))
    except BadMetadata as refusal:
        assert "Upload-Metadata" in refusal.text


# What can be read off metadata


@pytest.mark.requirement("CREA-21")
@pytest.mark.parametrize(
    ("metadata", "name"),
    [
        ({}, None),
        ({"filename": b"film.mp4"}, "film.mp4"),
        ({"name": b"film.mp4"}, "film.mp4"),
        ({"filename": b"", "name": b"b"}, "b"),
        ({"filename": b"a", "name": b"b"}, "a"),
        ({"filename": "Fünf 🎬.mp4".encode()}, "Fünf 🎬.mp4"),
        ({"filename": "Fünf".encode("latin-1")}, "Fünf"),
        ({"filename": b"../../etc/passwd"}, "passwd"),
        ({"filename": b"C:\\Users\\me\\film.mp4"}, "film.mp4"),
        ({"filename": b"a\r\nSet-Cookie: b\x00\x7f"}, "aSet-Cookie: b"),
        ({"filename": "ann\u202egpj.exe\u2028".encode()}, "anngpj.exe"),
        ({"filename": b".."}, None),
        ({"filename": b"folder/"}, None),
        ({"filename": b" \x01 "}, None),
    ],
)
def test_the_name_is_one_path_component_fit_to_show(metadata: dict[str, bytes], name: str | None) -> None:
    assert filename(metadata) == name


@given(st.binary())
def test_no_name_has_separators_or_control_characters(value: bytes) -> None:
    name = filename({"filename": value})
    assert name is None or (name not in ("", ".", "..") and not set(name) & set("/\\\r\n\0\t\x7f\x85"))


@pytest.mark.requirement("CREA-21")
@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({}, None),
        ({"filetype": b"video/mp4"}, "video/mp4"),
        ({"type": b"Image/SVG+XML"}, "image/svg+xml"),
        ({"filetype": b"nonsense", "type": b"text/plain"}, "text/plain"),
        ({"filetype": b"video/webm;codecs=vp9"}, "video/webm"),
        ({"filetype": b"text/html\r\nX: y"}, None),
        ({"filetype": b"video/mp4/x"}, None),
        ({"filetype": "vidéo/mp4".encode()}, None),
        ({"filetype": b""}, None),
    ],
)
def test_the_media_type_is_validated(metadata: dict[str, bytes], expected: str | None) -> None:
    assert media_type(metadata) == expected
