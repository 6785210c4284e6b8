"""How the head of a request is read."""

from __future__ import annotations

import pytest

from tusserver.exchange import decoded, has_body
from tusserver.protocol.messages import by_name


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("host", "x.org")],
        [("host", " x.org")],
        [("host", "x.org\t"), ("accept", "")],
        [("accept", ""), ("host", "x.org ")],
        [("Host", "x.org"), ("ACCEPT", "a b\tc")],
        [("host", "x.org\ny.org"), ("accept", " b ")],
        [("host", "\u00fc\u00a0"), ("host", "\x0b x \x0c")],
        [("x", "\n"), ("y", "")],
    ],
)
def test_headers_are_decoded_without_the_blanks_around_them(headers: list[tuple[str, str]]) -> None:
    sent = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    assert decoded(sent) == [(name.lower(), value.strip(" \t")) for name, value in headers]


def test_a_header_on_several_lines_is_one_list_and_known_to_be() -> None:
    assert by_name([("a", "1"), ("b", "2")]) == ({"a": "1", "b": "2"}, frozenset())
    assert by_name([("a", "1"), ("b", "2"), ("a", "3")]) == ({"a": "1, 3", "b": "2"}, frozenset({"a"}))
    assert by_name([]) == ({}, frozenset())
    assert by_name([("cookie", "a=1"), ("cookie", "b=2")]) == ({"cookie": "a=1; b=2"}, frozenset({"cookie"}))


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        ({}, False),
        ({"content-length": "0"}, False),
        ({"content-length": ""}, False),
        ({"content-length": "5"}, True),
        ({"transfer-encoding": "chunked"}, True),
    ],
)
def test_a_body_may_follow(fields: dict[str, str], body: bool) -> None:
    assert has_body(fields) is body
