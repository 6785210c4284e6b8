"""The suite as a pytest plugin: one test for each case, its verdict, and the reports."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conformance import html, report
from conformance.cases import Case, load
from conformance.runner import Presence, run
from conformance.target import Announced, Options, announced
from conformance.verdicts import Result, Verdict

RESULTS: pytest.StashKey[list[Result]] = pytest.StashKey()
SERVER: pytest.StashKey[tuple[Options, Announced, Presence]] = pytest.StashKey()


class NotConforming(Exception):
    """A requirement of level MUST is broken; the text says which, and shows the exchange."""


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("tus", "conformance to tus 1.0.0")
    group.addoption("--url", metavar="URL", help="where uploads are created, such as http://127.0.0.1:1080/files")
    group.addoption("--extensions", metavar="LIST", help="extensions to test; without it those that are announced")
    group.addoption("--header", action="append", default=[], metavar="'NAME: VALUE'", help="send this header along")
    group.addoption("--insecure", action="store_true", help="take any certificate")
    group.addoption("--answer-timeout", type=float, default=10.0, metavar="SECONDS", help="for an answer")
    group.addoption("--patience", type=float, default=5.0, metavar="SECONDS", help="for what may take longer")
    group.addoption("--name", default="", metavar="TEXT", help="what the server is called in reports")
    group.addoption("--report-json", type=Path, metavar="FILE", help="write the results as JSON")
    group.addoption("--report-html", type=Path, metavar="FILE", help="write a page to look at")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[RESULTS] = []


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "tus_case" in metafunc.fixturenames:
        cases = list(load().values())
        metafunc.parametrize("tus_case", cases, ids=[case.id for case in cases])


@pytest.fixture(scope="session")
def tus_server(pytestconfig: pytest.Config) -> tuple[Options, Announced, Presence]:
    """The server that ``--url`` names, and what it announces."""
    options = _options(pytestconfig)
    found = options, announced(options), Presence(options)
    pytestconfig.stash[SERVER] = found
    return found


@pytest.fixture
def tus_result(
    tus_server: tuple[Options, Announced, Presence], pytestconfig: pytest.Config, tus_case: Case
) -> Iterator[Result]:
    """What came of the case."""
    result = run(tus_case, *tus_server)
    pytestconfig.stash[RESULTS].append(result)
    yield result


def judge(result: Result) -> None:
    """Turn a verdict into what pytest knows: FAIL and ERROR fail, UNSUPPORTED and UNTESTED skip."""
    if result.verdict in (Verdict.FAIL, Verdict.ERROR):
        raise NotConforming("\n" + report.details(result))
    if result.verdict in (Verdict.UNSUPPORTED, Verdict.UNTESTED):
        pytest.skip(f"{result.verdict}: {result.reason}")


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    results = config.stash[RESULTS]
    if results:
        terminalreporter.section("tus 1.0.0")
        terminalreporter.write_line(report.summary(results))


def pytest_sessionfinish(session: pytest.Session) -> None:
    results = session.config.stash[RESULTS]
    if not results:
        return
    options, found, _ = session.config.stash[SERVER]
    about = report.about(session.config.getoption("--name"), options, found)
    if path := session.config.getoption("--report-json"):
        path.write_text(report.as_json(about, results) + "\n", encoding="utf-8")
    if path := session.config.getoption("--report-html"):
        path.write_text(html.page(about, results), encoding="utf-8")


def _options(config: pytest.Config) -> Options:
    url = config.getoption("--url")
    if not url or not url.startswith(("http://", "https://")):
        raise pytest.UsageError("--url is needed: where uploads are created, such as http://127.0.0.1:1080/files")
    wanted = config.getoption("--extensions")
    options = Options(
        url=url,
        headers=tuple(_header(text) for text in config.getoption("--header")),
        insecure=config.getoption("--insecure"),
        timeout=config.getoption("--answer-timeout"),
        patience=config.getoption("--patience"),
    )
    if wanted is None:
        return options
    names = frozenset(name.strip() for name in wanted.split(",") if name.strip())
    return dataclasses.replace(options, extensions=names)


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise pytest.UsageError(f"--header must be 'Name: value', not {text!r}")
    return name.strip(), value.strip()
