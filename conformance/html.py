"""One page to look at, with everything in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Final

from conformance.report import by_requirement, short
from conformance.requirements import REQUIREMENTS
from conformance.verdicts import ORDER, Result, Verdict

STYLE: Final = """
:root { color-scheme: light dark; --pass: #1a7f37; --FAIL: #cf222e; --weak: #9a6700; --other: #57606a; }
@media (prefers-color-scheme: dark) { :root { --pass: #3fb950; --FAIL: #f85149; --weak: #d29922; --other: #8b949e; } }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h2 { margin-top: 2.5rem; } code, pre { font: 13px/1.45 ui-monospace, monospace; }
pre { overflow-x: auto; padding: .75rem; border: 1px solid color-mix(in srgb, currentColor 20%, transparent); }
.bar { display: flex; height: .75rem; border-radius: .4rem; overflow: hidden; margin: 1rem 0; }
.v { font-weight: 600; color: var(--other); } .pass { color: var(--pass); } .FAIL, .error { color: var(--FAIL); }
.weak { color: var(--weak); } .bar span { background: currentColor; }
details { border-top: 1px solid color-mix(in srgb, currentColor 15%, transparent); padding: .5rem 0; }
summary { cursor: pointer; } .id { opacity: .7; }
"""


def page(about: Mapping[str, Any], results: Sequence[Result]) -> str:
    """The page's text."""
    name = escape(str(about["name"]))
    extensions = escape(", ".join(about["extensions"]) or "none")
    body = [f"<h1>{name}</h1>", f"<p>tus 1.0.0 at <code>{escape(about['url'])}</code>, {escape(about['at'])}</p>"]
    body += [_bar(results), f"<p>Extensions: {extensions}</p>"]
    section = ""
    for result in results:
        here = result.case.split("/")[1]
        if here != section:
            section = here
            body.append(f"<h2>{escape(section)}</h2>")
        body.append(_case(result))
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{name}: tus 1.0.0</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style>{"".join(body)}</html>\n'
    )


def _bar(results: Sequence[Result]) -> str:
    counts = Counter(by_requirement(results).values())
    there = [(verdict, counts[verdict]) for verdict in ORDER if counts[verdict]]
    parts = [f'<span class="v {verdict}" style="flex:{count}"></span>' for verdict, count in there]
    said = [f'<span class="v {verdict}">{count} {verdict}</span>' for verdict, count in there]
    return f'<div class="bar">{"".join(parts)}</div><p>Requirements: {", ".join(said)}</p>'


def _case(result: Result) -> str:
    wrong = result.verdict in (Verdict.FAIL, Verdict.WEAK, Verdict.ERROR)
    lines = [f"<p>{escape(result.reason)}</p>"] if result.reason else []
    for check in dict.fromkeys(result.broken):
        requirement = REQUIREMENTS[check.requirement]
        lines.append(f"<p><b>{escape(short(check))}</b><br>{escape(requirement.said)}: {escape(requirement.text)}</p>")
    if wrong:
        lines += [f"<pre>{escape(exchange.text())}</pre>" for exchange in result.exchanges]
    ids = escape(", ".join(result.requirements))
    verdict = f'<span class="v {result.verdict}">{result.verdict}</span>'
    summary = f'{verdict} {escape(result.title)} <span class="id">{ids}</span>'
    return f"<details{' open' if wrong else ''}><summary>{summary}</summary>{''.join(lines)}</details>"
