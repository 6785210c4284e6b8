"""Upload URLs, and Upload-Concat, which is made of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tusserver.protocol.headers import (
    build_concat,
    build_location,
    is_upload_id,
    parse_concat,
    parse_location,
)
from tusserver.protocol.refusals import BadConcat
from tusserver.protocol.upload import Kind

ID = "0123456789abcdefABCDEF_-"
IDS = st.text("abcXYZ019_-", min_size=16, max_size=64)
LATIN1 = st.text(st.characters(max_codepoint=0xFF))


# Upload ids and URLs


@pytest.mark.parametrize("text", ["a" * 16, "A-_9" * 16, ID])
def test_an_upload_id(text: str) -> None:
    assert is_upload_id(text)


@pytest.mark.parametrize(
    "text", ["", "a" * 15, "a" * 65, ID + "\n", ID + "/", "../" + ID, "a" * 16 + ".", "a" * 16 + "%", "\xe4" * 16]
)
def test_no_upload_id(text: str) -> None:
    assert not is_upload_id(text)


@pytest.mark.requirement("CONC-24")
@pytest.mark.parametrize(
    ("url", "base_url"),
    [
        (ID, "https://media.example/files"),
        (f"/files/{ID}", "https://media.example/files"),
        (f"https://media.example/files/{ID}", "https://media.example/files"),
        (f"http://media.example/files/{ID}", "https://media.example/files"),
        (f"HTTPS://Media.Example:443/files/{ID}", "https://media.example/files"),
        (f"//media.example/files/{ID}", "https://media.example/files"),
        (f"http://media.example:1080/files/{ID}", "http://media.example:1080/files"),
        (f"http://[::1]:1080/files/{ID}", "http://[::1]:1080/files"),
        (f"/f%C3%BCr%20uns/{ID}", "https://media.example/f%c3%bcr%20uns"),
        (f"https://wherever.example/files/{ID}", "/files"),
        (f"/{ID}", "https://media.example"),
        (f"https://media.example/{ID}", "https://media.example"),
        (f"/{ID}", ""),
    ],
)
def test_a_url_of_ours_names_an_upload(url: str, base_url: str) -> None:
    assert parse_location(url, base_url) == ID


@pytest.mark.requirement("CONC-24")
@pytest.mark.parametrize(
    "url",
    [
        "",
        "/",
        "/files",
        "/files/",
        "/files/short",
        f"files/{ID}",
        f"./{ID}",
        f"/files/../{ID}",
        f"/files//{ID}",
        f"/other/{ID}",
        f"/files/{ID}/",
        f"/files/{ID}?a",
        f"/files/{ID}#a",
        f"/files/%2e%2e/{ID}",
        f"/files/x/{ID}",
        f"https://evil.example/files/{ID}",
        f"https://media.example:8443/files/{ID}",
        f"https:///files/{ID}x/",
        f"ftp://media.example/files/{ID}",
        f"https://media.example:port/files/{ID}",
        f"https://[::1/files/{ID}",
        f"https://media.example@evil.example/files/{ID}",
        f"https://media.example{ID}",
        f"\\\\x/files/{ID}",
    ],
)
def test_another_url_names_none(url: str) -> None:
    assert parse_location(url, "https://media.example/files") is None


@given(IDS, st.sampled_from(["https://media.example/files", "http://localhost:1080", "/files", "", "/a/b%20c"]))
def test_a_location_goes_round(upload_id: str, base_url: str) -> None:
    assert parse_location(build_location(base_url, upload_id), base_url) == upload_id


@given(LATIN1, st.sampled_from(["https://media.example/files", "/files", ""]))
def test_any_url_names_an_upload_id_or_nothing(url: str, base_url: str) -> None:
    named = parse_location(url, base_url)
    assert named is None or is_upload_id(named)


# Upload-Concat


def known(url: str) -> str | None:
    return url.upper() if url.isalnum() else None


@pytest.mark.requirement("CONC-02", "CONC-05", "CONC-06", "CONC-07", "CONC-15")
@pytest.mark.parametrize(
    ("raw", "kind", "parts"),
    [
        ("partial", Kind.PARTIAL, ()),
        ("final;a", Kind.FINAL, ("A",)),
        ("final;b a c", Kind.FINAL, ("B", "A", "C")),
        ("final;a a", Kind.FINAL, ("A", "A")),
    ],
)
def test_concat_is_read_in_order_and_kept(raw: str, kind: Kind, parts: tuple[str, ...]) -> None:
    concat = parse_concat(raw, known)
    assert (concat.raw, concat.kind, concat.parts) == (raw, kind, parts)


@pytest.mark.requirement("CONC-06", "CONC-25")
@pytest.mark.parametrize(
    "raw",
    [
        "",
        "foo",
        "final",
        "final;",
        "Final;a",
        "FINAL;a",
        "partial ",
        " partial",
        "Partial",
        "partial;a",
        "partial;",
        "final; a",
        "final;a  b",
        "final;a ",
        "final ;a",
        "final:a",
        "final;a,b",
        "final;a\tb",
        "final;/",
    ],
)
def test_malformed_concat_is_refused(raw: str) -> None:
    with pytest.raises(BadConcat, match="Upload-Concat"):
        parse_concat(raw, known)


@pytest.mark.requirement("CONC-25")
@pytest.mark.parametrize("raw", ["final;", "final; a", "final;a  b", "final;a "])
def test_spaces_too_many_are_refused_whatever_urls_there_are(raw: str) -> None:
    with pytest.raises(BadConcat, match="one space in between"):
        parse_concat(raw, lambda url: "known")


@given(st.none() | st.lists(IDS, min_size=1))
def test_concat_goes_round(urls: list[str] | None) -> None:
    concat = parse_concat(build_concat(urls), lambda url: url)
    assert concat.parts == tuple(urls or ())
    assert concat.kind is (Kind.PARTIAL if urls is None else Kind.FINAL)
