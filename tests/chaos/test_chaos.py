"""A short run of what ``make chaos`` does at length."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.run import Report, Wanted, run

MIB = 1024 * 1024
SHORT = Wanted(uploads=12, pod_faults=9, failovers=2, largest=4 * MIB, at_once=4, pause=0.5, seed=20)

pytestmark = pytest.mark.timeout(300)


def kept(report: Report) -> None:
    print(report.text())
    assert report.broken == [], report.text()


@pytest.mark.parametrize("storage", ["disk", "gridfs"])
def test_every_promise_is_kept_while_servers_and_primaries_fail(tmp_path: Path, storage: str) -> None:
    report = run(Wanted(**{**vars(SHORT), "storage": storage}), tmp_path)
    kept(report)
    assert report.uploads >= 12
    assert sum(report.faults.values()) == 11


def test_mongodb_away_makes_nobody_start_over(tmp_path: Path) -> None:
    wanted = Wanted(uploads=12, pod_faults=0, failovers=0, at_once=12, largest=32 * MIB, outage=8.0, seed=21)
    report = run(wanted, tmp_path)
    kept(report)
    assert report.uploads == 12
    assert report.retries > 0
