"""The servers that are measured, as processes: started, asked for what they used, stopped."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from conformance.peers import PEERS, NotHere, Peer

TICK: Final = os.sysconf("SC_CLK_TCK")
START: Final = 30.0
"""Seconds until a server must listen."""

NGINX: Final = """
{user} daemon off; worker_processes 1; pid {directory}/pid; error_log {directory}/error.log;
events {{}}
http {{
  access_log off; client_max_body_size 0; client_body_buffer_size {buffer}; client_body_temp_path {directory}/bodies;
  server {{ listen 127.0.0.1:{port}; root {directory}; location / {{ dav_methods PUT DELETE; }} }}
}}
"""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A server to measure. ``buffer``: for nginx, which is no tus server, how large its buffer of a body is.
    ``workers``: how many of its processes say that they are ready."""

    name: str
    peer: Peer
    buffer: str | None = None
    workers: int = 0

    @property
    def speaks_tus(self) -> bool:
        """Whether it does; nginx takes a PUT for a PATCH."""
        return self.buffer is None


def ours(
    name: str, *options: str, durability: str = "page-cache", sessions: str = "sqlite://{directory}/s.db"
) -> Candidate:
    """This server."""
    bytes_in = () if "--storage" in options else ("--storage", "disk://{directory}/uploads")
    command = ("{python}", "-m", "tusserver", "serve", "--port", "{port}", "--sessions", sessions, *bytes_in)
    peer = Peer(
        name=name, version="", link="", command=(*command, "--durability", durability, "--log-format", "json", *options)
    )
    workers = int(options[options.index("--workers") + 1]) if "--workers" in options else 0
    return Candidate(name=name, peer=peer, workers=workers)


def nginx(name: str, buffer: str) -> Candidate:
    """WebDAV PUT, as a limit for what a server can do that only writes what comes."""
    command = ("nginx", "-c", "{directory}/nginx.conf", "-p", "{directory}", "-e", "{directory}/error.log")
    peer = Peer(name=name, version="", link="", program="nginx", path="/", command=command)
    return Candidate(name=name, peer=peer, buffer=buffer)


def candidates(mongo_url: str | None) -> list[Candidate]:
    """All of them; whether each can be set up here shows when it is started."""
    mine = [
        ours("tusserver, safe", durability="safe"),
        ours("tusserver"),
        ours("tusserver, 2 workers", "--workers", "2"),
        ours("tusserver, plain way", "--no-direct"),
        ours("tusserver, memory", sessions="memory:"),
    ]
    if mongo_url is not None:
        there = ("--mongo-url", mongo_url, "--db-name", "bench{port}")  # each has bytes of its own
        mine.append(ours("tusserver, MongoDB", *there, sessions="mongodb:"))
        mine.append(ours("tusserver, MongoDB and GridFS", "--storage", "gridfs:", *there, sessions="mongodb:"))
    peers = [Candidate(name=name, peer=peer) for name, peer in PEERS.items() if name != "rustus"]
    sink = Peer(
        name="sink",
        version="",
        link="",
        command=("{python}", "-m", "bench.sink", "{port}"),
        environment={"PYTHONPATH": str(Path(__file__).parent.parent)},
    )
    peers.append(Candidate(name="nothing but the load (a sink)", peer=sink))
    return [*mine, *peers, nginx("nginx PUT, 1 MiB buffer", "1m"), nginx("nginx PUT", "16k")]


class Server:
    """One running candidate; its files and its log are below ``directory``. Raises NotHere."""

    def __init__(self, candidate: Candidate, directory: Path) -> None:
        self.candidate = candidate
        self.path = candidate.peer.path
        self.port = _free_port()
        directory.mkdir(parents=True)
        if candidate.buffer is not None:
            user = "user root;" if os.geteuid() == 0 else ""  # its workers would be nobody, who may not write here
            said = NGINX.format(directory=directory.resolve(), port=self.port, buffer=candidate.buffer, user=user)
            (directory / "nginx.conf").write_text(said)
        candidate.peer.install()
        self._process = candidate.peer.started(self.port, directory, directory / "log")
        self._wait(directory / "log")

    def cpu(self) -> float:
        """Seconds of CPU that the server has used, in user and system mode, all its processes together."""
        return sum(_ticks(pid) for pid in self._pids()) / TICK

    def memory(self) -> int:
        """Bytes that it has to itself now, shared ones in part (PSS), all its processes together."""
        total = 0
        for pid in self._pids():
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024
        return total

    def peak(self) -> int:
        """The most bytes that were resident at once so far, of each of its processes, together."""
        total = 0
        for pid in self._pids():
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
            total += next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024
        return total

    def stop(self) -> None:
        """SIGTERM, and SIGKILL if that does not help."""
        self._process.terminate()
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as raw:
                raw.sendall(
                    b"HEAD /files/none HTTP/1.1\r\nHost: x\r\nTus-Resumable: 1.0.0\r\nConnection: close\r\n\r\n"
                )
                return raw.recv(100).startswith(b"HTTP/1.1 ")
        except OSError:
            return False

    def _pids(self) -> list[int]:
        known = [self._process.pid]
        for pid in known:
            for task in Path(f"/proc/{pid}/task").glob("*/children"):
                known += [int(child) for child in task.read_text().split()]
        return known

    def _wait(self, log: Path) -> None:
        deadline = time.monotonic() + START
        while time.monotonic() < deadline and self._process.poll() is None:
            if self._answers() and log.read_text().count("worker ready") >= self.candidate.workers:
                return
            time.sleep(0.05)
        self.stop()
        raise NotHere(f"{self.candidate.name} did not start: {log.read_text()[-500:]}")


@contextmanager
def running(candidate: Candidate, directory: Path) -> Iterator[Server]:
    """The server, and its files empty afterwards. Raises NotHere."""
    server = Server(candidate, directory)
    try:
        yield server
    finally:
        server.stop()
        _empty(directory)


def _empty(directory: Path) -> None:
    # Not deleted: for minutes ext4 steps over each file just deleted when it looks for a new one's place, which made
    # a new file cost the next server ten times as much
    for path in directory.rglob("*"):
        if path.is_file():
            os.truncate(path, 0)


def _ticks(pid: int) -> int:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return 0
    return int(fields[11]) + int(fields[12])


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
