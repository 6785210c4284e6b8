"""Each case as a test."""

from __future__ import annotations

from conformance.plugin import judge
from conformance.verdicts import Result


def test_tus(tus_result: Result) -> None:
    judge(tus_result)
