"""What pages of other origins may send and read."""

from __future__ import annotations

import pytest

from tusserver.cors import Cors
from tusserver.exchange import decoded
from tusserver.protocol.messages import Request

HERE = "https://app.example"
ELSEWHERE = "https://evil.example"


def asked(origin: str | None = HERE, wanted: str | None = None, *, method: str = "POST") -> Request:
    headers = [(b"host", b"x.org")]
    if origin is not None:
        headers.append((b"origin", origin.encode()))
    if wanted is not None:
        headers.append((b"access-control-request-headers", wanted.encode()))
    return Request(method=method, upload_id=None, fields=dict(decoded(headers)), base_url="/files")


def answered(cors: Cors, request: Request) -> dict[str, str]:
    pairs = cors.headers(request)
    named = {name.lower(): value for name, value in pairs}
    assert len(named) == len(pairs), "a header twice"
    return named


def listed(value: str) -> set[str]:
    return {name.strip().lower() for name in value.split(",")}


REQUESTS = """authorization origin x-requested-with x-request-id x-http-method-override content-type range if-range
    tus-resumable upload-length upload-offset upload-metadata upload-defer-length upload-concat upload-checksum"""
ANSWERS = """location tus-version tus-resumable tus-max-size tus-extension tus-checksum-algorithm upload-offset
    upload-length upload-metadata upload-defer-length upload-concat upload-expires retry-after content-disposition
    content-range accept-ranges etag"""


@pytest.mark.parametrize("origins", ["*", ("*",)])
def test_a_preflight_allows_every_method_and_header_of_tus(origins: str | tuple[str, ...]) -> None:
    headers = answered(Cors(origins), asked(method="OPTIONS"))
    assert headers["access-control-allow-origin"] == "*"
    assert listed(headers["access-control-allow-methods"]) == {"post", "head", "patch", "options", "get", "delete"}
    assert listed(headers["access-control-allow-headers"]) >= set(REQUESTS.split())
    assert headers["access-control-max-age"] == "86400"
    assert "vary" not in headers


@pytest.mark.parametrize("method", ["POST", "OPTIONS"])
def test_every_answer_shows_every_header_of_tus(method: str) -> None:
    headers = answered(Cors("*"), asked(method=method))
    assert listed(headers["access-control-expose-headers"]) == set(ANSWERS.split())


def test_only_a_preflight_says_what_is_allowed() -> None:
    headers = answered(Cors("*"), asked())
    assert set(headers) == {"access-control-allow-origin", "access-control-expose-headers"}


def test_headers_of_the_application_pass() -> None:
    headers = answered(Cors("*"), asked(wanted="x-api-key,  upload-offset,X-CSRF-Token", method="OPTIONS"))
    names = headers["access-control-allow-headers"].split(", ")
    assert names[-2:] == ["x-api-key", "X-CSRF-Token"]
    assert [name.lower() for name in names].count("upload-offset") == 1


@pytest.mark.parametrize("wanted", ["", ",", "x y", "x:y", "a\r\nset-cookie: b", "*/*", '"x"', "\x00"])
def test_what_cannot_be_a_header_is_not_echoed(wanted: str) -> None:
    plain = answered(Cors("*"), asked(method="OPTIONS"))
    assert answered(Cors("*"), asked(wanted=wanted, method="OPTIONS")) == plain


@pytest.mark.parametrize("method", ["POST", "OPTIONS"])
def test_a_named_origin_is_answered_by_name(method: str) -> None:
    cors = Cors((HERE, "https://other.example"))
    headers = answered(cors, asked(method=method))
    assert headers["access-control-allow-origin"] == HERE
    assert headers["vary"] == "Origin"
    assert "access-control-allow-credentials" not in headers


def test_blanks_around_a_value_are_no_part_of_it() -> None:
    headers = answered(Cors((HERE,)), asked(f"{HERE} \t"))
    assert headers["access-control-allow-origin"] == HERE


@pytest.mark.parametrize("origin", [ELSEWHERE, "null", HERE + ".evil.example", HERE + ":8443", "http://app.example"])
@pytest.mark.parametrize("method", ["POST", "OPTIONS"])
def test_another_origin_gets_nothing(origin: str, method: str) -> None:
    assert answered(Cors((HERE,), credentials=True), asked(origin, method=method)) == {"vary": "Origin"}


def test_no_origin_no_headers_but_caches_are_told() -> None:
    assert answered(Cors("*"), asked(None)) == {}
    assert answered(Cors((HERE,)), asked(None)) == {"vary": "Origin"}


def test_credentials_are_for_named_origins_only() -> None:
    assert answered(Cors((HERE,), credentials=True), asked())["access-control-allow-credentials"] == "true"
    assert "access-control-allow-credentials" not in answered(Cors("*", credentials=True), asked())


@pytest.mark.parametrize("origins", ["", ()])
@pytest.mark.parametrize("method", ["POST", "OPTIONS"])
def test_turned_off_there_is_never_a_header(origins: str | tuple[str, ...], method: str) -> None:
    assert answered(Cors(origins), asked(method=method)) == {}
