"""``tusserver doctor``: is this deployment sound?"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Final
from urllib.parse import urlsplit

import click

from tusserver.app import open_stores
from tusserver.cli.options import WrongUse, store_options
from tusserver.cli.sessions import acting
from tusserver.doctor import local, through
from tusserver.doctor.public import Public
from tusserver.settings import Settings
from tusserver.stores.findings import Finding, Level
from tusserver.units import parse_size

COLOURS: Final = {Level.OK: "green", Level.NOTE: "blue", Level.WARNING: "yellow", Level.PROBLEM: "red"}


@click.command()
@click.option("--through", "url", metavar="URL", help="Go through this URL of the upload endpoint, as clients do.")
@click.option("--header", "headers", multiple=True, metavar="TEXT", help="Send this header ('Name: value') along.")
@click.option("--insecure", is_flag=True, help="Take any certificate.")
@click.option("--origin", metavar="ORIGIN", help="Try CORS as a page of this origin, such as https://app.example.org.")
@click.option("--size", default="64MiB", show_default=True, metavar="SIZE", help="Largest body that is tried.")
@click.option("--silence", default=0.0, metavar="SECONDS", help="Leave an upload without a byte for so long.")
@click.option("--adopt-storage", is_flag=True, help="Make this storage the one that the deployment uses.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@store_options
def doctor(url: str | None, as_json: bool, **options: Any) -> None:
    """Find out what is wrong with a deployment, and what to do.

    Looks at the stores that the options (or the environment) name or, with --through, at what clients meet on their
    way through proxies. It leaves nothing behind. Ends with 1 when there is a problem.
    """
    counts: Counter[Level] = Counter()

    def say(finding: Finding) -> None:
        counts[finding.level] += 1
        _say(finding, as_json)

    way = {name: options.pop(name) for name in ("headers", "insecure", "origin", "size", "silence")}
    if url is not None:
        _go_through(url, say, **way)
    else:
        _look(say=say, **options)
    if not as_json:
        click.echo(f"{counts[Level.PROBLEM]} problems, {counts[Level.WARNING]} warnings.")
    if counts[Level.PROBLEM]:
        raise SystemExit(1)


def _go_through(
    url: str,
    say: Callable[[Finding], None],
    *,
    headers: tuple[str, ...],
    insecure: bool,
    origin: str | None,
    size: str,
    silence: float,
) -> None:
    if not _is_url(url):
        raise WrongUse(f"--through must be a URL such as https://media.example.org/files, not {url!r}.")
    public = Public(url, dict(_header(each) for each in headers), insecure=insecure)
    for finding in through.examine(public, through.Question(size=_size(size), origin=origin, silence=silence)):
        say(finding)


@acting
async def _look(settings: Settings, say: Callable[[Finding], None], adopt_storage: bool, yes: bool) -> None:
    if adopt_storage and not yes:
        click.confirm("Uploads in the storage used so far will be refused. Go on?", abort=True)
    sessions, storage = open_stores(settings)
    try:
        async for finding in local.examine(sessions, storage, adopt=adopt_storage):
            say(finding)
    finally:
        await storage.close()
        await sessions.close()


def _say(finding: Finding, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(asdict(finding)))
        return
    level = click.style(f"{finding.level:<7}", fg=COLOURS[finding.level])
    click.echo(f"{level}  {finding.what}: {finding.said}")
    if finding.advice:
        click.echo(f"         {finding.advice}")


def _is_url(url: str) -> bool:
    try:
        where = urlsplit(url)
        return where.scheme in ("http", "https") and bool(where.hostname) and where.port != 0
    except ValueError:
        return False


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip() or not text.isprintable():
        raise WrongUse(f"--header must be 'Name: value', not {text!r}.")
    return name.strip(), value.strip()


def _size(text: str) -> int:
    try:
        return parse_size(text)
    except ValueError:
        raise WrongUse(f"--size must be a size such as 500KB or 64MiB, not {text!r}.") from None
