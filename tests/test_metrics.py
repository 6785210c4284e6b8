"""What is counted, in one process and over several."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.parser import text_string_to_metric_families

from tests.stores.sessions import an_upload, turns_until
from tusserver.metrics import SECONDS, Metrics
from tusserver.protocol.upload import Part, Status
from tusserver.stores.memory import MemorySessions
from tusserver.stores.sqlite import SqliteSessions

pytestmark = pytest.mark.anyio

Series = dict[tuple[str, ...], float]


def series(page: bytes) -> Series:
    """Every sample: its name and the values of its labels, in the order of their names; and its value."""
    samples = [sample for family in text_string_to_metric_families(page.decode()) for sample in family.samples]
    found = {(sample.name, *sample.labels.values()): sample.value for sample in samples}
    assert len(found) == len(samples), "a series twice"
    return found


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)


async def scraped(metrics: Metrics) -> Series:
    content_type, page = await metrics.render(MemorySessions())
    assert content_type.startswith("text/plain")
    return series(page)


async def test_requests_are_counted_and_timed() -> None:
    metrics = Metrics()
    metrics.requested("PATCH", 204, 0.3, None)
    metrics.requested("PATCH", 204, 0.003, None)
    metrics.requested("PATCH", 409, 0.001, "offset_mismatch")
    found = await scraped(metrics)
    assert found["tusserver_requests_total", "PATCH", "204"] == 2
    assert found["tusserver_requests_total", "PATCH", "409"] == 1
    assert found["tusserver_refusals_total", "offset_mismatch"] == 1
    assert found["tusserver_request_seconds_count", "PATCH"] == 3
    assert found["tusserver_request_seconds_sum", "PATCH"] == pytest.approx(0.304)
    assert found["tusserver_request_seconds_bucket", "0.25", "PATCH"] == 2
    assert found["tusserver_request_seconds_bucket", "0.5", "PATCH"] == 3


async def test_what_was_counted_shows_soon_though_nobody_asks_this_process() -> None:
    metrics = Metrics()
    for _ in range(3):
        metrics.requested("PATCH", 204, 0.3, None)
    metrics.received(1000)

    def shown(name: str, **labels: str) -> float | None:
        return metrics._registry.get_sample_value(f"tusserver_{name}", labels)

    await turns_until(lambda: shown("received_bytes_total") == 1000)
    assert shown("requests_total", method="PATCH", status="204") == 3
    assert shown("request_seconds_count", method="PATCH") == 3
    assert shown("request_seconds_sum", method="PATCH") == pytest.approx(0.9)
    metrics.received(1)
    metrics.hand_over()
    assert shown("received_bytes_total") == 1001
    assert shown("requests_total", method="PATCH", status="204") == 3  # nothing is handed over twice
    assert shown("request_seconds_count", method="PATCH") == 3
    assert shown("request_seconds_sum", method="PATCH") == pytest.approx(0.9)


def test_what_was_counted_in_an_event_loop_that_has_ended_is_not_lost() -> None:
    metrics = Metrics()

    async def counted() -> None:
        metrics.created()

    async def started() -> None:
        metrics.hand_over()  # as the application does
        metrics.created()
        await turns_until(lambda: metrics._registry.get_sample_value("tusserver_uploads_created_total") == 2)

    asyncio.run(counted())
    asyncio.run(started())


@pytest.mark.parametrize("seconds", [0.0, 0.001, 0.0011, 0.05, 1800, 1801])
async def test_a_request_counts_where_prometheus_would_count_it(seconds: float) -> None:
    registry = CollectorRegistry()
    Histogram("seconds", "Seconds.", buckets=SECONDS, registry=registry).observe(seconds)
    metrics = Metrics()
    metrics.requested("GET", 200, seconds, None)
    found = await scraped(metrics)
    for bound in (*SECONDS, float("inf")):
        le = "+Inf" if bound == float("inf") else str(float(bound))
        expected = registry.get_sample_value("seconds_bucket", {"le": le})
        assert found["tusserver_request_seconds_bucket", le, "GET"] == expected


async def test_a_client_cannot_make_up_series() -> None:
    metrics = Metrics()
    for number in range(50):
        metrics.requested(f"METHOD{number}", 405, 0.001, "method_not_allowed")
    found = await scraped(metrics)
    assert found["tusserver_requests_total", "other", "405"] == 50
    assert [name for name in found if name[0] == "tusserver_requests_total"] == [
        ("tusserver_requests_total", "other", "405")
    ]


EVENTS: list[tuple[Callable[[Metrics], None], tuple[str, ...], float]] = [
    (lambda metrics: metrics.received(1 << 40), ("tusserver_received_bytes_total",), 2.0**40),
    (Metrics.committed, ("tusserver_offset_commits_total",), 1),
    (Metrics.created, ("tusserver_uploads_created_total",), 1),
    (Metrics.finished, ("tusserver_uploads_finished_total",), 1),
    (Metrics.terminated, ("tusserver_uploads_terminated_total",), 1),
    (Metrics.expired, ("tusserver_uploads_expired_total",), 1),
    (lambda metrics: metrics.preempted("saved"), ("tusserver_preemptions_total", "saved"), 1),
    (lambda metrics: metrics.preempted("fenced"), ("tusserver_preemptions_total", "fenced"), 1),
    (lambda metrics: metrics.bodies(7), ("tusserver_bodies_in_progress",), 7),
]


@pytest.mark.parametrize(("happen", "name", "value"), EVENTS, ids=[" ".join(name) for _, name, _ in EVENTS])
async def test_each_event_has_its_own_figure(
    happen: Callable[[Metrics], None], name: tuple[str, ...], value: float
) -> None:
    metrics = Metrics()
    before = await scraped(metrics)
    happen(metrics)
    after = await scraped(metrics)
    assert before.get(name, 0) == 0
    assert after[name] == value
    changed = {key for key in after if after[key] != before.get(key, 0) and not key[0].endswith("_created")}
    assert changed == {name}


async def test_applications_in_one_process_are_counted_apart() -> None:
    one, other = Metrics(), Metrics()
    one.created()
    assert (await scraped(one))["tusserver_uploads_created_total",] == 1
    assert (await scraped(other))["tusserver_uploads_created_total",] == 0


async def test_what_the_sessions_hold_is_asked_at_each_scrape() -> None:
    sessions = MemorySessions()
    metrics = Metrics()
    await sessions.create(an_upload("a", length=50, parts=(Part(token=1, start=0, stop=30),)))
    await sessions.create(an_upload("b", length=50, parts=(Part(token=1, start=0, stop=5),)))
    await sessions.create(an_upload("c", length=0, status=Status.COMPLETED))
    found = series((await metrics.render(sessions))[1])
    assert {status: found["tusserver_uploads", status] for status in Status} == {
        "active": 2,
        "completed": 1,
        "cancelled": 0,
        "expired": 0,
    }
    assert {status: found["tusserver_held_bytes", status] for status in ("active", "completed")} == {
        "active": 35,
        "completed": 0,
    }
    await sessions.delete("a")
    found = series((await metrics.render(sessions))[1])
    assert (found["tusserver_uploads", "active"], found["tusserver_held_bytes", "active"]) == (1, 5)


async def test_a_session_store_that_is_away_does_not_hide_the_rest(tmp_path: Path) -> None:
    sessions = SqliteSessions(tmp_path / "sessions.db")
    await sessions.start()
    await sessions.close()
    metrics = Metrics()
    metrics.requested("PATCH", 503, 0.1, "store_unavailable")
    found = series((await metrics.render(sessions))[1])
    assert found["tusserver_refusals_total", "store_unavailable"] == 1
    assert not [name for name in found if name[0] in ("tusserver_uploads", "tusserver_held_bytes")]


WORKER = """
import asyncio, sys
from tests.stores.sessions import an_upload
from tusserver.metrics import Metrics
from tusserver.stores.memory import MemorySessions

