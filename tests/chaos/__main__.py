"""``make chaos``: see ``python -m tests.chaos --help``."""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from pathlib import Path

import click

from tests.chaos.run import Wanted, run

MIB = 1024 * 1024
DEFAULT = Wanted()


@click.command(context_settings={"max_content_width": 100, "show_default": True})
@click.option("--uploads", default=DEFAULT.uploads, help="How many uploads, at least.")
@click.option("--pod-faults", default=DEFAULT.pod_faults, help="Servers killed, restarted and paused.")
@click.option("--failovers", default=DEFAULT.failovers, help="MongoDB primaries killed and stepped down.")
@click.option("--outage", default=DEFAULT.outage, help="Seconds without any MongoDB in the middle of it.")
@click.option("--at-once", default=DEFAULT.at_once, help="Uploads at the same time.")
@click.option("--largest", default=DEFAULT.largest // MIB, help="Size of the largest upload, in MiB.")
@click.option("--pause", default=DEFAULT.pause, help="Mean seconds between two faults of servers.")
@click.option("--sessions", type=click.Choice(["mongodb", "sqlite"]), default=DEFAULT.sessions)
@click.option("--storage", type=click.Choice(["disk", "gridfs"]), default=DEFAULT.storage)
@click.option("--seed", type=int, help="Repeats a run's dice. [default: of the day]", show_default=False)
@click.option("--json", "path", type=click.Path(path_type=Path), help="Write the report there.")
@click.option("--keep", is_flag=True, help="Keep the servers' logs, and say where.")
def main(path: Path | None, keep: bool, seed: int | None, largest: int, **options: object) -> None:
    """Upload through nginx to three servers while servers and databases fail at random.

    Ends with 1 when a promise was broken: an offset went back, an acknowledged byte was lost, a client had to start
    over, an upload did not come through, a server left a stack trace.
    """
    began = time.monotonic()
    directory = Path(tempfile.mkdtemp(prefix="tusserver-chaos-"))
    wanted = Wanted(seed=int(time.time()) if seed is None else seed, largest=largest * MIB, **options)  # type: ignore[arg-type]
    click.echo(f"seed {wanted.seed}")
    report = run(wanted, directory, lambda line: click.echo(f"{time.monotonic() - began:7.1f}  {line}"))
    click.echo(report.text())
    if path is not None:
        path.write_text(report.json() + "\n")
    if keep or report.broken:
        click.echo(f"logs: {directory}")
    else:
        shutil.rmtree(directory)
    sys.exit(1 if report.broken else 0)


if __name__ == "__main__":
    main()
