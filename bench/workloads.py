"""What is measured: workloads, and what puts them on a server, each connection a process of its own."""

from __future__ import annotations

import multiprocessing
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection as Pipe
from multiprocessing.synchronize import Barrier

from bench.load import MIB, Connection, source

SMALL = 16 * 1024
CONNECTIONS = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Workload:
    """What is measured. ``unit`` says what ``amount`` counts: bytes or requests. ``run`` does one connection's
    share. Only the methods in ``timed`` count as latencies: a creation would halve the median of a long PATCH."""

    name: str
    unit: str
    amount: int
    connections: int
    run: Callable[[Connection], None]
    timed: tuple[str, ...] = ("PATCH", "PUT")
    only_tus: bool = False


def workloads(size: int, requests: int) -> list[Workload]:
    """The workloads, with ``size`` bytes in each of the big ones and ``requests`` in each of the small ones."""
    share, each = size // 8, requests // CONNECTIONS

    def whole(connection: Connection) -> None:
        connection.upload(size, size)

    def stepwise(connection: Connection) -> None:
        connection.upload(size, 8 * MIB)

    def parallel(connection: Connection) -> None:
        connection.upload(share, 5 * MIB)

    def small(connection: Connection) -> None:
        for _ in range(each // 2):
            connection.upload(SMALL, SMALL)

    def at_once(connection: Connection) -> None:
        for _ in range(each // 2):
            connection.create_with(SMALL)

    def head(connection: Connection) -> None:
        path = connection.create(SMALL)
        for _ in range(each):
            connection.head(path)

    mib = size // MIB
    return [
        Workload(name=f"one PATCH of {mib} MiB", unit="bytes", amount=size, connections=1, run=whole),
        Workload(name=f"{mib} MiB in 8 MiB PATCHes", unit="bytes", amount=size, connections=1, run=stepwise),
        Workload(name="8 uploads at once, 5 MiB PATCHes", unit="bytes", amount=share * 8, connections=8, run=parallel),
        Workload(
            name="16 KiB uploads, 16 connections",
            unit="requests",
            amount=each // 2 * 2 * CONNECTIONS,
            connections=CONNECTIONS,
            run=small,
            timed=("POST", "PATCH"),
            only_tus=True,
        ),
        Workload(
            name="16 KiB uploads in one request, 16 connections",
            unit="requests",
            amount=each // 2 * CONNECTIONS,
            connections=CONNECTIONS,
            run=at_once,
            timed=("POST",),
            only_tus=True,
        ),
        Workload(
            name="HEAD, 16 connections",
            unit="requests",
            amount=each * CONNECTIONS,
            connections=CONNECTIONS,
            run=head,
            timed=("HEAD",),
            only_tus=True,
        ),
    ]


@dataclass(frozen=True, kw_only=True, slots=True)
class Driven:
    """What came of a load: ``seconds`` over all, those of ``each`` request that is timed, and the load's own ``cpu``
    seconds; the paths of what it ``made``."""

    seconds: float
    cpu: float
    each: list[float]
    made: list[str]


def drive(workload: Workload, port: int, path: str, tus: bool = True) -> Driven:
    """Put the load on. Raises RuntimeError when a share failed."""
    source()  # here, since each share would make its own while the clock runs
    context, before = multiprocessing.get_context("fork"), _spent()
    ready = context.Barrier(workload.connections + 1)
    receiving, sending = zip(*(context.Pipe(duplex=False) for _ in range(workload.connections)), strict=True)
    shares = [context.Process(target=_share, args=(workload, port, path, tus, ready, pipe)) for pipe in sending]
    for share in shares:
        share.start()
    ready.wait(60)
    started = time.perf_counter()
    # every pipe is drained before the join: a full one would hold its writer up
    answers: list[tuple[list[str], list[float]] | str] = [pipe.recv() for pipe in receiving]
    seconds = time.perf_counter() - started
    for share in shares:
        share.join()
    made: list[str] = []
    each: list[float] = []
    for answer in answers:
        if isinstance(answer, str):
            raise RuntimeError(answer)
        made += answer[0]
        each += answer[1]
    return Driven(seconds=seconds, cpu=_spent() - before, each=each, made=made)


def _share(workload: Workload, port: int, path: str, tus: bool, ready: Barrier, pipe: Pipe) -> None:
    connection = Connection(port, path, tus)
    ready.wait(60)
    try:
        workload.run(connection)
        pipe.send((connection.made, [each for method in workload.timed for each in connection.seconds.get(method, [])]))
    except Exception as error:
        pipe.send(f"{workload.name}: {error!r}")


def _spent() -> float:
    """CPU seconds of the shares that are over."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
