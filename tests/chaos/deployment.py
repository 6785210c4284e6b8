"""What a production has, on this machine: servers behind a real nginx, over a three-node replica set."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from tests.deploy.proxies import PROXIES, ProxyProcess
from tests.e2e.server import ServerProcess, free_port
from tests.mongod import ReplicaSet, replica_set


class Deployment:
    """``pods`` servers with the same settings, behind ``nginx``; ``mongodb`` below them, or None for SQLite."""

    def __init__(self, pods: list[ServerProcess], nginx: ProxyProcess, mongodb: ReplicaSet | None) -> None:
        self.pods = pods
        self.nginx = nginx
        self.mongodb = mongodb

    @property
    def url(self) -> str:
        """Where clients create uploads."""
        return self.nginx.url

    def logs(self) -> str:
        """What the servers have logged."""
        return "".join(pod.log.read_text() for pod in self.pods)


@contextlib.contextmanager
def deployed(directory: Path, *, sessions: str, storage: str, pods: int = 3) -> Iterator[Deployment]:
    """A deployment that is gone afterwards. ``sessions``: mongodb or sqlite; ``storage``: disk or gridfs."""
    with contextlib.ExitStack() as stack:
        settings: dict[str, object] = {"trusted_proxies": "127.0.0.1", "sweep_every": "2s"}
        mongodb = None
        if sessions == "mongodb":
            mongodb = stack.enter_context(replica_set(3))
            settings |= {"sessions": "mongodb:", "mongo_url": mongodb.url}
        if storage == "gridfs":
            settings["storage"] = "gridfs:"
        servers = [ServerProcess(directory, {**settings, "port": free_port()}, f"pod-{n}") for n in range(pods)]
        for server in servers:
            stack.callback(server.stop)
            server.start()
        place = directory / "nginx"
        place.mkdir()
        nginx = ProxyProcess(place, servers, PROXIES["nginx"])
        stack.callback(nginx.stop)
        nginx.start()
        yield Deployment(servers, nginx, mongodb)
