"""One run of chaos: uploads, faults at the same time, and the promises that have to hold."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import requests

from tests.chaos.deployment import Deployment, deployed
from tests.chaos.faults import Chaos, Plan, outage
from tests.chaos.uploads import Broken, Upload, make
from tests.e2e.clients import tus_js, tuspy
from tests.e2e.server import ServerProcess, wait_for

MIB = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a run consists of. ``uploads`` at least, ``at_once`` at a time, of at most ``largest`` bytes;
    ``outage``: seconds without any MongoDB in the middle of it, 0 for none."""

    uploads: int = 100
    pod_faults: int = 100
    failovers: int = 10
    at_once: int = 8
    largest: int = 16 * MIB
    pause: float = 1.0
    outage: float = 0.0
    sessions: str = "mongodb"
    storage: str = "disk"
    seed: int = 1


@dataclass
class Report:
    """What happened. ``broken``: the promises that were not kept, none in a good run."""

    seed: int
    sessions: str
    storage: str
    uploads: int = 0
    bytes: int = 0
    retries: int = 0
    faults: dict[str, int] = field(default_factory=dict)
    longest_without_progress: float = 0.0
    seconds: float = 0.0
    broken: list[str] = field(default_factory=list)

    def text(self) -> str:
        """For people."""
        faults = ", ".join(f"{count} {kind}" for kind, count in sorted(self.faults.items())) or "none"
        lines = [
            f"seed {self.seed}, sessions in {self.sessions}, bytes in {self.storage}: {self.seconds:.0f} s",
            f"{self.uploads} uploads of {self.bytes / MIB:.0f} MiB, every one complete and identical"
            if not self.broken
            else f"{self.uploads} uploads were complete and identical",
            f"faults: {faults}; clients tried again {self.retries} times",
            f"longest time that an upload made no progress: {self.longest_without_progress:.1f} s",
            *(f"BROKEN: {promise}" for promise in self.broken),
        ]
        if not self.broken:
            lines.append("offsets that went back: 0; acknowledged bytes lost: 0; clients that had to start over: 0")
        return "\n".join(lines)

    def json(self) -> str:
        """For machines."""
        return json.dumps(asdict(self), indent=2)


def run(wanted: Wanted, directory: Path, say: Callable[[str], None] = lambda line: None) -> Report:
    """Carry it out below ``directory``; ``say`` is told what happens."""
    tuspy(), tus_js()  # skips where they are missing
    started = time.monotonic()
    report = Report(seed=wanted.seed, sessions=wanted.sessions, storage=wanted.storage)
    with deployed(directory, sessions=wanted.sessions, storage=wanted.storage) as deployment:
        chaos = Chaos(deployment, Plan(wanted.pod_faults, wanted.failovers, wanted.pause), wanted.seed, say)
        _Uploading(wanted, deployment, chaos, report, say).run()
        report.faults = dict(chaos.done)
        report.broken += chaos.broken
        report.broken += _left_over(deployment) if not report.broken else []
    report.seconds = time.monotonic() - started
    return report


class _Uploading:
    def __init__(
        self, wanted: Wanted, deployment: Deployment, chaos: Chaos, report: Report, say: Callable[[str], None]
    ) -> None:
        self._wanted = wanted
        self._deployment = deployment
        self._chaos = chaos
        self._report = report
        self._say = say
        self._dice = random.Random(f"{wanted.seed} uploads")
        self._number = 0
        self._lock = threading.Lock()

    def run(self) -> None:
        """Until the uploads are through and the faults have happened."""
        self._chaos.begin()
        workers = [threading.Thread(target=self._work) for _ in range(self._wanted.at_once)]
        for worker in workers:
            worker.start()
        if self._wanted.outage:
            everybody = min(self._wanted.uploads, self._wanted.at_once)
            wait_for(lambda: self._number >= everybody, 60, "every client to begin")
            self._say(f"MongoDB is away for {self._wanted.outage:.0f} s")
            outage(self._deployment, self._wanted.outage)
            self._say("MongoDB is back")
        for worker in workers:
            worker.join()
        self._chaos.join()

    def _work(self) -> None:
        while (upload := self._next()) is not None:
            try:
                upload.run()
                upload.check()
            except Broken as broken:
                self._note_broken(str(broken))
            except Exception as error:
                self._note_broken(f"{upload.kind} {upload.number}: {error!r}")
            else:
                self._note(upload)
            upload.path.unlink()

    def _next(self) -> Upload | None:
        with self._lock:
            enough = self._number >= self._wanted.uploads and not self._chaos.going_on
            if enough or self._report.broken:
                return None
            self._number += 1
            number = self._number
            directory = self._deployment.pods[0].directory
            beyond = self._number > self._wanted.uploads  # only so that the faults that are left hit something
        time.sleep(1.0 if beyond else 0.0)
        with self._lock:
            return make(number, self._dice, directory, self._deployment.url, self._wanted.largest)

    def _note(self, upload: Upload) -> None:
        with self._lock:
            report = self._report
            report.uploads += 1
            report.bytes += len(upload.data)
            report.retries += upload.retries
            report.longest_without_progress = max(report.longest_without_progress, upload.longest)
            done = f"{self._chaos.pod_faults} pod faults, {self._chaos.failovers} fail-overs"
            self._say(f"{report.uploads} uploads through ({upload.kind}, {upload.retries} retries); {done}")

    def _note_broken(self, promise: str) -> None:
        with self._lock:
            self._report.broken.append(promise)
        self._say(f"BROKEN: {promise}")


def _ready(pod: ServerProcess) -> bool:
    return requests.get(f"{pod.origin}/readyz", timeout=10).ok


def _left_over(deployment: Deployment) -> list[str]:
    """What is wrong once all is quiet."""
    broken = []
    for pod in deployment.pods:
        try:
            wait_for(partial(_ready, pod), 60, "readiness")
        except AssertionError:
            broken.append(f"pod {pod.port} is not ready")
    parts = deployment.pods[0].uploads / "parts"
    if parts.exists():
        try:
            wait_for(lambda: not [path for path in parts.iterdir() if path.name[0] != "."], 30, "parts/ to be empty")
        except AssertionError:
            broken.append(f"left over: {sorted(path.name for path in parts.iterdir())}")
    logs = deployment.logs()
    if "Traceback" in logs or '"level": "critical"' in logs:
        broken.append("a stack trace in a server's log")
    failed = logs.count('"outcome": "internal_error"')
    if failed:
        broken.append(f"{failed} internal errors in the servers' logs")
    return broken
