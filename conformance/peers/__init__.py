"""Other tus servers, each installed at a pinned version and started by one command.

An installed peer lies in a directory of its own below ``HOME``; a peer that is a single program (tusd, rustus) is not
installed but taken from the PATH, or from where the environment says (TUSD, RUSTUS).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
HOME: Final = HERE.parent.parent / ".peers"


class NotHere(Exception):
    """The peer can't be set up here; the text says what is missing."""


@dataclass(frozen=True, kw_only=True)
class Peer:
    """A server. ``command`` and ``environment`` are filled in with ``{port}``, ``{directory}`` (where uploads go),
    ``{here}`` (this directory) and ``{home}`` (where it is installed). ``lock``: a requirements file or a folder with a
    package-lock.json to install; None for a ``program`` that must be there."""

    name: str
    version: str
    link: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    path: str = "/files"
    lock: str | None = None
    program: str | None = None

    @property
    def home(self) -> Path:
        """Where it is installed."""
        return HOME / f"{self.name.strip('@').replace('/', '-')}-{self.version}"

    def install(self) -> None:
        """Install it, unless it is. Raises NotHere."""
        if self.program is not None:
            self._found()
        elif self.lock is not None and not (self.home / "installed").exists():
            shutil.rmtree(self.home, ignore_errors=True)
            lock = HERE / self.lock
            _npm(lock, self.home) if lock.is_dir() else _pip(lock, self.home)
            (self.home / "installed").touch()

    def started(self, port: int, directory: Path, log: Path) -> subprocess.Popen[bytes]:
        """Start it, installed, on 127.0.0.1; it writes uploads below ``directory`` and its output to ``log``."""
        directory.mkdir(parents=True, exist_ok=True)
        filled = {
            "port": port,
            "directory": directory.resolve(),
            "here": HERE,
            "home": self.home,
            "python": sys.executable,
        }
        command = [part.format(**filled) for part in self.command]
        if self.program is not None:
            command[0] = self._found()
        own = {name: value.format(**filled) for name, value in self.environment.items()}
        with log.open("wb") as output:
            return subprocess.Popen(command, env={**os.environ, **own}, stdout=output, stderr=output, cwd=directory)

    def _found(self) -> str:
        program = str(self.program)
        found = shutil.which(os.environ.get(program.upper(), program))
        if found is None:
            raise NotHere(f"{program} is not on the PATH; set {program.upper()} to where it is")
        return found


PEERS: Final[Mapping[str, Peer]] = {
    peer.name: peer
    for peer in (
        Peer(
            name="@tus/server",
            version="2.4.5",
            link="https://github.com/tus/tus-node-server",
            lock="node",
            command=("node", "{home}/server.mjs", "{port}", "{directory}"),
        ),
        Peer(
            name="tuspyserver",
            version="4.4.3",
            link="https://github.com/edihasaj/tuspyserver",
            lock="tuspyserver.txt",
            path="/files/",
            environment={"DIRECTORY": "{directory}"},
            command=("{home}/bin/uvicorn", "--app-dir", "{here}", "tuspyserver_app:app", "--port", "{port}"),
        ),
        Peer(
            name="resumable-upload",
            version="0.3.0",
            link="https://github.com/sts07142/resumable-upload",
            lock="resumable-upload.txt",
            command=(
                *("{home}/bin/resumable-upload", "serve", "--host", "127.0.0.1", "--port", "{port}"),
                *("--upload-dir", "{directory}/uploads", "--db-path", "{directory}/uploads.db", "--enable-downloads"),
            ),
        ),
        Peer(
            name="tusd",
            version="2",
            link="https://github.com/tus/tusd",
            program="tusd",
            path="/files/",
            command=("tusd", "-host", "127.0.0.1", "-port", "{port}", "-upload-dir", "{directory}"),
        ),
        Peer(
            name="rustus",
            version="1",
            link="https://github.com/s3rius/rustus",
            program="rustus",
            command=(
                *("rustus", "--host", "127.0.0.1", "--port", "{port}", "--data-dir", "{directory}"),
                *("--info-dir", "{directory}/info"),
            ),
        ),
    )
}


def _pip(lock: Path, home: Path) -> None:
    _run([sys.executable, "-m", "venv", str(home)])
    _run(
        [str(home / "bin" / "pip"), "--disable-pip-version-check", "-q", "install", "--require-hashes", "-r", str(lock)]
    )


def _npm(source: Path, home: Path) -> None:
    if shutil.which("npm") is None:
        raise NotHere("npm is not on the PATH; install Node.js 20 or newer")
    shutil.copytree(source, home)
    _run(["npm", "ci", "--silent", "--prefix", str(home)])


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise NotHere(f"{' '.join(command[:2])} failed: {(done.stderr or done.stdout).strip()[-500:]}")
