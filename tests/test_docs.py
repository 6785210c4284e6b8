"""What the documentation says of the code, held against the code."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tusserver.protocol.refusals import Refusal
from tusserver.protocol.tus1_answers import STATUS
from tusserver.protocol.upload import Status
from tusserver.settings import Settings
from tusserver.wire import REFUSALS

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]


def refusals(kind: type[Refusal] = Refusal) -> Iterator[type[Refusal]]:
    for each in kind.__subclasses__():
        yield each
        yield from refusals(each)


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def anchors(text: str) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_every_error_code_is_documented_with_its_status() -> None:
    said = dict(re.findall(r"^\| `(\w+)` \| (\d+) \|", page("protocol.md"), re.MULTILINE))
    real = {kind.code: str(next(STATUS[base] for base in kind.__mro__ if base in STATUS)) for kind in refusals()}
    connections = {code: str(status) for code, (status, _) in REFUSALS.items()}
    assert said == {**real, **connections, "internal_error": "500"}


def test_every_module_is_in_the_tree() -> None:
    tree = re.findall(r"^ {8,12}(\w+\.py|\w+/)(?: |$)", page("design.md"), re.MULTILINE)
    package = ROOT / "tusserver"
    modules = [
        path.name
        for directory in (package, package / "protocol", package / "stores")
        for path in directory.glob("*.py")
        if path.parent == package or path.name != "__init__.py"
    ]
    folders = [f"{path.name}/" for path in package.iterdir() if path.is_dir() and path.name != "__pycache__"]
    assert sorted(tree) == sorted([*modules, *folders, "__init__.py"])


def generate(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """scripts/generated_docs.py of the checkout at ``root``."""
    command = [sys.executable, str(root / "scripts" / "generated_docs.py"), *arguments]
    known = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, env=known, capture_output=True, text=True, check=False)


def test_what_the_docs_take_from_the_code_is_current() -> None:
    assert generate(ROOT, "--check").returncode == 0
    assert all(f"--> {status}" in page("design.md") for status in Status)


def test_what_is_outdated_is_noticed(tmp_path: Path) -> None:
    for name in ("scripts", "docs"):
        shutil.copytree(ROOT / name, tmp_path / name)
    design = tmp_path / "docs" / "design.md"
    design.write_text(page("design.md").replace("active --> completed", "active --> lost"))
    noticed = generate(tmp_path, "--check")
    assert noticed.returncode == 1
    assert "out of date" in noticed.stdout
    assert generate(tmp_path).returncode == 0
    assert design.read_text() == page("design.md")


def test_settings_named_in_prose_exist() -> None:
    prose = page("configuration.md").partition("## Those that deserve")[2] + page("operations.md")
    named = re.findall(r"TUSSERVER_([A-Z_]+)=", prose) + re.findall(r"\*\*`(\w+)`", prose)
    assert named
    assert {name.lower() for name in named} <= set(Settings.model_fields)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        linked = (path.parent / name) if name else path
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked.read_text(encoding="utf-8")), target


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_python_snippets_are_python(path: Path) -> None:
    for snippet in re.findall(r"^```python\n(.*?)^```", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
        ast.parse(snippet)
