"""The suite as people run it, against this server with each of its stores, and against servers that are none."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.conformance.reference import reference
from tests.e2e.conftest import start as start
from tests.e2e.server import ServerProcess
from tests.mongod import shared_replica_set

ROOT = Path(__file__).parents[2]
STORES: dict[str, dict[str, object]] = {
    "memory, disk": {"sessions": "memory:"},
    "SQLite, disk": {},
    "MongoDB, disk": {"sessions": "mongodb:"},
    "MongoDB, GridFS": {"sessions": "mongodb:", "storage": "gridfs:"},
}


def run(*arguments: str, command: tuple[str, ...] = ("-m", "conformance")) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *command, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=110)


@pytest.mark.parametrize(
    ("stores", "way"), [*((each, "direct") for each in STORES), ("SQLite, disk", "claimed")], indirect=["way"]
)
def test_this_server_passes_every_must_and_should(
    start: Callable[..., ServerProcess], tmp_path: Path, stores: str
) -> None:
    settings = dict(STORES[stores])
    if settings.get("sessions") == "mongodb:":
        settings |= {"mongo_url": shared_replica_set().url, "db_name": f"conformance-{secrets.token_hex(4)}"}
    server = start(max_size="20MB", expire_after="5s", **settings)  # what the suite has patience with must not expire
    path = tmp_path / "results.json"
    result = run(server.url, "--report-json", str(path))
    assert result.returncode == 0, result.stdout
    found = json.loads(path.read_text())
    wrong = {each: verdict for each, verdict in found["requirements"].items() if verdict not in ("pass", "noted")}
    assert wrong == {}, result.stdout
    assert {case["verdict"] for case in found["cases"]} <= {"pass", "noted"}


def test_a_broken_server_is_told_with_what_was_exchanged(tmp_path: Path) -> None:
    page, junit = tmp_path / "page.html", tmp_path / "junit.xml"
    with reference("CORE-10") as url:
        result = run(
            url, "-k", "unknown-version", "--header", "Authorization: Bearer secret-word",
            "--report-html", str(page), "--junitxml", str(junit), "--name", "<Broken>",
        )  # fmt: skip
    assert result.returncode == 1
    assert "FAIL CORE-10: expected Tus-Version on the 412 for POST with 0.2.2, found none" in result.stdout
    assert "(Headers/Tus-Resumable)" in result.stdout
    assert "$ curl -i" in result.stdout
    assert "secret-word" not in result.stdout
    html = page.read_text()
    assert "&lt;Broken&gt;" in html and "<Broken>" not in html
    assert "CORE-10" in html and "secret-word" not in html and "http" not in html.split("<body")[0].split("</style>")[0]
    suite = ElementTree.parse(junit).getroot().find("testsuite")
    assert suite is not None and suite.get("failures") == "1"


def test_what_is_not_announced_is_not_asked_for() -> None:
    with reference() as url:
        result = run(url, "--extensions", "creation")
    assert result.returncode == 0, result.stdout
    assert "unsupported: termination is not announced" in result.stdout


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/files", "ftp://x", ""])
def test_nothing_there(url: str) -> None:
    result = run(url)
    assert result.returncode != 0
    assert "start the server" in result.stderr or not url.startswith("http:")
    assert "Traceback" not in result.stderr


def test_as_ordinary_pytest() -> None:
    with reference() as url:
        result = run("conformance", "--url", url, "-q", "-k", "termination", command=("-m", "pytest"))
    assert result.returncode == 0, result.stdout + result.stderr
    assert "4 passed" in result.stdout
    assert "requirements" in result.stdout


def test_help() -> None:
    result = run("--help")
    assert result.returncode == 0
    assert result.stdout.startswith("usage: python -m conformance URL")
