"""Who tests the tests: a server that breaks one requirement is found out, by just that; one that breaks none is not
accused."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from conformance.cases import load
from conformance.report import details
from conformance.requirements import REQUIREMENTS, Level
from conformance.runner import Presence, run
from conformance.target import Options, announced
from conformance.verdicts import Result, Verdict
from tests.conformance.reference import reference

ROOT = Path(__file__).parents[2]
EVERY_EXTENSION = frozenset(
    [
        "creation",
        "creation-with-upload",
        "creation-defer-length",
        "expiration",
        "checksum",
        "checksum-trailer",
        "termination",
        "concatenation",
        "concatenation-unfinished",
    ]
)
CASES = load()
LOOKED_AT = {requirement for case in CASES.values() for requirement in case.requirements}


def broken_by(requirement: str) -> Iterator[str]:
    """The requirements that the suite says the mutant breaks."""
    for result in results(requirement, only=requirement):
        yield from (check.requirement for check in result.checks if check.verdict is Verdict.FAIL)


def results(broken: str = "", only: str | None = None, case: str | None = None) -> list[Result]:
    """``only``: the cases that look at this requirement. ``case``: just this one."""
    cases = [
        each
        for each in CASES.values()
        if (only is None or only in each.requirements) and (case is None or each.id == case)
    ]
    with reference(broken) as url:
        options = Options(url=url, extensions=EVERY_EXTENSION, patience=2.0, timeout=5.0)
        found, presence = announced(options), Presence(options)
        with ThreadPoolExecutor(8) as pool:
            return list(pool.map(lambda case: run(case, options, found, presence), cases))


MUTANTS = sorted(
    requirement.id
    for requirement in REQUIREMENTS.values()
    if requirement.level is Level.MUST and requirement.binds_a_server and requirement.id in LOOKED_AT
)


WAYS = {
    "CORE-09 missing": ("tus/core/resumable/missing", Verdict.WEAK),
    "CORE-36 complete": ("tus/core/patch/complete", Verdict.FAIL),
    "CREA-09": ("tus/creation/length-stays", Verdict.FAIL),
    "CREA-24 long": ("tus/creation/metadata/long", Verdict.FAIL),
    "CREA-28 alike": ("tus/creation/alike", Verdict.FAIL),
    "CWU-05": ("tus/creation/with-upload/content-type", Verdict.WEAK),
    "CSUM-04 empty": ("tus/checksum/empty", Verdict.FAIL),
    "CSUM-04 two": ("tus/checksum/two", Verdict.FAIL),
    "CONC-04 length": ("tus/concatenation/length", Verdict.FAIL),
    "CONC-06 unknown": ("tus/concatenation/unknown", Verdict.WEAK),
}
"""One way to break a requirement, and the case that is there to find out just that."""


def test_the_unbroken_server_is_not_accused() -> None:
    for result in results():
        assert result.verdict not in (Verdict.FAIL, Verdict.WEAK, Verdict.ERROR, Verdict.UNTESTED), details(result)


@pytest.mark.parametrize("requirement", MUTANTS)
def test_a_mutant_is_caught_by_its_requirement(requirement: str) -> None:
    assert requirement in set(broken_by(requirement))


@pytest.mark.parametrize("way", WAYS)
def test_a_way_to_break_a_requirement_is_caught_by_the_case_for_it(way: str) -> None:
    case, verdict = WAYS[way]
    requirement = way.split()[0]
    found = {
        check.verdict
        for result in results(way, case=case)
        for check in result.checks
        if check.requirement == requirement
    }
    assert verdict in found


def test_every_must_that_binds_a_server_has_a_mutant() -> None:
    print(f"{len(MUTANTS)} mutants")
    musts = {each.id for each in REQUIREMENTS.values() if each.level is Level.MUST and each.binds_a_server}
    assert set(MUTANTS) == musts


def test_every_line_that_binds_a_server_is_looked_at_or_says_why_not() -> None:
    binding = {requirement.id for requirement in REQUIREMENTS.values() if requirement.binds_a_server}
    page = (ROOT / "docs" / "conformance.md").read_text(encoding="utf-8")
    excuses = page.partition("<!-- /conformance coverage -->")[2]
    unseen = set(re.findall(r"^\| ([A-Z]+-[0-9]+) \|", excuses, re.MULTILINE))
    assert unseen == binding - LOOKED_AT


def test_the_page_on_hurl_names_cases_that_there_are() -> None:
    page = (ROOT / "docs" / "hurl.md").read_text(encoding="utf-8")
    assert set(re.findall(r"`(tus/[^`]+)`", page)) - set(CASES) == set()
    assert set(re.findall(r"\b[A-Z]{3,4}-[0-9]{2}\b", page)) - set(REQUIREMENTS) == set()


def test_nothing_in_the_suite_knows_the_server() -> None:
    for path in (ROOT / "conformance").rglob("*.py"):
        assert not re.search(r"^\s*(from|import) (tusserver|tests)\b", path.read_text(encoding="utf-8"), re.MULTILINE)
