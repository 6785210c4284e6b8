"""``tusserver serve`` as a process, as an operator has it."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import itertools
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import requests

TUS = {"Tus-Resumable": "1.0.0"}
OCTETS = {**TUS, "Content-Type": "application/offset+octet-stream"}


def _ports() -> Iterator[int]:
    """Ports of those that the kernel gives to nobody who does not name one; each process of a test run has its own."""
    first = 20_000 + 1000 * (int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % 12)
    return itertools.cycle(random.sample(range(first, first + 1000), 1000))


PORTS = _ports()


def free_port() -> int:
    """A port that nobody listens on, and nobody is given before it is listened on."""
    for port in PORTS:
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("unreachable")


def wait_for(condition: Callable[[], Any], seconds: float = 20.0, what: str = "the condition") -> Any:
    """The condition's first true value. Fails when it does not come in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.01)
    raise AssertionError(f"waited {seconds} s for {what}")


def freeze(pid: int) -> None:
    """SIGSTOP, and wait until no thread of the process runs any more, which may be later."""
    os.kill(pid, signal.SIGSTOP)

    def stands() -> bool:
        states = [each.read_text().rpartition(")")[2].split()[0] for each in Path(f"/proc/{pid}/task").glob("*/stat")]
        return set(states) <= {"T", "t"}

    wait_for(stands, what="the process to stand still")


def received(raw: socket.socket, marker: bytes = b"}") -> bytes:
    """What a connection says until the marker has come, which may be in a later segment than the head; by default the
    end of a JSON body."""
    data = b""
    while marker not in data:
        block = raw.recv(65536)
        assert block, data
        data += block
    return data


def some_bytes(size: int, seed: int = 0) -> bytes:
    """Bytes that no shifted or repeated piece of themselves equals."""
    return random.Random(seed).randbytes(size)


def sha256(data: bytes) -> str:
    """The digest by which uploads are compared."""
    return hashlib.sha256(data).hexdigest()


def metadata(**values: str) -> str:
    """``Upload-Metadata`` for these values."""
    return ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in values.items())


class ServerProcess:
    """``settings`` by field name; the data lie below ``directory`` and outlive the process."""

    module = "tusserver"

    def __init__(self, directory: Path, settings: dict[str, object], name: str = "server") -> None:
        self.directory = directory
        self.name = name
        self.port = int(str(settings.get("port") or free_port()))
        self.log = directory / f"{name}-{self.port}.log"
        self.uploads = directory / "uploads"
        named = {
            "port": self.port,
            "sessions": f"sqlite://{directory}/sessions.db",
            "storage": f"disk://{directory}/uploads",
            "log_format": "json",
            **settings,
        }
        self.environment = {f"TUSSERVER_{key.upper()}": str(value) for key, value in named.items()}
        self.process: subprocess.Popen[bytes] | None = None
        self.unix_socket = settings.get("unix_socket")
        self.scheme = "https" if "tls_certificate" in settings else "http"
        self.connections: list[socket.socket] = []

    @property
    def origin(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.origin}/files"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def start(self) -> None:
        """Start and wait until it serves."""
        known = {key: value for key, value in os.environ.items() if not key.startswith(("TUSSERVER_", "MONGO_", "DB_"))}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", self.module, "serve"],
                env={**known, **self.environment},
                stdout=log,
                stderr=log,
                cwd=self.directory,
            )
        wait_for(self.answers, what="the server to answer")

    def answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()
        try:
            if self.unix_socket or self.scheme == "https":
                return self.listens()
            return requests.get(f"{self.origin}/healthz", timeout=2).ok
        except (requests.RequestException, OSError):
            return False

    def listens(self) -> bool:
        with socket.socket(socket.AF_UNIX if self.unix_socket else socket.AF_INET) as probe:
            probe.connect(str(self.unix_socket) if self.unix_socket else ("127.0.0.1", self.port))
            return True

    def kill(self) -> None:
        """kill -9."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def terminate(self, seconds: float = 10.0) -> float:
        """SIGTERM; returns the seconds until it was gone."""
        assert self.process is not None
        started = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=seconds)
        return time.monotonic() - started

    def stop(self) -> None:
        for connection in self.connections:
            connection.close()
        if self.process is not None and self.process.poll() is None:
            try:
                self.terminate()
            except subprocess.TimeoutExpired:
                self.kill()

    def memory(self) -> int:
        """Resident bytes."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise AssertionError("no VmRSS")

    # What a client does

    def create(self, length: int | None, **headers: str) -> str:
        """POST; returns the upload's URL."""
        said = {"Upload-Length": str(length)} if length is not None else {"Upload-Defer-Length": "1"}
        answer = requests.post(self.url, headers={**TUS, **said, **headers}, timeout=20)
        assert answer.status_code == 201, answer.text
        return answer.headers["Location"]

    def patch(self, url: str, offset: int, data: bytes, **headers: str) -> requests.Response:
        return requests.patch(url, data=data, headers={**OCTETS, "Upload-Offset": str(offset), **headers}, timeout=60)

    def passes(self, url: str) -> bool:
        """Whether a request to the base path as ``url`` has it, through a proxy, is answered by a server."""
        try:
            return requests.options(url, headers=TUS, timeout=20).headers.get("Tus-Resumable") == "1.0.0"
        except requests.RequestException:
            return False

    def head(self, url: str, timeout: float = 20) -> requests.Response:
        return requests.head(url, headers=TUS, timeout=timeout)

    def offset(self, url: str, timeout: float = 20) -> int:
        answer = self.head(url, timeout)
        assert answer.status_code == 200, (answer.status_code, answer.headers)
        return int(answer.headers["Upload-Offset"])

    def held(self) -> list[str]:
        """What lies in the byte store: the names of the files."""
        return sorted(path.name for path in self.uploads.rglob("[!.]*") if path.is_file())

    def stored(self, url: str) -> bytes:
        """The bytes of a finished upload, as GET gives them."""
        answer = requests.get(url, timeout=60)
        assert answer.status_code == 200, answer.text
        return answer.content

    def opened_patch(self, url: str, offset: int, size: int, **headers: str) -> socket.socket:
        """A PATCH of ``size`` bytes of which only the head has been sent."""
        raw = socket.create_connection(("127.0.0.1", self.port))
        self.connections.append(raw)
        lines = [
            f"PATCH {url[len(self.origin) :]} HTTP/1.1",
            f"Host: 127.0.0.1:{self.port}",
            "Tus-Resumable: 1.0.0",
            "Content-Type: application/offset+octet-stream",
            f"Upload-Offset: {offset}",
            f"Content-Length: {size}",
            *(f"{name}: {value}" for name, value in headers.items()),
        ]
        raw.sendall("\r\n".join([*lines, "", ""]).encode())
        return raw
