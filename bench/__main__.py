"""python -m bench: this server on this machine, and beside it the peers that are installed.

    python -m bench [--size MIB] [--requests N] [--rounds N] [--directory DIR] [--out FILE]

Prints medians over interleaved rounds, with each figure's ratio to the first server, and writes all figures as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import sys
import tempfile
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

from bench.load import MIB, Connection, Workload, drive, workloads
from bench.servers import Candidate, Server, candidates


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """One workload on one server, once. ``rate`` is MB/s or requests/s, ``cpu`` the server's CPU seconds for each GB
    or each 1000 requests, ``peak`` its largest resident memory meanwhile, in MB (decimal, all of them)."""

    server: str
    workload: str
    unit: str
    rate: float
    cpu: float
    peak: float


def measure(server: Server, name: str, workload: Workload) -> Sample:
    """Drive the workload once; the uploads that it makes are deleted again."""
    os.sync()
    server.forget_peak()
    before = server.cpu()
    seconds, paths = drive(workload, server.port, server.path)
    used, peak = server.cpu() - before, server.peak()
    connection = Connection(server.port, server.path)
    for path in paths:
        connection.delete(path)
    scale, per = (1e6, 1e9) if workload.unit == "bytes" else (1, 1e3)
    return Sample(
        server=name,
        workload=workload.name,
        unit=workload.unit,
        rate=workload.amount / scale / seconds,
        cpu=used / workload.amount * per,
        peak=peak / 1e6,
    )


def rounds(count: int, tasks: list[Workload], servers: list[Candidate], directory: Path) -> list[Sample]:
    """Every workload on every server, ``count`` times, so that a drift of the machine hits all of them alike."""
    samples = []
    for turn in range(count):
        for candidate in servers[turn % len(servers) :] + servers[: turn % len(servers)]:
            place = directory / f"{turn}-{candidate.name.replace(' ', '-')}"
            server = Server(candidate, place)
            try:
                for task in tasks:
                    print(f"round {turn + 1}/{count}  {candidate.name}  {task.name} ...", end=" ", flush=True)
                    samples.append(measure(server, candidate.name, task))
                    print(f"{samples[-1].rate:,.0f} {_unit(samples[-1])}", flush=True)
            finally:
                server.stop()
                shutil.rmtree(place, ignore_errors=True)
    return samples


def table(samples: list[Sample], servers: list[Candidate]) -> list[str]:
    """The medians as a Markdown table."""
    lines = ["| workload | server | rate | ratio | CPU | peak memory |", "|---|---|---:|---:|---:|---:|"]
    for workload in dict.fromkeys(sample.workload for sample in samples):
        base = 0.0
        for candidate in servers:
            own = [each for each in samples if (each.workload, each.server) == (workload, candidate.name)]
            rate, cpu, peak = (statistics.median(values) for values in zip(*map(_figures, own), strict=True))
            base = base or rate
            per = "GB" if own[0].unit == "bytes" else "1000"
            lines.append(
                f"| {workload} | {candidate.name} | {rate:,.0f} {_unit(own[0])} | {rate / base:.2f} "
                f"| {cpu:.2f} s/{per} | {peak:.0f} MB |"
            )
    return lines


def machine() -> dict[str, str]:
    """What the figures depend on."""
    packages = ("tusserver", "uvicorn", "starlette", "tuspyserver")
    installed = {dist.name: dist.version for dist in metadata.distributions() if dist.name in packages}
    cores, memory = os.cpu_count(), os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return {
        "machine": f"{cores} cores, {memory:.0f} GB, Linux {platform.release().split('-')[0]}",
        "load": f"{os.getloadavg()[2]:.1f} before",
        "python": platform.python_version(),
        **dict(sorted(installed.items())),
    }


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--size", type=int, default=1024, help="MiB in each big workload (default 1024)")
    parser.add_argument("--requests", type=int, default=8000, help="requests in each small workload (default 8000)")
    parser.add_argument("--rounds", type=int, default=3, help="how often everything is run (default 3)")
    parser.add_argument("--directory", type=Path, help="where uploads are stored meanwhile (default: temporary)")
    parser.add_argument("--out", type=Path, default=Path("bench-results.json"), help="where the figures are written")
    options = parser.parse_args()
    if sys.platform != "linux":
        parser.error("only Linux is measured: memory and CPU are read from /proc")
    tasks, servers, facts = workloads(options.size * MIB, options.requests), candidates(), machine()
    with tempfile.TemporaryDirectory(prefix="bench-", dir=options.directory) as directory:
        samples = rounds(options.rounds, tasks, servers, Path(directory))
    print("", ", ".join(f"{name} {version}" for name, version in facts.items()), "", sep="\n")
    print("\n".join(table(samples, servers)))
    options.out.write_text(json.dumps({**facts, "samples": [asdict(sample) for sample in samples]}, indent=1) + "\n")
    print(f"\nall figures: {options.out}")


def _figures(sample: Sample) -> tuple[float, float, float]:
    return sample.rate, sample.cpu, sample.peak


def _unit(sample: Sample) -> str:
    return "MB/s" if sample.unit == "bytes" else "requests/s"


if __name__ == "__main__":
    main()
