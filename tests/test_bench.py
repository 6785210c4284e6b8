"""The benchmark measures: a session in small, with what it says and writes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.report import SINK, Sample, as_json, kept, left_out, medians, percentile, table
from bench.slow import SLOW
from tests.disks import small_disk_at

ROOT = Path(__file__).parent.parent


def test_a_small_session(tmp_path: Path) -> None:
    out = tmp_path / "figures.json"
    command = ["--size", "16", "--seconds", "0.1", "--rounds", "1", "--only", "memory", "sink", "--out", str(out)]
    done = subprocess.run([sys.executable, "-m", "bench", *command], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    samples, sides = kept(json.loads(out.read_text()))
    assert {sample.server for sample in samples} == {"tusserver, memory", SINK}
    assert len({sample.workload for sample in samples}) == 6
    assert all(sample.rate > 0 and sample.median > 0 for sample in samples)
    whole = next(sample for sample in samples if sample.workload.startswith("one PATCH"))
    assert whole.slow <= 16 * 1024 * 1024 / 1e6 / whole.rate * 1000, "one request is no longer than all"
    assert [side.server for side in sides] == ["tusserver, memory"]
    assert 0 < sides[0].memory < 200  # KB for each of the slow uploads: a buffer of 1 MiB for each would show
    assert SLOW == 500
    assert "| tusserver, memory |" in done.stdout
    assert out.with_suffix(".svg").exists() and out.with_suffix(".png").exists()


def test_medians_and_ratios() -> None:
    def sample(server: str, rate: float) -> Sample:
        return Sample(server=server, workload="w", unit="bytes", rate=rate, cpu=1.0, load=1.0, median=1.0, slow=1.0)

    samples = [sample(name, rate) for name, rates in RATES.items() for rate in rates]
    assert {each.server: each.rate for each in medians(samples)} == {
        "tusserver": 30.0,
        "tuspyserver": 10.0,
        "tusd": 40.0,
    }
    assert "| tusserver | 30 | 0.75 | 3.00 |" in table(samples)


def test_percentiles_stay_within_what_was_measured() -> None:
    assert percentile([7.0], 99) == 7.0
    assert 400.0 < percentile([1.0, 412.0], 99) <= 412.0
    assert percentile([1.0, 2.0, 3.0], 50) == 2.0


def test_what_is_left_out_is_said_without_paths() -> None:
    found = as_json({}, [], [], {"tusd": "tusd did not start: /somewhere/of/mine: no such thing"})
    assert left_out(found) == "Left out: tusd (tusd did not start)."
    assert left_out(as_json({}, [], [], {})) == ""


def test_a_disk_that_is_full_ends_it_and_no_server_is_blamed(tmp_path: Path) -> None:
    with small_disk_at(tmp_path / "disk", "80m") as disk:
        command = ["--size", "16", "--seconds", "0.1", "--only", "memory", "--out", str(tmp_path / "figures.json")]
        command += ["--rounds", "2", "--directory", str(disk)]
        measured = subprocess.run([sys.executable, "-m", "bench", *command], cwd=ROOT, capture_output=True, text=True)
        (disk / "ballast").write_bytes(bytes(30_000_000))
        refused = subprocess.run([sys.executable, "-m", "bench", *command], cwd=ROOT, capture_output=True, text=True)
    assert measured.returncode == 0 and "ended" not in measured.stderr, measured.stderr
    assert refused.returncode == 1
    assert "in round 1 of 2" in refused.stderr and "name another --directory" in refused.stderr
    assert "left out" not in refused.stderr and "Traceback" not in refused.stderr


def test_nothing_measured_is_no_success(tmp_path: Path) -> None:
    places = ["--directory", str(tmp_path / "not" / "made"), "--out", str(tmp_path / "nor" / "this" / "figures.json")]
    command = [sys.executable, "-m", "bench", "--only", "no-such-server", *places]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert "no server could be measured" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "figures.json").exists()


@pytest.mark.parametrize("option", ["--directory", "--out"])
def test_where_nothing_can_be_written_is_said_before_anything_is_measured(tmp_path: Path, option: str) -> None:
    (tmp_path / "file").touch()
    command = [sys.executable, "-m", "bench", "--only", "no-such-server", option, str(tmp_path / "file" / "x" / "y")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert "cannot be used: Not a directory" in done.stderr and "Traceback" not in done.stderr


RATES = {"tusserver": [30.0, 29.0, 90.0], "tuspyserver": [10.0, 1.0, 10.0], "tusd": [40.0, 40.0, 50.0]}
