from __future__ import annotations

import os

import pytest


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def way(request: pytest.FixtureRequest) -> str:
    """How a server takes bodies in: ``direct`` from the socket into the file, or ``plain``, through the process; or
    ``claimed``: direct however short they are."""
    return str(getattr(request, "param", "direct"))


def skipped(config: pytest.Config) -> list[str]:
    """The tests that were skipped although NO_SKIPS=1 says that all are to run. xdist's workers leave it to the
    process that started them."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("NO_SKIPS") != "1" or reporter is None or hasattr(config, "workerinput"):
        return []
    return [report.nodeid for report in reporter.stats.get("skipped", [])]


def pytest_sessionfinish(session: pytest.Session) -> None:
    if session.exitstatus == pytest.ExitCode.OK and skipped(session.config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def mutants_caught(reporter: pytest.TerminalReporter) -> str | None:
    """How many of the conformance suite's mutants were found out, where these tests ran."""
    told = [
        report.outcome
        for reports in reporter.stats.values()
        for report in reports
        if "::test_a_mutant_is_caught_" in getattr(report, "nodeid", "") and report.when == "call"
    ]
    return f"conformance mutants caught: {told.count('passed')} of {len(told)}" if told else None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for nodeid in skipped(config):
        terminalreporter.write_line(f"NO_SKIPS=1, but this was skipped: {nodeid}", red=True)
    if caught := mutants_caught(terminalreporter):
        terminalreporter.write_line(caught)
