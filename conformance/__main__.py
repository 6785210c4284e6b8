"""``python -m conformance http://host/files``: pytest underneath, a tree on the terminal."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from conformance import plugin, report
from conformance.runner import NOBODY
from conformance.verdicts import Result, Verdict

USAGE = """usage: python -m conformance URL [options]

Tests a tus 1.0.0 server. URL is where uploads are created. Ends with 1 when a requirement of level MUST is broken,
with 2 when the suite itself failed.

  -k EXPRESSION           only cases whose names match, as with pytest
  --extensions LIST       extensions to test; without it those that the server announces
  --header 'NAME: VALUE'  send this header along; may be repeated
  --insecure              take any certificate
  --answer-timeout SECONDS, --patience SECONDS
  --name TEXT             what the server is called in reports
  --report-json FILE, --report-html FILE, --junitxml FILE
"""


class Progress:
    """Shows which case is at work, where somebody looks."""

    def __init__(self) -> None:
        self.done, self.of = 0, 0

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.of = len(session.items)

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        if sys.stderr.isatty():
            self.done += 1
            case = nodeid.partition("[")[2][:-1]
            print(f"\r\x1b[2K{self.done}/{self.of}  {case}", end="", file=sys.stderr, flush=True)


def main(arguments: list[str]) -> int:
    """Run; the exit code."""
    if not arguments or arguments[0] in ("-h", "--help") or arguments[0].startswith("-"):
        print(USAGE)
        return 0 if arguments[:1] in (["-h"], ["--help"]) else 2
    here = Path(__file__).parent
    results: list[Result] = []

    class Keep:
        def pytest_configure(self, config: pytest.Config) -> None:
            config.stash[plugin.RESULTS] = results

    options = ["-p", "no:terminal", "-p", "no:cacheprovider", "-c", "/dev/null", "--rootdir", str(here.parent)]
    code = pytest.main([*options, str(here / "test_tus.py"), "--url", *arguments], plugins=[Keep(), Progress()])
    if sys.stderr.isatty():
        print("\r\x1b[2K", end="", file=sys.stderr)
    if not results:
        return int(code) or 2
    if all(result.reason == NOBODY for result in results):
        print(f"error: {NOBODY}; start the server, or check the URL", file=sys.stderr)
        return 2
    failed = [result for result in results if result.verdict in (Verdict.FAIL, Verdict.ERROR)]
    for result in failed:
        print(report.details(result))
    print(report.summary(results, colour=sys.stdout.isatty() and "NO_COLOR" not in os.environ))
    if any(result.verdict is Verdict.ERROR for result in failed):
        return 2
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
