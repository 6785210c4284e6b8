"""One page to look at, with everything in it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from itertools import groupby
from typing import Any, Final

from conformance.report import by_requirement, short
from conformance.requirements import REQUIREMENTS, SPECIFICATION
from conformance.verdicts import ORDER, Result, Verdict
from conformance.wire import Exchange

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
summary { cursor: pointer; } .id { opacity: .7; } a { color: inherit; }
nav { display: flex; flex-wrap: wrap; gap: .25rem 1.5rem; } .curl { user-select: all; }
"""


def page(about: Mapping[str, Any], results: Sequence[Result]) -> str:
    """The page's text."""
    name = escape(str(about["name"]))
    extensions = escape(", ".join(about["extensions"]) or "none")
    body = [f"<h1>{name}</h1>", f"<p>tus 1.0.0 at <code>{escape(about['url'])}</code>, {escape(about['at'])}</p>"]
    body += [_bar(results), f"<p>Extensions: {extensions}</p>"]
    sections = {here: list(cases) for here, cases in groupby(results, lambda result: result.case.split("/")[1])}
    links = [f'<a href="#{escape(here)}">{escape(here)}</a> {_worst(cases)}' for here, cases in sections.items()]
    body.append(f"<nav>{' '.join(f'<span>{link}</span>' for link in links)}</nav>")
    for here, cases in sections.items():
        body.append(f'<h2 id="{escape(here)}">{escape(here)}</h2>')
        body += [_case(result) for result in cases]
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
    for check in result.broken:
        requirement = REQUIREMENTS[check.requirement]
        told = f"{requirement.said}: {requirement.text}" + (
            " (a line that binds by implication)" if check.advice else ""
        )
        source = escape(requirement.section)
        if not requirement.section.startswith("RFC"):
            source = f'<a href="{SPECIFICATION}">{source}</a>'
        lines.append(f"<p><b>{escape(short(check))}</b><br>{_marked(told)} <span class=id>{source}</span></p>")
    if wrong:
        lines += [f"<pre>{_exchange(exchange)}</pre>" for exchange in result.evidence]
    if not lines:
        lines += [f"<p>{_marked(_told(each))}</p>" for each in result.requirements]
    ids = escape(", ".join(result.requirements))
    verdict = f'<span class="v {result.verdict}">{result.verdict}</span>'
    summary = f'{verdict} {escape(result.title)} <span class="id">{ids}</span>'
    return f"<details{' open' if wrong else ''}><summary>{summary}</summary>{''.join(lines)}</details>"


def _worst(results: Sequence[Result]) -> str:
    """How many cases of a section are not well, or that all are."""
    counts = Counter(result.verdict for result in results)
    wrong = [each for each in reversed(ORDER) if counts[each] and each not in (Verdict.PASS, Verdict.NOTED)]
    told = [f'<span class="v {each}">{counts[each]} {each}</span>' for each in wrong]
    return " ".join(told) or f'<span class="v pass">{len(results)} pass</span>'


def _exchange(exchange: Exchange) -> str:
    """As it was, below a command that repeats it."""
    command = "" if exchange.raw else f'<span class="curl">{escape(exchange.curl())}</span>\n'
    return command + escape(exchange.text())


def _told(requirement: str) -> str:
    return f"{requirement}, {REQUIREMENTS[requirement].said}: {REQUIREMENTS[requirement].text}"


def _marked(text: str) -> str:
    """`code` and **strong** of the requirements' texts."""
    marked = re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))
    return re.sub(r"\*\*([^*]+)\*\*", r"<b>\1</b>", marked)
