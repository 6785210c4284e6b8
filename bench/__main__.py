"""python -m bench: this server on this machine, and beside it the peers that can be set up here.

    python -m bench [--size MIB] [--seconds S] [--rounds N] [--only WORDS] [--directory DIR] [--out FILE]

Runs everything in interleaved rounds, so that a drift of the machine hits all servers alike; prints medians beside
those of tusd, of the best other peer and of nginx, and writes all figures as JSON, and a chart.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.chart import draw
from bench.load import MIB, Connection
from bench.report import Sample, Side, as_json, facts, machine, percentile, sides, table
from bench.servers import Candidate, Server, candidates, running
from bench.slow import head_under_load, memory_of_slow_uploads
from bench.workloads import Workload, drive, workloads
from conformance.peers import NotHere
from tests.mongod import mongod_binary, replica_set

PARALLEL = 2
"""Which of the workloads is the load under which a HEAD is asked for."""


ROOM = 4
"""How often the bytes of a big workload have to fit on the disk: a database keeps what was deleted for a while."""


@dataclass
class Session:
    """One session of measuring. ``missing``: why servers were left out; ``ended``: why it ended early."""

    tasks: list[Workload]
    directory: Path
    samples: list[Sample] = field(default_factory=list)
    sides: list[Side] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
    ended: str | None = None

    def rounds(self, count: int, servers: list[Candidate]) -> None:
        """Every workload on every server, so often, each time in another order: what one leaves behind on the disk
        costs the next."""
        for turn in range(count):
            for number, candidate in enumerate(random.Random(turn).sample(servers, len(servers))):
                if (lack := self._lack()) is not None:  # each server would fail, and be blamed for it
                    self.ended = f"in round {turn + 1} of {count}: {lack}"
                    return
                if candidate.name not in self.missing:
                    self._one(candidate, f"round {turn + 1}/{count}, {number + 1}/{len(servers)} {candidate.name}")

    def _lack(self) -> str | None:
        needed = ROOM * max(task.amount for task in self.tasks if task.unit == "bytes")
        free = shutil.disk_usage(self.directory).free
        if free >= needed:
            return None
        room = f"{free / 1e9:.1f} GB are left where uploads are stored, {needed / 1e9:.1f} are needed"
        return f"{room}. Make room, or name another --directory."

    def _one(self, candidate: Candidate, where: str) -> None:
        place = Path(tempfile.mkdtemp(dir=self.directory)) / "server"
        try:
            with running(candidate, place) as server:
                for task in self.tasks:
                    if candidate.speaks_tus or not task.only_tus:
                        _say(f"{where}: {task.name}")
                        self.samples.append(measure(server, task))
                if candidate.speaks_tus and candidate.peer.name != "sink":
                    _say(f"{where}: slow uploads, and HEAD under load")
                    self.sides.append(self._beside(server))
        except NotHere as reason:
            self.missing[candidate.name] = str(reason)
        except (OSError, RuntimeError) as error:
            self.missing[candidate.name] = f"it did not stand the load: {error}"

    def _beside(self, server: Server) -> Side:
        memory = memory_of_slow_uploads(server)
        asked = head_under_load(server, self.tasks[PARALLEL])
        return Side(
            server=server.candidate.name,
            memory=memory,
            peak=server.peak() / 1e6,
            head_median=percentile(asked, 50),
            head_slow=percentile(asked, 99),
            head_longest=max(asked),
        )


def measure(server: Server, workload: Workload) -> Sample:
    """Drive the workload once; large files that it makes are deleted again, so that the disk does not fill. Many small
    ones are not: those who come next would pay for that (see ``running``)."""
    os.sync()
    before, tus = server.cpu(), server.candidate.speaks_tus
    driven = drive(workload, server.port, server.path, tus)
    used = server.cpu() - before
    if server.candidate.peer.name != "sink" and workload.unit == "bytes":
        connection = Connection(server.port, server.path, tus)
        for path in driven.made:
            connection.delete(path)
    scale, per = (1e6, 1e9) if workload.unit == "bytes" else (1, 1e3)
    return Sample(
        server=server.candidate.name,
        workload=workload.name,
        unit=workload.unit,
        rate=driven.rate / scale,
        cpu=used / driven.amount * per,
        load=driven.cpu / driven.amount * per,
        median=percentile(driven.each, 50) * 1000,
        slow=percentile(driven.each, 99) * 1000,
    )


@contextmanager
def mongo() -> Iterator[str | None]:
    """The URL of a MongoDB of one node, where there is one."""
    with ExitStack() as stack:
        yield stack.enter_context(replica_set()).url if mongod_binary() else None


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--size", type=int, default=1024, help="MiB in each big workload (default 1024)")
    parser.add_argument("--seconds", type=float, default=3.0, help="for each small workload (default 3)")
    parser.add_argument("--rounds", type=int, default=5, help="how often everything is run (default 5)")
    parser.add_argument("--only", nargs="*", default=[], metavar="WORD", help="only servers whose names have a word")
    parser.add_argument("--directory", type=Path, help="where uploads are stored meanwhile (default: temporary)")
    parser.add_argument("--out", type=Path, default=Path("bench-results.json"), help="where the figures are written")
    options = parser.parse_args()
    if sys.platform != "linux":
        parser.error("only Linux is measured: memory and CPU are read from /proc")
    for directory in filter(None, (options.directory, options.out.parent)):  # not only when all has been measured
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            parser.error(f"{directory} cannot be used: {error.strerror}. Name another one.")
    about = machine()
    with mongo() as url, tempfile.TemporaryDirectory(prefix="bench-", dir=options.directory) as directory:
        wanted = [
            each for each in candidates(url) if not options.only or any(word in each.name for word in options.only)
        ]
        session = Session(workloads(options.size * MIB, options.seconds), Path(directory))
        session.rounds(options.rounds, wanted)
    _say("")
    if session.ended is not None:
        print(f"ended {session.ended}", file=sys.stderr)
    for name, reason in session.missing.items():
        print(f"left out: {name}: {reason}", file=sys.stderr)
    if not session.samples:
        parser.exit(1, "no server could be measured: see above why, or name others with --only\n")
    figures = as_json(about, session.samples, session.sides, session.missing)
    print("", facts(figures), sep="\n")
    print(table(session.samples), "", sides(session.sides), sep="\n")
    options.out.write_text(json.dumps(figures, indent=1) + "\n")
    for picture in (options.out.with_suffix(".svg"), options.out.with_suffix(".png")):
        draw(session.samples, picture)
    print(f"\nall figures: {options.out}, and a chart beside it")


def _say(what: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[2K{what}", end="", file=sys.stderr, flush=True)
    elif what:
        print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
