"""Who may import whom, and how long a module may be: docs/design.md, read off the code."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "tusserver"

# From the bottom up: a module may import what stands in its own line or in one above it
LAYERS = (
    ("protocol",),
    ("stores",),
    ("units", "forms", "settings", "logs", "records"),
    ("hold", "keeper", "leases", "sweeper", "fsck", "hooks", "digest", "body", "metrics", "recent", "origin", "cors"),
    ("bulletin", "bodies", "intake", "receiver", "assembly", "place", "prompt", "room", "engine"),
    ("downloads", "exchange", "endpoints", "admin", "admin_token", "dashboard", "page", "doctor"),
    ("app",),
    ("connection", "cycle", "parser", "patience", "unread", "wire", "listening", "shares", "accepting"),
    ("server", "cli", "__main__"),
)
HEIGHT = {name: height for height, layer in enumerate(LAYERS) for name in layer}
MODULES = sorted(PACKAGE.rglob("*.py"))
MAP = PACKAGE / "__init__.py"

# Makes the protocol's values
VALUES = "msgspec"
# What would make the protocol depend on more than its arguments
IMPURE = {"asyncio", "logging", "os", "pathlib", "random", "secrets", "socket", "threading", "time", "uuid"}


def imported(path: Path) -> Iterator[str]:
    """Each module that is imported, by its full name, wherever in the module that is."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: import by full names"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def part(path: Path) -> str:
    """The part of the package that a module belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def name_of(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


@pytest.mark.parametrize("path", [path for path in MODULES if path != MAP], ids=name_of)
def test_the_arrows_never_turn(path: Path) -> None:
    assert part(path) in HEIGHT, f"say in LAYERS where {part(path)} stands"
    for name in imported(path):
        if name.startswith("tusserver."):
            below = name.split(".")[1]
            assert HEIGHT.get(below, -1) <= HEIGHT[part(path)], f"{name_of(path)} imports {name}"


@pytest.mark.parametrize("path", sorted((PACKAGE / "protocol").glob("*.py")), ids=name_of)
def test_the_protocol_is_pure(path: Path) -> None:
    for name in imported(path):
        if not name.startswith("tusserver.protocol."):
            top = name.split(".")[0]
            assert top in sys.stdlib_module_names or top == VALUES, f"{name} is not in the standard library"
            assert top not in IMPURE, f"{name}: pass in what it gives"


def test_the_protocol_alone_needs_nothing_else() -> None:
    program = "import sys, tusserver.protocol.tus1, tusserver.protocol.rules; print('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60)
    loaded = {name for name in done.stdout.split() if name.startswith("tusserver")}
    assert loaded - {"tusserver"} == {name for name in loaded if name.startswith("tusserver.protocol")}
    assert not {"starlette", "pydantic", "structlog", "uvicorn"} & set(done.stdout.split())


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_module_is_long(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 300
