"""Where clients see the server, behind which proxies, and what is believed."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tusserver.exchange import decoded
from tusserver.origin import Origin
from tusserver.protocol.messages import by_name

PROXY = "10.0.0.7"
TRUSTED = ("10.0.0.0/8", "fd00::/8")


def scope(
    *headers: tuple[str, str], peer: str | None = PROXY, host: str | None = "inside:1080", **fields: Any
) -> dict[str, Any]:
    said = [*([("host", host)] if host is not None else []), *headers]
    return {
        "type": "http",
        "scheme": "http",
        "client": (peer, 40000) if peer is not None else None,
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in said],
        **fields,
    }


def base_url(origin: Origin, asked: dict[str, Any], path: str) -> str:
    return origin.base_url(asked, by_name(decoded(asked["headers"]))[0], path)


def test_without_a_proxy_it_is_the_requests_own_host() -> None:
    assert base_url(Origin(), scope(), "/files") == "http://inside:1080/files"
    assert base_url(Origin(trusted_proxies=TRUSTED), scope(), "/files") == "http://inside:1080/files"
    assert base_url(Origin(), scope(scheme="https"), "") == "https://inside:1080"
    assert base_url(Origin(), scope(host="[::1]:1080"), "/files") == "http://[::1]:1080/files"


@pytest.mark.parametrize(
    ("root_path", "path"),
    [
        ("/api", "/api/files"),
        ("/api/", "/api/files"),
        ("/my files/ü", "/my%20files/%C3%BC/files"),
        ("/100%41", "/100%2541/files"),
        ("/a?b#c", "/a%3Fb%23c/files"),
    ],
)
def test_the_mount_point_is_part_of_the_path(root_path: str, path: str) -> None:
    assert base_url(Origin(), scope(root_path=root_path), "/files") == f"http://inside:1080{path}"


@pytest.mark.parametrize("public_url", ["https://x.org/media", "https://x.org/media/"])
def test_the_public_url_stands_above_everything(public_url: str) -> None:
    asked = scope(("x-forwarded-host", "evil.example"), host="bad host", root_path="/mounted")
    assert base_url(Origin(public_url), asked, "/files") == "https://x.org/media/files"
    assert base_url(Origin(public_url), asked, "") == "https://x.org/media"


HEARD = [
    ([("x-forwarded-proto", "https")], "https://inside:1080"),
    ([("x-forwarded-host", "x.org")], "http://x.org"),
    ([("x-forwarded-proto", "HTTPS"), ("x-forwarded-host", "x.org:8443")], "https://x.org:8443"),
    ([("x-forwarded-proto", "http, https"), ("x-forwarded-host", "evil.example, x.org")], "https://x.org"),
    ([("x-forwarded-host", "evil.example"), ("x-forwarded-host", "x.org")], "http://x.org"),
    ([("x-forwarded-host", "x.org"), ("x-forwarded-port", "8080")], "http://x.org:8080"),
    ([("x-forwarded-host", "x.org:81"), ("x-forwarded-port", "8080")], "http://x.org:81"),
    ([("x-forwarded-host", "[::1]"), ("x-forwarded-port", "8080")], "http://[::1]:8080"),
    ([("x-forwarded-host", "x.org"), ("x-forwarded-proto", "https"), ("x-forwarded-port", "443")], "https://x.org"),
    ([("x-forwarded-host", "x.org"), ("x-forwarded-proto", "https"), ("x-forwarded-port", "80")], "https://x.org"),
    ([("forwarded", "for=1.2.3.4;proto=https;host=x.org")], "https://x.org"),
    ([("forwarded", 'For="[2001:db8::1]"; Proto=HTTPS; Host="x.org:8443"')], "https://x.org:8443"),
    ([("forwarded", "host=evil.example;proto=http, host=x.org;proto=https")], "https://x.org"),
    ([("forwarded", "for=1.2.3.4;proto=https")], "https://inside:1080"),
    ([("forwarded", "for=1.2.3.4 ; proto=https ;host=x.org ")], "https://x.org"),
    ([("forwarded", 'for="_a;host=evil.example";host=x.org')], "http://x.org"),
    ([("x-forwarded-host", "x.org "), ("x-forwarded-proto", "https\t")], "https://x.org"),
    ([("forwarded", "host=x.org"), ("x-forwarded-host", "evil.example")], "http://x.org"),
]


@pytest.mark.parametrize(("headers", "origin"), HEARD)
def test_a_trusted_proxy_is_believed(headers: list[tuple[str, str]], origin: str) -> None:
    assert base_url(Origin(trusted_proxies=TRUSTED), scope(*headers), "/files") == f"{origin}/files"


@pytest.mark.parametrize("headers", [headers for headers, _ in HEARD])
@pytest.mark.parametrize("trusted", [(), ("192.0.2.1",), ("unix",)])
def test_an_untrusted_proxy_makes_the_answer_a_path(headers: list[tuple[str, str]], trusted: tuple[str, ...]) -> None:
    assert base_url(Origin(trusted_proxies=trusted), scope(*headers, root_path="/api"), "/files") == "/api/files"


@pytest.mark.parametrize(
    ("trusted", "peer", "believed"),
    [
        (("10.0.0.7",), "10.0.0.7", True),
        (("10.0.0.7",), "10.0.0.8", False),
        (("10.0.0.1/8",), "10.200.0.1", True),
        (("10.0.0.0/8",), "::ffff:10.0.0.7", True),
        (("10.0.0.0/8",), "::ffff:11.0.0.7", False),
        (("fd00::/8",), "fd12::1", True),
        (("*",), "203.0.113.9", True),
        (("*",), None, True),
        (("unix",), None, True),
        (("unix",), "", True),
        (("unix",), "127.0.0.1", False),
        (("127.0.0.1",), None, False),
        (("10.0.0.0/8",), "testclient", False),
    ],
)
def test_who_is_trusted(trusted: tuple[str, ...], peer: str | None, believed: bool) -> None:
    found = base_url(Origin(trusted_proxies=trusted), scope(("x-forwarded-host", "x.org"), peer=peer), "/files")
    assert found == ("http://x.org/files" if believed else "/files")


@pytest.mark.parametrize(
    "host", [None, "", "a b", "x.org/path", "user@x.org", "x.org:port", "x.org:", "x.org,y.org", "[::1", 'x"', "ü.org"]
)
def test_a_host_that_cannot_be_one_makes_the_answer_a_path(host: str | None) -> None:
    assert base_url(Origin(), scope(host=host), "/files") == "/files"


def test_blanks_around_a_host_are_no_part_of_it() -> None:
    assert base_url(Origin(), scope(host=" x.org \t"), "/files") == "http://x.org/files"


@pytest.mark.parametrize("unit", ["a", " ", ";", "=", '"', "\\", "a=", ";a=", ';a="', '\\"', ";a "])
@pytest.mark.parametrize("name", ["forwarded", "x-forwarded-host", "x-forwarded-proto", "x-forwarded-port", "host"])
def test_a_long_header_does_not_hold_the_process_up(name: str, unit: str) -> None:
    said = (name, unit * (60_000 // len(unit)) + "\x00")
    started = time.thread_time()
    base_url(Origin(trusted_proxies=TRUSTED), scope(said, ("x-forwarded-proto", "https")), "/files")
    assert time.thread_time() - started < 1  # milliseconds; half a minute if each letter could begin a name


def test_two_hosts_make_the_answer_a_path() -> None:
    assert base_url(Origin(), scope(("host", "y.org"), host="x.org"), "/files") == "/files"


@pytest.mark.parametrize(
    "headers",
    [
        [("x-forwarded-proto", "javascript")],
        [("x-forwarded-proto", "")],
        [("x-forwarded-host", "x.org/evil")],
        [("x-forwarded-host", "x.org"), ("x-forwarded-port", "8080/evil"), ("x-forwarded-proto", "ftp")],
        [("forwarded", 'host="x.org/evil"')],
        [("forwarded", "proto=ws;host=x.org")],
    ],
)
def test_nonsense_of_a_trusted_proxy_makes_the_answer_a_path(headers: list[tuple[str, str]]) -> None:
    assert base_url(Origin(trusted_proxies=TRUSTED), scope(*headers), "/files") == "/files"


def test_a_port_that_is_none_is_not_believed() -> None:
    asked = scope(("x-forwarded-host", "x.org"), ("x-forwarded-port", "8080/evil"))
    assert base_url(Origin(trusted_proxies=TRUSTED), asked, "/files") == "http://x.org/files"


@pytest.mark.parametrize(
    ("trusted", "peer", "hops", "client"),
    [
        ((), "203.0.113.9", ["198.51.100.1"], "203.0.113.9"),
        (TRUSTED, "203.0.113.9", ["198.51.100.1"], "203.0.113.9"),
        (TRUSTED, PROXY, [], PROXY),
        (TRUSTED, PROXY, ["198.51.100.1"], "198.51.100.1"),
        (TRUSTED, PROXY, ["1.1.1.1, 198.51.100.1, 10.1.1.1"], "198.51.100.1"),
        (TRUSTED, PROXY, ["1.1.1.1", "198.51.100.1", "10.1.1.1"], "198.51.100.1"),
        (TRUSTED, PROXY, ["1.1.1.1, [fd00::5]"], "1.1.1.1"),
        (TRUSTED, PROXY, ["10.1.1.1, 10.1.1.2"], PROXY),
        (TRUSTED, PROXY, [" , "], PROXY),
        (("*",), PROXY, ["1.1.1.1, 198.51.100.1"], "198.51.100.1"),
        (("unix",), None, ["198.51.100.1"], "198.51.100.1"),
        (("unix",), None, [], "unix"),
        ((), None, ["198.51.100.1"], "unix"),
        (TRUSTED, PROXY, ["x" * 500], "x" * 64),
    ],
)
def test_the_clients_address(trusted: tuple[str, ...], peer: str | None, hops: list[str], client: str) -> None:
    asked = scope(*(("x-forwarded-for", hop) for hop in hops), peer=peer)
    assert Origin(trusted_proxies=trusted).client(asked) == client
