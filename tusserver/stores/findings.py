"""What somebody who examines a store finds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    NOTE = "note"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """``what`` was looked at, ``said`` is what was found in one sentence or less; ``advice`` says what to do, where
    something is to be done."""

    level: Level
    what: str
    said: str
    advice: str = ""


def ok(what: str, said: str) -> Finding:
    """All is well."""
    return Finding(Level.OK, what, said)


def note(what: str, said: str) -> Finding:
    """It was not looked at, or is worth knowing; nothing is wrong."""
    return Finding(Level.NOTE, what, said)


def warning(what: str, said: str, advice: str) -> Finding:
    """It works, and could be better."""
    return Finding(Level.WARNING, what, said, advice)


def problem(what: str, said: str, advice: str) -> Finding:
    """It does not work, or not safely."""
    return Finding(Level.PROBLEM, what, said, advice)
