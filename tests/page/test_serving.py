"""The page over HTTP, without a browser: types, caching, policy, and what is said where it was not built."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from starlette.applications import Starlette

from tests.serving import serving
from tusserver import Settings, create_app
from tusserver.page import Page

HTML = '<meta name="uploads" content="{uploads}"><script src="page/index-AB.js"></script>'


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """What a build leaves."""
    (tmp_path / "index.html").write_text(HTML)
    (tmp_path / "index-AB.js").write_bytes(b"plain")
    (tmp_path / "index-AB.js.gz").write_bytes(b"compressed")
    (tmp_path / "secret.txt").write_text("no asset")
    return tmp_path


@pytest.fixture
def origin(built: Path) -> Iterator[str]:
    with serving(Starlette(routes=Page("/up&loads", "https://up.example/x", built).routes()), lifespan=False) as origin:
        yield origin


def test_the_page_is_asked_for_each_time(origin: str) -> None:
    answer = requests.get(f"{origin}/", timeout=20)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert answer.headers["Cache-Control"] == "no-cache"
    assert 'content="./up&amp;loads"' in answer.text
    again = requests.get(f"{origin}/", headers={"If-None-Match": answer.headers["ETag"]}, timeout=20)
    assert (again.status_code, again.content) == (304, b"")


def test_nothing_from_elsewhere_may_run(origin: str) -> None:
    headers = requests.get(f"{origin}/", timeout=20).headers
    rules = dict(rule.split(" ", 1) for rule in headers["Content-Security-Policy"].split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == rules["style-src"] == "'self'"
    assert rules["connect-src"] == "'self' https://up.example"
    assert (headers["X-Content-Type-Options"], headers["Referrer-Policy"]) == ("nosniff", "no-referrer")


@pytest.mark.parametrize(
    ("accepted", "encoding"), [("gzip, br", "gzip"), ("identity", None), ("gzip;q=0", None), ("gzip; q=0.5", "gzip")]
)
def test_assets_are_kept_for_good(origin: str, accepted: str, encoding: str | None) -> None:
    asked = {"Accept-Encoding": accepted}
    with requests.get(f"{origin}/page/index-AB.js", headers=asked, stream=True, timeout=20) as answer:
        assert answer.headers.get("Content-Encoding") == encoding
        assert answer.raw.read(decode_content=False) == (b"compressed" if encoding else b"plain")
        assert answer.headers["Content-Type"] == "text/javascript; charset=utf-8"
        assert "immutable" in answer.headers["Cache-Control"]
        assert answer.headers["Vary"] == "Accept-Encoding"


@pytest.mark.parametrize("name", ["secret.txt", "index.html", "..%2Fsecret.txt", "nothing.js"])
def test_only_assets_are_served(origin: str, name: str) -> None:
    assert requests.get(f"{origin}/page/{name}", timeout=20).status_code == 404


def test_without_the_build_a_sentence_names_the_command(tmp_path: Path) -> None:
    with serving(Starlette(routes=Page("/files", built=tmp_path / "nothing").routes()), lifespan=False) as origin:
        answer = requests.get(f"{origin}/", timeout=20)
    assert answer.status_code == 200
    assert re.search("not built.*<code>make page</code>", answer.text)


@pytest.mark.parametrize(
    ("settings", "status"), [({}, 200), ({"page": False}, 404), ({"base_path": "/"}, 405)], ids=["on", "off", "root"]
)
def test_where_there_is_a_page(tmp_path: Path, settings: dict[str, object], status: int) -> None:
    kept = {"sessions": "memory:", "storage": f"disk://{tmp_path}/uploads"}
    with serving(create_app(Settings(**kept, **settings))) as origin:
        assert requests.get(f"{origin}/", timeout=20).status_code == status
