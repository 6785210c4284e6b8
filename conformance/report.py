"""Results for people on a terminal, and for machines."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from conformance.requirements import REQUIREMENTS
from conformance.target import Announced, Options
from conformance.verdicts import ORDER, Check, Result, Verdict

MARKS: Final[Mapping[Verdict, str]] = {
    Verdict.PASS: "+",
    Verdict.NOTED: "i",
    Verdict.UNSUPPORTED: "-",
    Verdict.UNTESTED: "?",
    Verdict.WEAK: "~",
    Verdict.FAIL: "X",
    Verdict.ERROR: "!",
}


def about(name: str, options: Options, announced: Announced) -> dict[str, Any]:
    """What was tested, and when."""
    return {
        "name": name or options.url,
        "url": options.url,
        "extensions": sorted(announced.extensions),
        "maximum": announced.maximum,
        "algorithms": list(announced.algorithms),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def by_requirement(results: Iterable[Result]) -> dict[str, Verdict]:
    """The worst verdict for each requirement that was looked at."""
    found: dict[str, Verdict] = {}
    for result in results:
        for check in result.checks:
            before = found.get(check.requirement, check.verdict)
            found[check.requirement] = max(before, check.verdict, key=ORDER.index)
        if result.ended in (Verdict.UNSUPPORTED, Verdict.UNTESTED):
            for requirement in result.requirements:
                found.setdefault(requirement, result.ended)
    return found


COLOURS: Final = {"pass": "32", "FAIL": "31", "error": "31", "weak": "33"}


def coloured(text: str, verdict: Verdict, colour: bool) -> str:
    """The text in the verdict's colour, where colours are seen."""
    code = COLOURS.get(verdict, "2")
    return f"\x1b[{code}m{text}\x1b[0m" if colour else text


def tree(results: Sequence[Result], colour: bool = False) -> str:
    """The cases below their sections, each with its verdict."""
    lines: list[str] = []
    section = ""
    for result in results:
        here, _, name = result.case.removeprefix("tus/").partition("/")
        if here != section:
            section = here
            lines.append(f"\x1b[1m{section}\x1b[0m" if colour else section)
        mark = coloured(MARKS[result.verdict], result.verdict, colour)
        lines.append(f"  {mark} {name:28} {result.title}")
        if result.verdict in (Verdict.UNSUPPORTED, Verdict.UNTESTED, Verdict.ERROR):
            lines.append(f"      {result.verdict}: {result.reason}")
        lines += [f"      {coloured(short(check), check.verdict, colour)}" for check in result.broken]
    return "\n".join(lines)


def short(check: Check) -> str:
    """A check that did not hold, in one line."""
    return f"{check.verdict} {check.requirement}: expected {check.expected}, found {check.found}"


def details(result: Result) -> str:
    """Everything about a case that is not well: the requirement, what was expected, and the exchange."""
    lines = [f"{result.case}: {result.title}"]
    if result.reason:
        lines.append(f"{result.verdict}: {result.reason}")
    for check in result.broken:
        requirement = REQUIREMENTS[check.requirement]
        lines += ["", short(check), f"  {requirement.said}: {requirement.text}"]
        lines.append(f"  {requirement.source}")
    for exchange in result.evidence:
        lines += ["", *([] if exchange.raw else [f"$ {exchange.curl()}"]), exchange.text()]
    return "\n".join(lines)


def summary(results: Sequence[Result], colour: bool = False) -> str:
    """The tree and the figures."""
    cases = Counter(result.verdict for result in results)
    requirements = Counter(by_requirement(results).values())
    lines = [
        f"{title:13}" + "   ".join(coloured(f"{counts[each]} {each}", each, colour) for each in ORDER if counts[each])
        for title, counts in (("cases", cases), ("requirements", requirements))
    ]
    seconds = sum(result.seconds for result in results)
    return "\n".join([tree(results, colour), "", *lines, f"{seconds:.1f} s"])


def as_json(about: Mapping[str, Any], results: Sequence[Result]) -> str:
    """For machines, and for comparing servers."""
    cases = [
        {
            "case": result.case,
            "title": result.title,
            "verdict": result.verdict,
            "reason": result.reason,
            "seconds": round(result.seconds, 3),
            "checks": [_check(check) for check in dict.fromkeys(result.checks)],
            "exchanges": [each.text() for each in result.evidence] if result.broken else [],
        }
        for result in results
    ]
    return json.dumps({"server": about, "requirements": by_requirement(results), "cases": cases}, indent=1)


def _check(check: Check) -> dict[str, Any]:
    return {
        "requirement": check.requirement,
        "verdict": check.verdict,
        "expected": check.expected,
        "found": check.found,
    }
