"""The results that are kept, side by side, as Markdown: ``python -m conformance.matrix``."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from conformance.requirements import REQUIREMENTS
from conformance.verdicts import Verdict

RESULTS: Final = Path(__file__).parent / "results"
SHOWN: Final = (Verdict.FAIL, Verdict.WEAK, Verdict.UNTESTED)
FIRST: Final = "tusserver"


def kept(directory: Path = RESULTS) -> list[Mapping[str, Any]]:
    """The results, this server's first."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(directory.glob("*.json"))]
    return sorted(found, key=lambda result: (result["server"]["name"] != FIRST, result["server"]["name"]))


def matrix(results: Iterable[Mapping[str, Any]]) -> str:
    """Servers x sections: how many cases passed, and what did not, linked to where it is explained."""
    results = list(results)
    sections = list(dict.fromkeys(_section(case) for result in results for case in result["cases"]))
    names = [f"[{each['server']['name']}]({each['server']['link']}) {each['server']['version']}" for each in results]
    lines = [f"| section | {' | '.join(names)} |", "| --- |" + " --- |" * len(results)]
    for section in sections:
        cells = [_cell([case for case in each["cases"] if _section(case) == section], each) for each in results]
        lines.append(f"| {section} | {' | '.join(cells)} |")
    totals = [_cell(each["cases"], each) for each in results]
    return "\n".join([*lines, f"| **all** | {' | '.join(totals)} |"])


def failures(results: Iterable[Mapping[str, Any]]) -> str:
    """For each server what it breaks: requirement, what was expected, what was found."""
    parts: list[str] = []
    for result in results:
        server = result["server"]
        parts += [f"### {server['name']} {server['version']}", ""]
        deaths = f" Its process died {server['deaths']} times and was started again." if server["deaths"] else ""
        parts += [f"{server['at'][:10]}, extensions: {', '.join(server['extensions'])}.{deaths}", ""]
        rows = [row for case in result["cases"] for row in _rows(case)]
        head = ["| | requirement | case | expected | found |", "| --- | --- | --- | --- | --- |"]
        parts += [*head, *rows, ""] if rows else ["Nothing to say.", ""]
    return "\n".join(parts).rstrip()


def _rows(case: Mapping[str, Any]) -> list[str]:
    """One line for each requirement that the case found broken: its first finding stands for those like it."""
    rows: dict[str, str] = {}
    for check in case["checks"]:
        if check["verdict"] in (Verdict.FAIL, Verdict.WEAK):
            requirement = REQUIREMENTS[check["requirement"]]
            cells = (check["verdict"], f"{requirement.id} ({requirement.section})", f"`{case['case']}`")
            told = (_short(check["expected"]), _short(check["found"]))
            rows.setdefault(requirement.id, f"| {' | '.join((*cells, *told))} |")
    if case["verdict"] == Verdict.UNTESTED:
        rows[""] = f"| {Verdict.UNTESTED} | | `{case['case']}` | | {_short(case['reason'])} |"
    return list(rows.values())


def _cell(cases: Iterable[Mapping[str, Any]], result: Mapping[str, Any]) -> str:
    counts = Counter(case["verdict"] for case in cases)
    well = counts[Verdict.PASS] + counts[Verdict.NOTED]
    told = [f"{well} pass"] if well else []
    told += [f"{counts[verdict]} {verdict}" for verdict in SHOWN if counts[verdict]]
    text = ", ".join(told) or "not announced"
    return f"[{text}](#{_anchor(result['server'])})" if any(counts[verdict] for verdict in SHOWN) else text


def _section(case: Mapping[str, Any]) -> str:
    return str(case["case"]).split("/")[1]


def _anchor(server: Mapping[str, Any]) -> str:
    """As GitHub makes it from a heading."""
    title = f"{server['name']} {server['version']}".lower().replace(" ", "-")
    return "".join(letter for letter in title if letter.isalnum() or letter in "-_")


def _short(text: str) -> str:
    plain = text.replace("|", "\\|").replace("\n", " ")
    return plain if len(plain) <= 120 else f"{plain[:117]}..."


if __name__ == "__main__":
    print(matrix(kept()))
