"""What cannot be said in requests per second: the memory of many slow uploads, and whether somebody who only asks has
to wait behind those that send."""

from __future__ import annotations

import threading
import time
from typing import Final

from bench.load import MIB, Connection
from bench.servers import Server
from bench.workloads import Workload, drive

SLOW: Final = 500
PIECE: Final = 1400
PIECES: Final = 30
SETTLING: Final = 1.0
"""Seconds after which memory is read: nobody says when a server has taken in what was sent."""


def memory_of_slow_uploads(server: Server) -> float:
    """KB of the server's memory for each of many uploads that run at once and get a packet now and then."""
    first = [_begun(server) for _ in range(20)]  # what is there once, however many uploads there are
    time.sleep(SETTLING)
    before = server.memory()
    slow = [_begun(server) for _ in range(SLOW)]
    for _ in range(PIECES):
        for connection in slow:
            connection.push(PIECE)
    time.sleep(SETTLING)
    used = server.memory() - before
    for connection in [*first, *slow]:
        connection.close()
    return used / SLOW / 1000


def head_under_load(server: Server, load: Workload) -> list[float]:
    """Milliseconds that each HEAD takes while the load is on."""
    connection = Connection(server.port, server.path)
    asked = connection.create(MIB)
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            connection.head(asked)
            done.wait(0.002)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        drive(load, server.port, server.path)
    finally:
        done.set()
        asking.join()
    return [each * 1000 for each in connection.seconds["HEAD"]]


def _begun(server: Server) -> Connection:
    connection = Connection(server.port, server.path)
    connection.begin(connection.create(MIB), MIB)
    return connection
