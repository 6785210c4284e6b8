"""The cases, by section of the specification."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from conformance.target import Target

Work = Callable[[Target], None]


@dataclass(frozen=True, slots=True)
class Case:
    """``id`` is stable; ``title`` says what is looked at; ``requirements`` are those that it can show."""

    id: str
    title: str
    requirements: tuple[str, ...]
    work: Work


SECTIONS: Final = ("core", "creation", "expiration", "checksum", "termination", "concatenation", "wire")
CASES: Final[dict[str, Case]] = {}


def case(case_id: str, *requirements: str) -> Callable[[Work], Work]:
    """Register a function as a case; its docstring is the title."""

    def register(work: Work) -> Work:
        full = f"tus/{case_id}"
        assert full not in CASES, full
        title = " ".join((work.__doc__ or "").split())
        assert title, full
        CASES[full] = Case(full, title, requirements, work)
        return work

    return register


def load() -> dict[str, Case]:
    """Every case, by section."""
    from conformance.cases import (  # noqa: F401
        checksum,
        concatenation,
        core,
        creation,
        expiration,
        patch,
        raw,
        termination,
        with_upload,
    )

    return dict(sorted(CASES.items(), key=lambda item: SECTIONS.index(item[0].split("/")[1])))
