"""Run the suite against the peers and keep what came of it: ``python -m conformance.compare [NAME ...]``.

Each server is installed at its pinned version (conformance/peers/), started, started again when it dies, as any
operator would have it, and tested; the results are kept as conformance/results/NAME.json. Without names: this server
and every peer that can be set up here. ``make docs`` then renders them.
"""

from __future__ import annotations

import importlib.metadata
import json
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from conformance.peers import PEERS, NotHere, Peer

RESULTS: Final = Path(__file__).parent / "results"
START: Final = 30.0
"""Seconds until a server must listen."""


def ours() -> Peer:
    """This server as one runs it, with uploads that expire soon so that this is tried as well. Raises NotHere."""
    try:
        version = importlib.metadata.version("tusserver")
    except importlib.metadata.PackageNotFoundError:
        raise NotHere("tusserver is not installed in this environment") from None
    options = (
        "--port",
        "{port}",
        "--sessions",
        "sqlite://{directory}/sessions.db",
        "--storage",
        "disk://{directory}/u",
    )
    return Peer(
        name="tusserver",
        version=version,
        link="../README.md",
        command=("{python}", "-m", "tusserver", "serve", *options, "--expire-after", "3s", "--max-size", "20MB"),
    )


class Supervised:
    """A running server that is started again when it dies."""

    def __init__(self, peer: Peer, directory: Path) -> None:
        self.port = _free_port()
        self.deaths = 0
        self._peer, self._directory = peer, directory
        self._stopping = threading.Event()
        self.process = self._start()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    def stop(self) -> None:
        """SIGTERM, then SIGKILL."""
        self._stopping.set()
        self._watcher.join()
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def listens(self) -> bool:
        """Whether it does, in time."""
        deadline = time.monotonic() + START
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                time.sleep(0.05)
            else:
                return True
        return False

    def restarted(self, times: int) -> bool:
        """Whether it was, so often, in time."""
        deadline = time.monotonic() + START
        while self.deaths < times and time.monotonic() < deadline:
            time.sleep(0.05)
        return self.deaths >= times

    def _start(self) -> subprocess.Popen[bytes]:
        return self._peer.started(self.port, self._directory / "uploads", self._directory / f"{self.deaths}.log")

    def _watch(self) -> None:
        while not self._stopping.wait(0.1):
            if self.process.poll() is not None:
                self.deaths += 1
                self.process = self._start()


@contextmanager
def running(peer: Peer) -> Iterator[Supervised]:
    """The peer, installed and listening. Raises NotHere."""
    peer.install()
    with tempfile.TemporaryDirectory() as directory:
        server = Supervised(peer, Path(directory))
        try:
            if not server.listens():
                raise NotHere(f"{peer.name} did not start: {(Path(directory) / '0.log').read_text()[-500:]}")
            yield server
        finally:
            server.stop()


def measure(peer: Peer) -> dict[str, object]:
    """Test it, and keep the results. Raises NotHere."""
    with running(peer) as server, tempfile.NamedTemporaryFile(suffix=".json") as report:
        url = f"http://127.0.0.1:{server.port}{peer.path}"
        command = [sys.executable, "-m", "conformance", url, f"--name={peer.name}", f"--report-json={report.name}"]
        subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
        found: dict[str, object] = json.loads(Path(report.name).read_text() or "{}")
        if not found:
            raise NotHere(f"{peer.name}: the suite came to no result")
        about = {"version": peer.version, "link": peer.link, "deaths": server.deaths}
        found["server"] = {**dict(found["server"]), **about}  # type: ignore[call-overload]
    text = json.dumps(found, indent=1).replace(f":{server.port}", ":1080")
    (RESULTS / f"{file_name(peer.name)}.json").write_text(text + "\n", encoding="utf-8")
    return found


def file_name(name: str) -> str:
    """A server's name as that of a file."""
    return name.strip("@").replace("/", "-")


def main(names: list[str]) -> int:
    """Measure these, or all; the exit code."""
    try:
        servers = {"tusserver": ours(), **PEERS}
    except NotHere as reason:
        print(reason, file=sys.stderr)
        servers = dict(PEERS)
    if unknown := [name for name in names if name not in servers]:
        print(f"There is no {', '.join(unknown)}; there are {', '.join(servers)}.", file=sys.stderr)
        return 2
    code = 0
    for name in names or servers:
        print(f"{name} {servers[name].version}: ", end="", file=sys.stderr, flush=True)
        try:
            found = measure(servers[name])
        except NotHere as reason:
            print(f"left out: {reason}", file=sys.stderr)
            code = 1 if names else code
        else:
            verdicts = list(dict(found["requirements"]).values())  # type: ignore[call-overload]
            print(f"{verdicts.count('pass')} pass, {verdicts.count('FAIL')} FAIL", file=sys.stderr)
    return code


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
