"""Sizes and durations as people write them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tusserver.units import (
    MAX_SIZE,
    about_duration,
    about_size,
    parse_duration,
    parse_size,
    show_duration,
    show_size,
)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        (17, 17),
        ("5GiB", 5 * 1024**3),
        ("5 gib", 5 * 1024**3),
        ("500MB", 500_000_000),
        ("1.5KiB", 1536),
        ("12B", 12),
        (str(MAX_SIZE), MAX_SIZE),
    ],
)
def test_sizes(text: Any, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "GiB", "-1", "+5", "1_0", "5G", "5 GiB extra", "0.3", "1e3", "٣", True, None, str(MAX_SIZE + 1), 1.5]
)
def test_what_is_no_size(text: Any) -> None:
    with pytest.raises(ValueError):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("250ms", 0.25),
        ("30s", 30),
        ("5m", 300),
        ("24h", 86400),
        ("7d", 604800),
        ("2w", 1209600),
        (1.5, 1.5),
        ("90", 90),
    ],
)
def test_durations(text: Any, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "-1s", "5M", "1h30m", "1y", True, None, float("inf"), float("nan"), -1])
def test_what_is_no_duration(text: Any) -> None:
    with pytest.raises(ValueError):
        parse_duration(text)


@given(st.integers(0, MAX_SIZE))
def test_a_size_reads_back(size: int) -> None:
    assert parse_size(show_size(size)) == size


@given(st.integers(0, 10**10).map(lambda milliseconds: milliseconds / 1000))
def test_a_duration_reads_back(seconds: float) -> None:
    assert parse_duration(show_duration(seconds)) == seconds


def test_what_people_are_shown() -> None:
    assert [show_size(size) for size in (0, 8192, 5 * 1024**3, 500_000_000, 1_000_001)] == [
        "0", "8KiB", "5GiB", "500MB", "1000001",
    ]  # fmt: skip
    assert [show_duration(seconds) for seconds in (0, 0.25, 60, 86400, 604800, 90)] == [
        "0s", "250ms", "1m", "24h", "7d", "90s",
    ]  # fmt: skip
    assert [about_size(size) for size in (0, 1023, 1024, 1_500_000_000)] == ["0 B", "1023 B", "1.0 KiB", "1.4 GiB"]
    assert [about_duration(seconds) for seconds in (-1, 59.9, 61, 7300, 100_000)] == ["0s", "59s", "1m", "2h", "1d"]
