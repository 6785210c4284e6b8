"""Write the table of the settings into docs/configuration.md, from their one definition.

python scripts/settings_table.py [--check]     --check: write nothing, exit 1 when the table is out of date
"""

from __future__ import annotations

import sys
from pathlib import Path

from tusserver.settings import PREFIX, Settings, default, form, group, option

PAGE = Path(__file__).parent.parent / "docs" / "configuration.md"
BEGIN, END = "<!-- settings -->", "<!-- /settings -->"


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


def updated(page: str) -> str:
    """The page with the tables between its markers. Raises ValueError when the markers are not there."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{PAGE.name} has no {BEGIN} ... {END}")
    return f"{before}{BEGIN}\n{tables()}\n{END}{after}"


def main(arguments: list[str]) -> int:
    """Write, or check; returns the exit code."""
    page = PAGE.read_text(encoding="utf-8")
    new = updated(page)
    if "--check" not in arguments:
        PAGE.write_text(new, encoding="utf-8")
    elif new != page:
        print("docs/configuration.md: the tables are out of date; run make docs")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
