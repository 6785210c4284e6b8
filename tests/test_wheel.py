"""What somebody gets who installs the package: the wheel, as the Dockerfile builds it."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tusserver.dashboard.pages import ASSETS, STATIC
from tusserver.page import BUILT

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files in the wheel."""
    place = tmp_path_factory.mktemp("wheel")
    how = ["--no-deps", "--no-build-isolation", "--no-index", "--no-cache-dir", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", *how, "--wheel-dir", str(place), str(ROOT)]
    built = subprocess.run(command, capture_output=True, text=True, timeout=110)
    assert built.returncode == 0, built.stderr
    (made,) = place.glob("tusserver-*.whl")
    with zipfile.ZipFile(made) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def below(directory: Path) -> dict[str, bytes]:
    """The files in a directory of the package, by their names in the wheel; those that make needs are left out."""
    files = [path for path in directory.rglob("*") if path.is_file() and not path.name.startswith(".")]
    return {path.relative_to(ROOT).as_posix(): path.read_bytes() for path in files}


def test_the_dashboard_is_in_it(wheel: dict[str, bytes]) -> None:
    files = below(STATIC)
    assert {f"tusserver/dashboard/static/{name}" for name in (*ASSETS, "index.html", "login.html")} <= set(files)
    assert {name: wheel.get(name) for name in files} == files


def test_the_page_is_in_it_though_git_has_it_not(wheel: dict[str, bytes]) -> None:
    files = below(BUILT)
    if not files:
        pytest.skip("the upload page is not built: make page")
    assert {"tusserver/page/built/index.html"} <= set(files)
    assert {Path(name).suffix for name in files} == {".html", ".js", ".css", ".gz"}
    assert {name: wheel.get(name) for name in files} == files


def test_the_modules_are_in_it_and_nothing_that_only_developers_need(wheel: dict[str, bytes]) -> None:
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "tusserver").rglob("*.py")}
    assert modules <= set(wheel)
    assert "tusserver/py.typed" in wheel
    tops = {name.split("/")[0] for name in wheel}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"tusserver", "conformance"}
