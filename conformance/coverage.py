"""Which cases look at which requirement, as a table: ``python -m conformance.coverage``."""

from __future__ import annotations

from conformance.cases import load
from conformance.requirements import REQUIREMENTS


def table() -> str:
    """Markdown, one line for each requirement that a case looks at."""
    cases = load().values()
    lines = ["| requirement | level | section | cases |", "| --- | --- | --- | --- |"]
    for requirement in REQUIREMENTS.values():
        looking = [f"`{case.id}`" for case in cases if requirement.id in case.requirements]
        if looking:
            row = (requirement.id, requirement.said, requirement.section, ", ".join(looking))
            lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
