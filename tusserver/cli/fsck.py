"""``tusserver fsck``: do sessions and bytes fit together?"""

from __future__ import annotations

import json
import sys
import time
from typing import Final

import click

from tusserver import records
from tusserver.app import open_stores
from tusserver.cli.options import store_options
from tusserver.cli.sessions import acting
from tusserver.fsck import Finding, Fsck
from tusserver.settings import Settings

SENTENCES: Final = {
    "missing": "counted bytes are gone; --repair cancels it, and its client begins anew",
    "stray": "bytes without a session; --repair deletes them",
    "elsewhere": "its bytes are in another storage; run this where that is mounted",
}


@click.command()
@click.option("--repair", is_flag=True, help="Delete bytes without a session, and cancel uploads whose bytes are gone.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@store_options
@acting
async def fsck(settings: Settings, repair: bool, as_json: bool) -> None:
    """Look for bytes without a session and sessions without bytes.

    May run beside servers that are at work. Ends with 1 when something is wrong and was not repaired.
    """
    sessions, storage = open_stores(settings)
    left = found = 0
    try:
        await sessions.start()
        await storage.start()
        check = Fsck(sessions, storage)
        if repair:
            await check.expect_pair()
        async for finding in check.findings():
            found += 1
            repaired = repair and await check.repair(finding, now=time.time())
            left += not repaired
            _say(finding, repaired, as_json)
            _progress(check)
    finally:
        await storage.close()
        await sessions.close()
    if not as_json:
        click.echo(f"{check.looked_at} looked at, {found} wrong, {found - left} repaired.")
    if left:
        raise SystemExit(1)


def _say(finding: Finding, repaired: bool, as_json: bool) -> None:
    if as_json:
        fields = {"id": finding.upload_id, "what": finding.what, "repaired": repaired}
        click.echo(json.dumps(fields))
        return
    about = f" ({records.progress(finding.upload)})" if finding.upload is not None else ""
    said = "repaired" if repaired else SENTENCES[finding.what]
    click.echo(f"{finding.upload_id}  {finding.what:<9}  {said}{about}")


def _progress(check: Fsck) -> None:
    if sys.stderr.isatty():
        click.echo(f"\r{check.looked_at} looked at", nl=False, err=True)
