"""The figures of a session: medians over its rounds, and what they are beside those of others."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Any, Final

from conformance.peers import PEERS

OURS: Final = "tusserver"
LIMIT: Final = "nginx PUT, 1 MiB buffer"
TUSD: Final = "tusd"
SINK: Final = "nothing but the load (a sink)"


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """One workload on one server, once. ``rate`` is MB/s or requests/s, ``cpu`` the server's CPU seconds for each GB
    or each 1000 requests and ``load`` those of the clients, ``median`` and ``slow`` (the 99th percentile) a request's
    milliseconds."""

    server: str
    workload: str
    unit: str
    rate: float
    cpu: float
    median: float
    slow: float
    load: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Side:
    """What is no rate: KB of memory for each slow upload, the most MB that were resident in the whole round, and
    milliseconds that a HEAD took under load."""

    server: str
    memory: float
    head_median: float
    head_longest: float
    peak: float | None = None
    head_slow: float | None = None


def machine() -> dict[str, str]:
    """What the figures depend on."""
    packages = ("tusserver", "uvicorn", "starlette", "uvloop")
    cores, memory = os.cpu_count(), os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return {
        "machine": f"{cores} cores, {memory:.0f} GB, Linux {platform.release().split('-')[0]}",
        "load": f"{os.getloadavg()[0]:.1f} before",
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in packages},
        **{peer.name: peer.version for peer in PEERS.values() if peer.lock is not None},
    }


def percentile(values: Sequence[float], percent: int) -> float:
    """Never beyond the longest, however few there are."""
    if len(values) == 1:
        return values[0]
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def medians(samples: Sequence[Sample]) -> list[Sample]:
    """One for each server and workload."""
    found: dict[tuple[str, str], list[Sample]] = {}
    for sample in samples:
        found.setdefault((sample.workload, sample.server), []).append(sample)
    return [
        Sample(
            server=server,
            workload=workload,
            unit=own[0].unit,
            **{
                name: statistics.median(getattr(each, name) for each in own)
                for name in ("rate", "cpu", "median", "slow")
            },
            load=_median(own, "load"),
        )
        for (workload, server), own in found.items()
    ]


def table(samples: Sequence[Sample]) -> str:
    """The medians as Markdown, with each rate beside tusd's, the best other peer's and nginx's."""
    lines: list[str] = []
    middle = medians(samples)
    for workload in dict.fromkeys(sample.workload for sample in middle):
        own = [sample for sample in middle if sample.workload == workload]
        rates = {sample.server: sample.rate for sample in own}
        others = [rate for server, rate in rates.items() if server in PEERS and server != TUSD]
        per = "GB" if own[0].unit == "bytes" else "1000"
        unit = "MB/s" if own[0].unit == "bytes" else "requests/s"
        lines += [
            "",
            f"**{workload}**",
            "",
            f"| server | {unit} | : tusd | : best other peer | : nginx | CPU s/{per} | of the load | p50 ms | p99 ms |",
        ]
        lines.append("|---|---:|---:|---:|---:|---:|---:|---:|---:|")
        for each in sorted(own, key=lambda sample: -sample.rate):
            figures = (
                f"{each.rate:,.0f}",
                _said(each.rate / rates[TUSD] if TUSD in rates else None, 2),
                _said(each.rate / max(others) if others else None, 2),
                _said(each.rate / rates[LIMIT] if LIMIT in rates else None, 2),
                f"{each.cpu:.2f}",
                _said(each.load, 2),
                f"{each.median:,.2f}",
                f"{each.slow:,.2f}",
            )
            lines.append(f"| {each.server} | {' | '.join(figures)} |")
    return "\n".join(lines)


def sides(found: Sequence[Side]) -> str:
    """What is no rate, as Markdown."""
    lines = [
        "| server | KB for each of 500 slow uploads | most MB | HEAD under load: p50 ms | p99 ms | longest ms |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for server in dict.fromkeys(each.server for each in found):
        own = [each for each in found if each.server == server]
        columns = (("memory", 0), ("peak", 0), ("head_median", 1), ("head_slow", 1))
        figures = [_said(_median(own, name), digits) for name, digits in columns]
        lines.append(f"| {server} | {' | '.join(figures)} | {max(each.head_longest for each in own):.1f} |")
    return "\n".join(lines)


def left_out(found: dict[str, Any]) -> str:
    """The servers that were to be measured and could not be, and why, in one line; nothing where there is none."""
    reasons = "; ".join(f"{name} ({reason})" for name, reason in found["left out"].items())
    return f"Left out: {reasons}." if reasons else ""


def kept(found: dict[str, Any]) -> tuple[list[Sample], list[Side]]:
    """The figures out of what ``as_json`` has made."""
    return [Sample(**each) for each in found["samples"]], [Side(**each) for each in found["sides"]]


def facts(found: dict[str, Any]) -> str:
    """The machine and the versions, in one line."""
    return ", ".join(f"{name} {value}" for name, value in found.items() if name not in ("samples", "sides", "left out"))


def as_json(
    about: dict[str, str], samples: Sequence[Sample], found: Sequence[Side], missing: dict[str, str]
) -> dict[str, Any]:
    """All figures, and why servers have none: in short, since what a server logs can name paths of this machine."""
    why = {name: reason.partition(":")[0] for name, reason in missing.items()}
    figures = {"samples": [asdict(each) for each in samples], "sides": [asdict(each) for each in found]}
    return {**about, "left out": why, **figures}


def _median(own: Sequence[Sample] | Sequence[Side], name: str) -> float | None:
    """None where a session of an earlier time did not measure it."""
    values = [value for each in own if (value := getattr(each, name)) is not None]
    return statistics.median(values) if values else None


def _said(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"
