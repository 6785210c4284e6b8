"""Write into the documentation what it takes from the code, and from results that are kept: the tables of the settings,
the diagram of the statuses, which conformance case looks at what, how servers fare, and what was measured.

python scripts/generated_docs.py [--check]     --check: write nothing, exit 1 when a page is out of date
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from bench import report
from conformance.coverage import table
from conformance.matrix import failures, kept, matrix
from tusserver.protocol.upload import TOMBSTONES, TRANSITIONS, Status
from tusserver.settings import PREFIX, Settings, default, form, group, option

DOCS = Path(__file__).parent.parent / "docs"


def tables() -> str:
    """A table for each group of settings."""
    lines: list[str] = []
    heading = ""
    for name, field in Settings.model_fields.items():
        if group(name) != heading:
            heading = group(name)
            lines += [
                "",
                f"### {heading}",
                "",
                "| option, variable | default | meaning | value |",
                "| --- | --- | --- | --- |",
            ]
        cells = [
            f"`{option(name)}` `{PREFIX}{name.upper()}`",
            f"`{default(name)}`" if default(name) else "none",
            str(field.description),
            form(name).says,
        ]
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join([*lines, ""])


def diagram() -> str:
    """The transitions, as a mermaid state diagram."""
    lines = [f"[*] --> {Status.ACTIVE}: created"]
    lines += [f"{old} --> {new}" for old in Status for new in Status if new in TRANSITIONS[old]]
    lines += [f"{status} --> [*]: forgotten" for status in Status if status in TOMBSTONES]
    return "\n".join(["```mermaid", "stateDiagram-v2", *(f"    {line}" for line in lines), "```"])


def figures() -> str:
    """The tables of the session that docs/bench.json keeps: python -m bench --out docs/bench.json"""
    found = json.loads((DOCS / "bench.json").read_text(encoding="utf-8"))
    samples, beside = report.kept(found)
    parts = (f"{report.facts(found)}.", report.left_out(found), report.table(samples).strip(), report.sides(beside))
    return "\n\n".join(part for part in parts if part)


def updated(page: str, name: str, text: str) -> str:
    """The page with the text between ``<!-- name -->`` and ``<!-- /name -->``. Raises ValueError when these are not
    there."""
    opening, closing = f"<!-- {name} -->", f"<!-- /{name} -->"
    before, begin, rest = page.partition(opening)
    _, end, after = rest.partition(closing)
    if not (begin and end):
        raise ValueError(f"there is no {opening} ... {closing}")
    return f"{before}{opening}\n{text}\n{closing}{after}"


def main(arguments: list[str]) -> int:
    """Write, or check; returns the exit code."""
    outdated = 0
    for page, name, text in (
        ("configuration.md", "settings", tables()),
        ("design.md", "status diagram", diagram()),
        ("conformance.md", "conformance coverage", table()),
        ("conformance-results.md", "matrix", matrix(kept())),
        ("conformance-results.md", "failures", failures(kept())),
        ("performance.md", "figures", figures()),
    ):
        path = DOCS / page
        old = path.read_text(encoding="utf-8")
        new = updated(old, name, text)
        if "--check" not in arguments:
            path.write_text(new, encoding="utf-8")
        elif new != old:
            print(f"docs/{page}: the {name} is out of date; run make docs")
            outdated = 1
    return outdated


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
