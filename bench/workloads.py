"""What is measured: workloads, and what puts them on a server, each connection a process of its own."""

from __future__ import annotations

import multiprocessing
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection as Pipe
from multiprocessing.synchronize import Barrier
from typing import NamedTuple

from bench.load import MIB, Connection, source

SMALL = 16 * 1024
CONNECTIONS = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Workload:
    """What is measured. ``run`` does one connection's share: once, which is ``amount`` bytes with those of the others;
    or again and again for ``seconds``, where requests are counted. Only the methods in ``timed`` count, as requests and
    as latencies: a creation would halve the median of a long PATCH."""

    name: str
    connections: int
    run: Callable[[Connection], None]
    amount: int = 0
    seconds: float = 0.0
    timed: tuple[str, ...] = ("PATCH", "PUT")
    only_tus: bool = False

    @property
    def unit(self) -> str:
        """What is counted: bytes or requests."""
        return "bytes" if self.amount else "requests"


def workloads(size: int, seconds: float) -> list[Workload]:
    """The workloads, with ``size`` bytes in each of the big ones, and ``seconds`` for each of the small ones: so many
    requests, rather, would be over before a fast server's clients had warmed up, and take minutes on a slow one."""
    share = size // 8

    def whole(connection: Connection) -> None:
        connection.upload(size, size)

    def stepwise(connection: Connection) -> None:
        connection.upload(size, 8 * MIB)

    def parallel(connection: Connection) -> None:
        connection.upload(share, 5 * MIB)

    def small(connection: Connection) -> None:
        connection.upload(SMALL, SMALL)

    def at_once(connection: Connection) -> None:
        connection.create_with(SMALL)

    def head(connection: Connection) -> None:
        connection.head(connection.made[0] if connection.made else connection.create(SMALL))

    def requests(name: str, run: Callable[[Connection], None], *timed: str) -> Workload:
        name = f"{name}, {CONNECTIONS} connections"
        return Workload(name=name, connections=CONNECTIONS, run=run, seconds=seconds, timed=timed, only_tus=True)

    mib = size // MIB
    return [
        Workload(name=f"one PATCH of {mib} MiB", amount=size, connections=1, run=whole),
        Workload(name=f"{mib} MiB in 8 MiB PATCHes", amount=size, connections=1, run=stepwise),
        Workload(name="8 uploads at once, 5 MiB PATCHes", amount=share * 8, connections=8, run=parallel),
        requests("16 KiB uploads", small, "POST", "PATCH"),
        requests("16 KiB uploads in one request", at_once, "POST"),
        requests("HEAD", head, "HEAD"),
    ]


@dataclass(frozen=True, kw_only=True, slots=True)
class Driven:
    """What came of a load: ``amount`` bytes or requests, so many a second (``rate``); the seconds of ``each`` request
    that is timed, and the load's own ``cpu`` seconds; the paths of what it ``made``."""

    amount: int
    rate: float
    cpu: float
    each: list[float]
    made: list[str]


class Done(NamedTuple):
    """What one share came to, in ``seconds`` of its own."""

    seconds: float
    each: list[float]
    made: list[str]


def drive(workload: Workload, port: int, path: str, tus: bool = True) -> Driven:
    """Put the load on. Raises RuntimeError when a share failed."""
    source()  # here, since each share would make its own while the clock runs
    context, before = multiprocessing.get_context("fork"), _spent()
    ready = context.Barrier(workload.connections)
    receiving, sending = zip(*(context.Pipe(duplex=False) for _ in range(workload.connections)), strict=True)
    shares = [context.Process(target=_share, args=(workload, port, path, tus, ready, pipe)) for pipe in sending]
    for share in shares:
        share.start()
    # every pipe is drained before the join: a full one would hold its writer up
    answers: list[Done | str] = [pipe.recv() for pipe in receiving]
    for share in shares:
        share.join()
    done = [answer for answer in answers if isinstance(answer, Done)]
    if len(done) < len(answers):
        raise RuntimeError("; ".join(sorted({answer for answer in answers if isinstance(answer, str)})))
    return Driven(
        amount=workload.amount or sum(len(share.each) for share in done),
        # those that go on for a while end one by one, each with the request that it is at
        rate=workload.amount / max(share.seconds for share in done)
        if workload.amount
        else sum(len(share.each) / share.seconds for share in done),
        cpu=_spent() - before,
        each=[each for share in done for each in share.each],
        made=[made for share in done for made in share.made],
    )


def _share(workload: Workload, port: int, path: str, tus: bool, ready: Barrier, pipe: Pipe) -> None:
    try:
        connection = Connection(port, path, tus)
        ready.wait(60)
        started = time.perf_counter()
        workload.run(connection)
        while time.perf_counter() < started + workload.seconds:
            workload.run(connection)
        seconds = time.perf_counter() - started
        each = [each for method in workload.timed for each in connection.seconds.get(method, [])]
        pipe.send(Done(seconds, each, connection.made))
    except Exception as error:
        ready.abort()  # those that wait for this one
        pipe.send(f"{workload.name}: {error!r}")


def _spent() -> float:
    """CPU seconds of the shares that are over."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
