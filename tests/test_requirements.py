"""The check that requirements and tests fit together, and the rule that no test is skipped unseen."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.requirements_coverage import ROOT, complaints, named, places, requirements

PAGE = """
| ID | level | side | section | requirement |
| --- | --- | --- | --- | --- |
| CORE-01 | MUST | B | Core | Works. |
| CORE-02 | MUST NOT | S | Core | Fails. |
| CORE-03 | (is) | C | Core | Is `a | b`. |
"""


def test_the_table_is_read() -> None:
    assert [(each.id, each.level, each.side) for each in requirements(PAGE).values()] == [
        ("CORE-01", "MUST", "B"),
        ("CORE-02", "MUST NOT", "S"),
        ("CORE-03", "(is)", "C"),
    ]


def test_every_row_of_the_real_table_is_read() -> None:
    page = (ROOT / "docs" / "requirements.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| ") and not line.startswith(("| ID", "| ---"))]
    assert len(requirements(page)) == len(rows) > 100


def test_what_does_not_fit_is_told() -> None:
    table = requirements(PAGE)
    assert complaints(table, {"CORE-01": ["a:1"], "CORE-02": ["a:2"]}) == []
    assert complaints(table, {"CORE-01": ["a:1"], "CORE-03": ["a:3"], "CORE-9": ["b:1", "b:2"]}) == [
        "b:1: there is no CORE-9",
        "b:2: there is no CORE-9",
        "CORE-02 (MUST NOT) has no test",
    ]


def test_markers_are_found_wherever_they_stand(tmp_path: Path) -> None:
    tests = tmp_path / "tests"
    tests.mkdir()
    source = (
        "pytestmark = pytest.mark.requirement('CORE-01')\n"
        "rows = [pytest.param(1, marks=pytest.mark.requirement('CORE-02', 'CORE-03'))]\n"
        "# requirement('CORE-04')\n"
    )
    (tests / "test_it.py").write_text(source)
    assert places(tests) == {
        "CORE-01": ["tests/test_it.py:1"],
        "CORE-02": ["tests/test_it.py:2"],
        "CORE-03": ["tests/test_it.py:2"],
    }
    with pytest.raises(ValueError, match="line 1"):
        list(named("pytest.mark.requirement(NAME)"))


@pytest.mark.parametrize("workers", ["0", "2"])
@pytest.mark.parametrize(("no_skips", "status"), [("1", 1), ("", 0)])
def test_a_skipped_test_fails_the_run_where_none_may_be(
    tmp_path: Path, workers: str, no_skips: str, status: int
) -> None:
    (tmp_path / "conftest.py").write_text((ROOT / "tests" / "conftest.py").read_text(encoding="utf-8"))
    (tmp_path / "test_it.py").write_text(
        "import pytest\n\ndef test_one(): pass\n\n@pytest.mark.skip(reason='no')\ndef test_two(): pass\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-n", workers, "--rootdir", str(tmp_path)],
        cwd=tmp_path,
        env={**os.environ, "NO_SKIPS": no_skips},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == status, done.stdout
    assert ("this was skipped: test_it.py::test_two" in done.stdout) == bool(status)
