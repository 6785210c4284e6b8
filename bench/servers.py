"""The servers that are measured, as processes: started, asked for what they used, stopped."""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """A server to measure: its ``command`` and ``environment``, with ``{port}`` and ``{directory}`` filled in, and the
    ``path`` at which it creates uploads."""

    name: str
    command: tuple[str, ...]
    environment: tuple[tuple[str, str], ...]
    path: str


def candidates() -> list[Candidate]:
    """This server for each durability, and the peers that are installed; the first is what others are compared with."""
    ours = [
        Candidate(
            name=f"tusserver {durability}",
            command=(sys.executable, "-m", "tusserver", "serve", "--port", "{port}"),
            environment=(
                ("TUSSERVER_SESSIONS", "sqlite://{directory}/sessions.db"),
                ("TUSSERVER_STORAGE", "disk://{directory}/uploads"),
                ("TUSSERVER_DURABILITY", durability),
            ),
            path="/files",
        )
        for durability in ("safe", "page-cache")
    ]
    peer = Candidate(
        name="tuspyserver",
        command=(sys.executable, "-m", "uvicorn", "bench.peers.tuspyserver_app:app", "--port", "{port}"),
        environment=(("BENCH_DIRECTORY", "{directory}"),),
        path="/files",
    )
    return [*ours, peer] if importlib.util.find_spec("tuspyserver") else ours


class Server:
    """One running candidate; its files and its log are below ``directory``."""

    def __init__(self, candidate: Candidate, directory: Path) -> None:
        self.path = candidate.path
        self.port = _free_port()
        filled = {"port": self.port, "directory": directory.resolve()}
        directory.mkdir(parents=True)
        known = {name: value for name, value in os.environ.items() if not name.startswith("TUSSERVER_")}
        with (directory / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [part.format(**filled) for part in candidate.command],
                env={**known, **{name: value.format(**filled) for name, value in candidate.environment}},
                stdout=log,
                stderr=log,
            )
        self._wait(directory / "log")

    def cpu(self) -> float:
        """Seconds of CPU that the server has used, in user and system mode."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def forget_peak(self) -> None:
        """Let ``peak`` count from now."""
        Path(f"/proc/{self._process.pid}/clear_refs").write_text("5")

    def peak(self) -> int:
        """The most resident bytes since ``forget_peak``."""
        status = Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))

    def stop(self) -> None:
        """SIGTERM, and SIGKILL if that does not help."""
        self._process.terminate()
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _wait(self, log: Path) -> None:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.05)
        self.stop()
        raise RuntimeError(f"the server did not start:\n{log.read_text()}")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