metrics = Metrics()
metrics.requested("POST", 201, 0.1, None)
metrics.received(1000)
metrics.bodies(3)

async def page():
    sessions = MemorySessions()
    await sessions.create(an_upload("a", length=1))
    return (await metrics.render(sessions))[1]

print("ready", flush=True)
for _ in sys.stdin:
    content = asyncio.run(page())
    print(len(content), flush=True)
    print(content.decode(), flush=True)
"""


class Worker:
    """A process that has counted one request, 1000 bytes and three bodies, and can be scraped."""

    def __init__(self, directory: Path) -> None:
        root = Path(__file__).parent.parent
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={"PROMETHEUS_MULTIPROC_DIR": str(directory), "PYTHONPATH": str(root)},
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"ready\n"

    def scraped(self) -> Series:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()
        size = int(self.process.stdout.readline())
        return series(self.process.stdout.read(size + 1))

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


async def test_all_processes_are_counted_together_whichever_is_asked(tmp_path: Path) -> None:
    workers = [Worker(tmp_path), Worker(tmp_path)]
    try:
        for worker in workers:
            found = worker.scraped()
            assert found["tusserver_requests_total", "POST", "201"] == 2
            assert found["tusserver_request_seconds_count", "POST"] == 2
            assert found["tusserver_received_bytes_total",] == 2000
            assert found["tusserver_bodies_in_progress",] == 6
            assert found["tusserver_uploads", "active"] == 1  # one session store, however many processes
        workers[0].kill()
        found = workers[1].scraped()
        assert found["tusserver_requests_total", "POST", "201"] == 2
        assert found["tusserver_bodies_in_progress",] == 3  # what a dead process received is no longer being received
    finally:
        for worker in workers:
            worker.kill()
