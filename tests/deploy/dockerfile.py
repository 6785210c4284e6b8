"""The Dockerfile as instructions, and what the build context gives it."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Step:
    """One instruction: its ``name``, in capitals, and what follows; ``stage`` counts the FROMs before it."""

    stage: int
    name: str
    said: str

    def array(self) -> list[str]:
        """What the exec form says. Raises ValueError where it is the shell form."""
        found = re.search(r"\[.*\]$", self.said, re.DOTALL)
        if found is None:
            raise ValueError(self.said)
        return [str(word) for word in json.loads(found[0])]


def steps() -> list[Step]:
    """The instructions of the Dockerfile, in order."""
    lines = [line for line in (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines() if line[:1] != "#"]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    found: list[Step] = []
    stage = 0
    for line in filter(None, joined.splitlines()):
        name, _, said = line.partition(" ")
        stage += name == "FROM"
        found.append(Step(stage, name, said.strip()))
    return found


def only(name: str) -> Step:
    """The one instruction of this name in the image that is shipped."""
    [step] = [step for step in steps() if step.name == name and step.stage == 2]
    return step


def environment() -> dict[str, str]:
    """What ENV says in the image that is shipped."""
    return dict(pair.split("=", 1) for pair in shlex.split(only("ENV").said))


def copied() -> list[tuple[list[str], str]]:
    """What COPY takes from the build context, and where it puts it."""
    paths = [step.said.split() for step in steps() if step.name == "COPY" and "--from" not in step.said]
    return [(sources, target) for *sources, target in paths]


def in_context(path: str) -> bool:
    """Whether .dockerignore lets this top-level path into the build context. The last rule that fits decides."""
    inside = True
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        rule = line.strip()
        if rule and not rule.startswith("#") and fnmatch(path, rule.removeprefix("!")):
            inside = rule.startswith("!")
    return inside
