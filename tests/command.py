"""The command ``tusserver`` as a process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

COMMAND = [str(Path(sys.executable).with_name("tusserver"))]


def run(*arguments: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """The command, with no setting but these."""
    known = {
        key: value for key, value in os.environ.items() if not key.startswith(("TUSSERVER_", "CORS_", "MONGO_", "DB_"))
    }
    return subprocess.run(
        [*COMMAND, *arguments], cwd=cwd, env={**known, **variables}, capture_output=True, text=True, timeout=60
    )


def done(*arguments: str, cwd: Path, **variables: str) -> str:
    """What the command printed; it has to succeed."""
    result = run(*arguments, cwd=cwd, **variables)
    assert result.returncode == 0, result.stderr
    return result.stdout
