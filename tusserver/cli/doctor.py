"""``tusserver doctor``: is this deployment sound?"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from typing import Any, Final

import click

from tusserver.app import open_stores
from tusserver.cli.options import WrongUse, store_options
from tusserver.cli.sessions import acting
from tusserver.doctor import local, through
from tusserver.doctor.public import Public
from tusserver.settings import Settings
from tusserver.stores.findings import Finding, Level
from tusserver.units import parse_size

COLOURS: Final = {Level.OK: "green", Level.WARNING: "yellow", Level.PROBLEM: "red"}


@click.command()
@click.option("--through", "url", metavar="URL", help="Go through this URL of the upload endpoint, as clients do.")
@click.option("--header", "headers", multiple=True, metavar="TEXT", help="Send this header ('Name: value') along.")
@click.option("--insecure", is_flag=True, help="Take any certificate.")
@click.option("--origin", default="https://app.example.org", show_default=True, help="Origin of a page, for CORS.")
@click.option("--size", default="64MiB", show_default=True, metavar="SIZE", help="Largest body that is tried.")
@click.option("--silence", default=0.0, metavar="SECONDS", help="Leave an upload without a byte for so long.")
@click.option("--adopt-storage", is_flag=True, help="Make this storage the one that the deployment uses.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@store_options
@acting
async def doctor(
    settings: Settings, adopt_storage: bool, yes: bool, as_json: bool, url: str | None, **how: Any
) -> None:
    """Find out what is wrong with a deployment, and what to do.

    Looks at the stores that the options (or the environment) name or, with --through, at what clients meet on their
    way through proxies. It leaves nothing behind. Ends with 1 when there is a problem.
    """
    counts: Counter[Level] = Counter()
    if url is not None:
        public = Public(url, dict(_header(each) for each in how["headers"]), insecure=how["insecure"])
        question = through.Question(size=_size(how["size"]), origin=how["origin"], silence=how["silence"])
        for finding in through.examine(public, question):
            _say(finding, counts, as_json)
    else:
        if adopt_storage and not yes:
            click.confirm("Uploads in the storage used so far will be refused. Go on?", abort=True)
        sessions, storage = open_stores(settings)
        try:
            async for finding in local.examine(sessions, storage, adopt=adopt_storage):
                _say(finding, counts, as_json)
        finally:
            await storage.close()
            await sessions.close()
    if not as_json:
        click.echo(f"{counts[Level.PROBLEM]} problems, {counts[Level.WARNING]} warnings.")
    if counts[Level.PROBLEM]:
        raise SystemExit(1)


def _say(finding: Finding, counts: Counter[Level], as_json: bool) -> None:
    counts[finding.level] += 1
    if as_json:
        click.echo(json.dumps(asdict(finding)))
        return
    level = click.style(f"{finding.level:<7}", fg=COLOURS[finding.level])
    click.echo(f"{level}  {finding.what}: {finding.said}")
    if finding.advice:
        click.echo(f"         {finding.advice}")


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise WrongUse(f"--header must be 'Name: value', not {text!r}.")
    return name.strip(), value.strip()


def _size(text: str) -> int:
    try:
        return parse_size(text)
    except ValueError:
        raise WrongUse(f"--size must be a size such as 500KB or 64MiB, not {text!r}.") from None
