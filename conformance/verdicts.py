"""What a case found out, requirement by requirement."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from conformance.requirements import REQUIREMENTS, Level
from conformance.wire import Exchange


class Verdict(StrEnum):
    """From good to bad. UNSUPPORTED: the extension is not announced. UNTESTED: what the case needs failed. ERROR: the
    suite itself failed."""

    NOTED = "noted"
    PASS = "pass"
    UNSUPPORTED = "unsupported"
    UNTESTED = "untested"
    WEAK = "weak"
    FAIL = "FAIL"
    ERROR = "error"


ORDER = list(Verdict)


SHOWN: Final = 6
"""Exchanges of a case that a report shows."""


class Untested(Exception):
    """What the case needs to begin with did not work; another case says so itself."""


class Unsupported(Exception):
    """The server does not announce what the case is about."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at, for one requirement. ``advice``: the requirement does not say so in as many words,
    or binds the client in the first place, so a server that does otherwise is weak at worst. ``at``: after which of the
    case's exchanges it was."""

    requirement: str
    holds: bool
    expected: str
    found: str
    advice: bool = False
    at: int = field(default=-1, compare=False)

    @property
    def verdict(self) -> Verdict:
        """What it means at the requirement's level."""
        level = REQUIREMENTS[self.requirement].level
        if level is Level.MAY:
            return Verdict.NOTED
        if self.holds:
            return Verdict.PASS
        return Verdict.FAIL if level is Level.MUST and not self.advice else Verdict.WEAK


@dataclass
class Result:
    """What came of one case. ``reason`` for UNTESTED, UNSUPPORTED and ERROR."""

    case: str
    title: str
    requirements: tuple[str, ...]
    checks: list[Check] = field(default_factory=list)
    exchanges: list[Exchange] = field(default_factory=list)
    reason: str = ""
    ended: Verdict | None = None
    seconds: float = 0.0

    @property
    def verdict(self) -> Verdict:
        """The worst of its checks; how it ended, where that is worse."""
        found = [check.verdict for check in self.checks]
        if self.ended is not None:
            found.append(self.ended)
        if not found:
            return Verdict.UNTESTED
        return max(found, key=ORDER.index)

    @property
    def broken(self) -> list[Check]:
        """The checks that did not hold, each once."""
        return list(dict.fromkeys(check for check in self.checks if check.verdict in (Verdict.FAIL, Verdict.WEAK)))

    @property
    def evidence(self) -> list[Exchange]:
        """The exchanges that show what is broken, each with the one before it; of a case that came to no end, the last
        ones."""
        before = [at for check in self.broken for at in (check.at - 1, check.at) if at >= 0]
        chosen = sorted(set(before))[:SHOWN] or range(max(0, len(self.exchanges) - 3), len(self.exchanges))
        return [self.exchanges[at] for at in chosen]
