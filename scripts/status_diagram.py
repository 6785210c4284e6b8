"""Write the diagram of what may become of an upload into docs/design.md, from the table that the code goes by.

python scripts/status_diagram.py [--check]     --check: write nothing, exit 1 when the diagram is out of date
"""

from __future__ import annotations

import sys
from pathlib import Path

from tusserver.protocol.upload import TOMBSTONES, TRANSITIONS, Status

PAGE = Path(__file__).parent.parent / "docs" / "design.md"
BEGIN, END = "<!-- status diagram -->", "<!-- /status diagram -->"


def diagram() -> str:
    """The transitions, as a mermaid state diagram."""
    lines = [f"[*] --> {Status.ACTIVE}: created"]
    lines += [f"{old} --> {new}" for old in Status for new in Status if new in TRANSITIONS[old]]
    lines += [f"{status} --> [*]: forgotten" for status in Status if status in TOMBSTONES]
    return "\n".join(["```mermaid", "stateDiagram-v2", *(f"    {line}" for line in lines), "```"])


def updated(page: str) -> str:
    """The page with the diagram between its markers. Raises ValueError when the markers are not there."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{PAGE.name} has no {BEGIN} ... {END}")
    return f"{before}{BEGIN}\n{diagram()}\n{END}{after}"


def main(arguments: list[str]) -> int:
    """Write, or check; returns the exit code."""
    page = PAGE.read_text(encoding="utf-8")
    new = updated(page)
    if "--check" not in arguments:
        PAGE.write_text(new, encoding="utf-8")
    elif new != page:
        print("docs/design.md: the status diagram is out of date; run make docs")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
