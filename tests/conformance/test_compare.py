"""The peers as the published results have them: each starts at its pinned version, and is found as was published."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from conformance.compare import Supervised, file_name, main, running
from conformance.matrix import RESULTS, failures, kept, matrix
from conformance.peers import PEERS, NotHere

ROOT = Path(__file__).parents[2]
TRIED = "core or creation"


@pytest.mark.timeout(240)
@pytest.mark.parametrize("name", ["@tus/server", "tuspyserver", "resumable-upload"])
def test_a_peer_is_found_as_it_was_published(name: str, tmp_path: Path) -> None:
    if name.startswith("@") and shutil.which("npm") is None:
        pytest.skip("no npm here")
    published = json.loads((RESULTS / f"{file_name(name)}.json").read_text())
    assert published["server"]["version"] == PEERS[name].version
    report = tmp_path / "results.json"
    with running(PEERS[name]) as server:
        url = f"http://127.0.0.1:{server.port}{PEERS[name].path}"
        command = [sys.executable, "-m", "conformance", url, "-k", TRIED, "--report-json", str(report)]
        subprocess.run(command, cwd=ROOT, capture_output=True, timeout=120)
    verdicts = {case["case"]: case["verdict"] for case in published["cases"]}
    found = {case["case"]: case["verdict"] for case in json.loads(report.read_text())["cases"]}
    assert len(found) > 30
    assert found == {case: verdicts[case] for case in found}


def test_a_server_that_dies_is_started_again(tmp_path: Path) -> None:
    name = "resumable-upload"
    PEERS[name].install()
    server = Supervised(PEERS[name], tmp_path)
    try:
        assert server.listens()
        server.process.kill()
        server.process.wait()
        assert server.restarted(1)
        assert server.listens()
    finally:
        server.stop()


def test_a_program_that_is_not_there_says_how_to_name_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUSD", "/nowhere/tusd")
    with pytest.raises(NotHere, match="set TUSD to where it is"):
        PEERS["tusd"].install()
    assert main(["tusd"]) == 1
    assert main(["nobody"]) == 2


def test_the_page_links_each_failure() -> None:
    results = kept()
    assert results[0]["server"]["name"] == "tusserver"
    table, text = matrix(results), failures(results)
    assert table.count("\n| ") == len({case["case"].split("/")[1] for case in results[0]["cases"]}) + 2
    for result in results:
        broken = {each for each, verdict in result["requirements"].items() if verdict == "FAIL"}
        section = text.partition(f"### {result['server']['name']} ")[2].partition("\n### ")[0]
        assert broken == {each for each in broken if f"| FAIL | {each} " in section}
    assert "FAIL](#" in table or not any("FAIL" in each["requirements"].values() for each in results)
