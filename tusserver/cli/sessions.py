"""``tusserver sessions``: what is being uploaded and what has been, straight from the stores."""

from __future__ import annotations

import asyncio
import functools
import json
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import click

from tusserver import records
from tusserver.app import build_engine, open_stores
from tusserver.cli.options import STORES, WrongUse, settings_of, store_options
from tusserver.leases import unlocked
from tusserver.protocol.refusals import Refusal, UploadExpired, UploadNotFound
from tusserver.protocol.upload import Status
from tusserver.settings import Settings, WrongSetting
from tusserver.stores.base import Query, SessionStore
from tusserver.units import parse_duration

# An id may begin with "-"
BY_ID = {"ignore_unknown_options": True, "help_option_names": ["--help"]}

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, with times in UTC and sizes in bytes.")
upload_id = click.argument("upload_id", metavar="ID")


def acting(work: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """A command out of a coroutine function that takes the settings; what the stores refuse is said in a sentence."""

    @functools.wraps(work)
    def command(**arguments: Any) -> None:
        settings = settings_of({name: arguments.pop(name) for name in STORES})
        _expect_stores(settings)
        try:
            asyncio.run(work(settings, **arguments))
        except UploadNotFound:
            raise click.ClickException(f"There is no upload {arguments['upload_id']}.") from None
        except UploadExpired:
            raise click.ClickException(f"Upload {arguments['upload_id']} has expired.") from None
        except WrongSetting as error:
            raise WrongUse(str(error)) from None
        except Refusal as refusal:
            raise click.ClickException(refusal.text) from None

    return command


@click.group()
def sessions() -> None:
    """See, cancel and unlock uploads."""


@sessions.command("list")
@click.option(
    "--status",
    "statuses",
    type=click.Choice([status.value for status in Status]),
    multiple=True,
    help="Only uploads of this status; may be repeated.",
)
@click.option("--active", is_flag=True, help="Only uploads that are being written right now, and how fast.")
@click.option("--stale", metavar="DURATION", help="Only unfinished uploads that got nothing for this long, such as 2h.")
@as_json
@store_options
@acting
async def list_uploads(
    settings: Settings, statuses: tuple[str, ...], active: bool, stale: str | None, as_json: bool
) -> None:
    """List uploads, oldest first; with --json one object a line."""
    query = Query(
        leased=True if active else None,
        statuses=frozenset(Status(status) for status in statuses) or (frozenset({Status.ACTIVE}) if stale else None),
        updated_before=None if stale is None else time.time() - _duration("--stale", stale),
    )
    if not as_json:
        click.echo(records.HEADING)
    async with _opened(settings) as store:
        async for upload in store.find(query):
            if active and not upload.leased:
                continue
            click.echo(json.dumps(records.record(upload)) if as_json else records.line(upload))


@sessions.command("show", context_settings=BY_ID)
@upload_id
@as_json
@store_options
@acting
async def show(settings: Settings, upload_id: str, as_json: bool) -> None:
    """Show everything that is known about one upload, and what happened to it."""
    _, storage = open_stores(settings)
    async with _opened(settings) as store:
        upload = await store.get(upload_id)
    fields = {**records.record(upload), "location": storage.location(upload) if upload.completed else None}
    click.echo(json.dumps(fields, indent=2) if as_json else records.sheet(fields))


@sessions.command("cancel", context_settings=BY_ID)
@upload_id
@store_options
@acting
async def cancel(settings: Settings, upload_id: str) -> None:
    """Give an upload up and delete its bytes, as a client's DELETE does."""
    engine = build_engine(settings)
    try:
        await engine.start()
        upload = await engine.cancel(upload_id)
    finally:
        await engine.stop()
    click.echo(f"Cancelled {upload_id} at {records.progress(upload)}.")


@sessions.command("unlock", context_settings=BY_ID)
@upload_id
@store_options
@acting
async def unlock(settings: Settings, upload_id: str) -> None:
    """Take an upload from whoever holds it, so that a client can go on with it at once.

    Nothing is lost that was counted: the former holder can write no more.
    """
    async with _opened(settings) as store:
        upload = await unlocked(store, upload_id)
    if upload.lease is None:
        click.echo(f"Nobody holds {upload_id}.")
        return
    held = "held" if upload.leased else "had last held"
    click.echo(f"Unlocked {upload_id} at {records.progress(upload)}; {upload.lease.holder} {held} it.")


@sessions.command("stats")
@click.option("--since", metavar="DURATION", help="Only uploads that were created in the last 24h, 7d ...")
@as_json
@store_options
@acting
async def stats(settings: Settings, since: str | None, as_json: bool) -> None:
    """Count uploads and bytes by status, and how many were completed."""
    created_from = None if since is None else time.time() - _duration("--since", since)
    async with _opened(settings) as store:
        tallies = await store.tally(created_from)
    if as_json:
        click.echo(json.dumps({**records.tallied(tallies), "success": records.success(tallies)}, indent=2))
        return
    click.echo(records.tally_table(tallies))
    click.echo(records.success_line(tallies))


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[SessionStore]:
    store, _ = open_stores(settings)
    try:
        await store.start()
        yield store
    finally:
        await store.close()


def _expect_stores(settings: Settings) -> None:
    """Refuse to make stores where there are none: the options are wrong then, or the directory."""
    if settings.sessions == "memory:":
        raise click.ClickException("memory: sessions live inside the server's process and cannot be seen from here.")
    for url, name in ((settings.sessions, "--sessions"), (settings.storage, "--storage")):
        kind, _, place = url.partition(":")
        if kind in ("sqlite", "disk") and not Path(place.removeprefix("//")).exists():
            raise click.ClickException(f"There is nothing at {url}; say with {name} where the server keeps it.")


def _duration(option: str, text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError:
        raise WrongUse(f"{option} must be a duration such as 30m, 24h or 7d, not {text!r}.") from None
