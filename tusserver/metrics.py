"""What is counted, for Prometheus.

Every figure lives in a registry of its own, so that several applications can be in one process. Where
``PROMETHEUS_MULTIPROC_DIR`` names a directory, all processes that write there are counted together, whichever of
them is asked.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from bisect import bisect_left
from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tusserver.protocol.refusals import StoreUnavailable
from tusserver.protocol.upload import Status
from tusserver.stores.base import SessionStore, Tally

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

SHARED: Final = "PROMETHEUS_MULTIPROC_DIR"
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PATCH", "DELETE", "OPTIONS"})
HELD: Final = 0.1
"""Seconds for which what was counted is added up here, before it goes into the figures that processes share: adding it
up costs a tenth of writing it there."""

SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)


class Metrics:
    """The figures of one application. Counting is a matter of a microsecond; it neither awaits nor fails."""

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        self._owed: defaultdict[Any, float] = defaultdict(float)
        self._answered: defaultdict[tuple[str, int, int], int] = defaultdict(int)
        self._spent: defaultdict[str, float] = defaultdict(float)
        self._handing_over: asyncio.TimerHandle | None = None

        def counter(name: str, text: str, labels: tuple[str, ...] = ()) -> Any:
            return Counter(f"tusserver_{name}", text, labels, registry=registry)

        registry: CollectorRegistry = CollectorRegistry()
        self._registry = registry
        # Which series a request counts in is looked up once: that takes longer than counting
        self._requests = cache(counter("requests", "Requests answered.", ("method", "status")).labels)
        self._refusals = cache(counter("refusals", "Requests refused, by error code.", ("code",)).labels)
        seconds = Histogram(
            "tusserver_request_seconds",
            "Seconds from the head of a request to its answer.",
            ("method",),
            buckets=SECONDS,
            registry=registry,
        )

        def parts(method: str) -> tuple[Any, Any]:
            # there is no other way to observe several together
            observed = seconds.labels(method)
            return observed._sum, observed._buckets

        self._seconds = cache(parts)
        self._received = counter("received_bytes", "Upload bytes written to the byte store.")
        self._commits = counter("offset_commits", "Offsets committed to the session store.")
        self._preemptions = counter("preemptions", "Uploads taken over, by what became of the holder.", ("result",))
        self._created = counter("uploads_created", "Uploads created.")
        self._finished = counter("uploads_finished", "Uploads completed.")
        self._terminated = counter("uploads_terminated", "Uploads terminated by a client.")
        self._expired = counter("uploads_expired", "Uploads that expired.")
        self._bodies = Gauge(
            "tusserver_bodies_in_progress",
            "Bodies that are being received.",
            registry=registry,
            multiprocess_mode="livesum",
        )

    def requested(self, method: str, status: int, seconds: float, code: str | None) -> None:
        """A request was answered; ``code`` where it was refused."""
        method = method if method in METHODS else "other"
        self._answered[method, status, bisect_left(SECONDS, seconds)] += 1
        self._spent[method] += seconds
        if code is not None:
            self._owed[self._refusals(code)] += 1
        if self._handing_over is None:
            self._hand_over_soon()

    def received(self, size: int) -> None:
        """Bytes were written to the byte store."""
        self._add(self._received, size)

    def committed(self) -> None:
        """An offset was committed."""
        self._add(self._commits)

    def preempted(self, result: str) -> None:
        """An upload was taken over from a holder that ``saved``, or that was ``fenced``."""
        self._add(self._preemptions.labels(result))

    def created(self) -> None:
        """An upload was created."""
        self._add(self._created)

    def finished(self) -> None:
        """An upload was completed."""
        self._add(self._finished)

    def terminated(self) -> None:
        """An upload was terminated."""
        self._add(self._terminated)

    def expired(self) -> None:
        """An upload expired."""
        self._add(self._expired)

    def hand_over(self) -> None:
        """Let what was counted so far show everywhere now."""
        self._handing_over = None  # if it has not been called yet, it finds nothing or little
        owed, self._owed = self._owed, defaultdict(float)
        for series, amount in owed.items():
            series.inc(amount)
        answered, self._answered = self._answered, defaultdict(int)
        for (method, status, bucket), count in answered.items():
            self._requests(method, status).inc(count)
            self._seconds(method)[1][bucket].inc(count)
        spent, self._spent = self._spent, defaultdict(float)
        for method, seconds in spent.items():
            self._seconds(method)[0].inc(seconds)

    def bodies(self, count: int) -> None:
        """So many bodies are being received now."""
        self._bodies.set(count)

    async def render(self, sessions: SessionStore) -> tuple[str, bytes]:
        """The content type and the page for a scraper, with what the session store holds now; without that where the
        store is not available, as the page is then needed most."""
        from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
        from prometheus_client.multiprocess import MultiProcessCollector

        self.hand_over()
        registry = self._registry
        if SHARED in os.environ:
            _forget_the_dead(Path(os.environ[SHARED]))
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        page = generate_latest(registry)
        with contextlib.suppress(StoreUnavailable):
            page += _held(dict(await sessions.tally()))
        return CONTENT_TYPE_LATEST, page

    def _add(self, series: Any, amount: float = 1) -> None:
        self._owed[series] += amount
        if self._handing_over is None:
            self._hand_over_soon()

    def _hand_over_soon(self) -> None:
        try:
            self._handing_over = asyncio.get_running_loop().call_later(HELD, self.hand_over)
        except RuntimeError:  # no loop, and nobody who would do it later
            self.hand_over()


def _forget_the_dead(directory: Path) -> None:
    """What a killed process was receiving is not being received any more; its counters still count."""
    for path in directory.glob("gauge_live*_*.db"):
        try:
            os.kill(int(path.stem.rpartition("_")[2]), 0)
        except ProcessLookupError:
            path.unlink(missing_ok=True)
        except PermissionError:
            continue


def _held(tallies: dict[Status, Tally]) -> bytes:
    """The session store's own figures: they are the same whichever process asks, so no process counts them."""
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.core import GaugeMetricFamily

    class Collector:
        def collect(self) -> list[GaugeMetricFamily]:
            uploads = GaugeMetricFamily("tusserver_uploads", "Uploads in the session store.", labels=["status"])
            held = GaugeMetricFamily("tusserver_held_bytes", "Bytes that uploads hold.", labels=["status"])
            for status in Status:
                tally = tallies.get(status, Tally())
                uploads.add_metric([status.value], tally.count)
                held.add_metric([status.value], tally.held)
            return [uploads, held]

    registry = CollectorRegistry()
    registry.register(Collector())
    return generate_latest(registry)
