"""The command ``tusserver``."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import click

import tusserver
from tusserver.app import build_sweeper, open_stores
from tusserver.cli.doctor import doctor
from tusserver.cli.fsck import fsck
from tusserver.cli.options import SettingsCommand, settings_of, store_options
from tusserver.cli.sessions import acting, sessions
from tusserver.settings import Settings, environment_name, form
from tusserver.units import about_size


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(tusserver.__version__, prog_name="tusserver", message="%(prog)s %(version)s")
def main() -> None:
    """A server for resumable uploads (tus 1.0.0).

    "tusserver serve" starts it with an embedded database and uploads on the local disk; nothing has to be set up.
    """


@main.command(cls=SettingsCommand)
def serve(**given: Any) -> None:
    """Serve uploads.

    Until it is stopped with Ctrl-C or SIGTERM: uploads in progress are then saved, and clients go on later.
    """
    from tusserver.listening import CannotServe
    from tusserver.server import serve as run

    try:
        status = run(settings_of(given))
    except CannotServe as error:
        raise click.ClickException(str(error)) from None
    raise SystemExit(status)


@main.command(cls=SettingsCommand)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def config(as_json: bool, **given: Any) -> None:
    """Show the settings and where each comes from.

    With the options of "serve", which would use just these settings.
    """
    settings = settings_of(given)
    rows = {
        name: {"value": form(name).write(getattr(settings, name)), "from": _origin(name, given)}
        for name in Settings.model_fields
    }
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    width = max(len(name) for name in rows)
    for name, row in rows.items():
        click.echo(f"{name:{width}}  {row['value'] or '(none)'}  [{row['from']}]")


@main.command()
@click.option("--once", is_flag=True, help="Sweep one time and end, as a CronJob does.")
@store_options
@acting
async def sweep(settings: Settings, once: bool) -> None:
    """Remove expired uploads.

    And bytes left over from removed ones, and records of them that may be forgotten. A running server does this by
    itself; any number of sweepers may run beside it. Goes on every minute, or as TUSSERVER_SWEEP_EVERY says, unless
    told to do it --once.
    """
    sessions, storage = open_stores(settings)
    try:
        await sessions.start()
        await storage.start()
        sweeper = build_sweeper(settings, sessions, storage)
        if not once:
            return await sweeper.run()
        swept = await sweeper.sweep()
    finally:
        await storage.close()
        await sessions.close()
    click.echo(
        f"{swept.expired} expired (they held {about_size(swept.bytes)}), "
        f"{swept.erased} left-overs erased, {swept.finished} finished, {swept.forgotten} forgotten."
    )


main.add_command(sessions)
main.add_command(fsck)
main.add_command(doctor)


def _origin(name: str, given: Mapping[str, Any]) -> str:
    if given.get(name) is not None:
        return "option"
    variable = environment_name(name, os.environ)
    return f"environment variable {variable}" if variable else "default"
