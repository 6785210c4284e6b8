"""What a production has, on this machine: servers behind a real nginx, over a three-node replica set."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.server import ServerProcess, free_port, wait_for
from tests.mongod import ReplicaSet, replica_set

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "deploy" / "nginx" / "tusserver.conf"


class Nginx:
    """A real nginx with the configuration that is shipped, before these servers."""

    def __init__(self, directory: Path, ports: list[int]) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/files"
        self._directory = directory
        self._ports = ports
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start and wait until it listens."""
        binary = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
        if binary is None:
            pytest.skip("no nginx: apt-get install nginx-light")
        self._directory.mkdir()
        configuration = self._directory / "nginx.conf"
        configuration.write_text(self._written())
        self._process = subprocess.Popen(
            [binary, "-p", str(self._directory), "-c", str(configuration), "-e", str(self._directory / "error.log")]
        )
        wait_for(lambda: (self._directory / "nginx.pid").exists(), what="nginx to start")

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()

    def _written(self) -> str:
        servers = iter(self._ports)
        site = re.sub(r"server tusserver-\d:1080", lambda _: f"server 127.0.0.1:{next(servers)}", SHIPPED.read_text())
        site = site.replace("listen 8080", f"listen 127.0.0.1:{self.port}")
        temporary = "".join(
            f"    {name}_temp_path {self._directory}/{name};\n"
            for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        return (
            f"daemon off;\npid {self._directory}/nginx.pid;\nworker_processes 2;\nevents {{}}\n"
            f"http {{\n    access_log off;\n{temporary}{site}\n}}\n"
        )


class Deployment:
    """``pods`` servers with the same settings, behind ``nginx``; ``mongodb`` below them, or None for SQLite."""

    def __init__(self, pods: list[ServerProcess], nginx: Nginx, mongodb: ReplicaSet | None) -> None:
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
        nginx = Nginx(directory / "nginx", [server.port for server in servers])
        stack.callback(nginx.stop)
        nginx.start()
        yield Deployment(servers, nginx, mongodb)
