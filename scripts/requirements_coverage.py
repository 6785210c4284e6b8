"""Check that the requirements in docs/requirements.md and the tests that show them fit together.

python scripts/requirements_coverage.py [--tests]     --tests: list which tests show which requirement

Exit code 1 when a requirement that binds the server (side S or B) has no test, or a test names one that does not exist.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
ROW = re.compile(r"\| ([A-Z]+-[0-9]+) \| ([^|]+) \| ([SCB]) \|")


@dataclass(frozen=True, kw_only=True, slots=True)
class Requirement:
    """One line of the table; ``side``: S, C or B."""

    id: str
    level: str
    side: str

    @property
    def binds_the_server(self) -> bool:
        """Whether a test has to show it."""
        return self.side in ("S", "B")


def requirements(page: str) -> dict[str, Requirement]:
    """The table's requirements by id, in its order."""
    rows = (ROW.match(line) for line in page.splitlines())
    found = [Requirement(id=row[1], level=row[2].strip(), side=row[3]) for row in rows if row]
    return {requirement.id: requirement for requirement in found}


def named(source: str) -> Iterator[tuple[int, str]]:
    """Each ``requirement("ID", ...)`` of a test module: the line and the id.

    Raises ValueError for an id that is not written out.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "requirement":
            for argument in node.args:
                if not (isinstance(argument, ast.Constant) and isinstance(argument.value, str)):
                    raise ValueError(f"line {argument.lineno}: write each requirement's id out")
                yield argument.lineno, argument.value


def places(tests: Path) -> dict[str, list[str]]:
    """Where each id is named, below a directory of tests."""
    found: dict[str, list[str]] = {}
    for path in sorted(tests.rglob("*.py")):
        for line, requirement_id in named(path.read_text(encoding="utf-8")):
            found.setdefault(requirement_id, []).append(f"{path.relative_to(tests.parent)}:{line}")
    return found


def complaints(table: dict[str, Requirement], shown: dict[str, list[str]]) -> list[str]:
    """What does not fit together, a line each."""
    unknown = [f"{where}: there is no {name}" for name in shown if name not in table for where in shown[name]]
    missing = [
        f"{each.id} ({each.level}) has no test"
        for each in table.values()
        if each.binds_the_server and each.id not in shown
    ]
    return unknown + missing


def main(arguments: list[str]) -> int:
    """Check and report; returns the exit code."""
    table = requirements((ROOT / "docs" / "requirements.md").read_text(encoding="utf-8"))
    shown = places(ROOT / "tests")
    if "--tests" in arguments:
        for name in table:
            print(f"{name}: {', '.join(shown.get(name, ['-']))}")
    found = complaints(table, shown)
    for complaint in found:
        print(complaint)
    binding = [each for each in table.values() if each.binds_the_server]
    covered = sum(each.id in shown for each in binding)
    print(f"{covered} of {len(binding)} requirements on the server have a test.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
