"""Sizes and durations as people write them: ``5GiB``, ``24h``. What ``show_`` writes, ``parse_`` reads back."""

from __future__ import annotations

import math
import re
from typing import Any, Final

BINARY: Final = {"KiB": 1024, "MiB": 1024**2, "GiB": 1024**3, "TiB": 1024**4, "PiB": 1024**5}
DECIMAL: Final = {"KB": 1000, "MB": 1000**2, "GB": 1000**3, "TB": 1000**4, "PB": 1000**5}
SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}

_BYTES: Final = {"": 1, "b": 1} | {unit.lower(): size for unit, size in (BINARY | DECIMAL).items()}
_WRITTEN: Final = re.compile(r"([0-9]{1,19}(?:\.[0-9]{1,9})?) ?([A-Za-z]*)", re.ASCII)
MAX_SIZE: Final = 2**63 - 1


def parse_size(value: Any) -> int:
    """Bytes, from ``5GiB``, ``500MB`` or a number of bytes; upper and lower case mean the same.

    Raises ValueError for anything else, and above 2**63 - 1.
    """
    number, unit = _split(value)
    if unit.lower() not in _BYTES:
        raise ValueError(f"no unit of size: {unit}")
    size = number * _BYTES[unit.lower()]
    if size != int(size) or not 0 <= size <= MAX_SIZE:
        raise ValueError("not a whole number of bytes")
    return int(size)


def parse_duration(value: Any) -> float:
    """Seconds, from ``250ms``, ``30s``, ``5m``, ``24h``, ``7d``, ``2w`` or a number of seconds. Raises ValueError."""
    number, unit = _split(value)
    if unit and unit not in SECONDS:
        raise ValueError(f"no unit of time: {unit}")
    seconds = number / 1000 if unit == "ms" else number * SECONDS[unit or "s"]
    if not (math.isfinite(seconds) and seconds >= 0):
        raise ValueError("not a duration")
    return float(seconds)


def show_size(size: int) -> str:
    """The size in the largest unit in which it is exact: ``5GiB``, ``500MB``, ``1000001``."""
    units = sorted((BINARY | DECIMAL).items(), key=lambda unit: -unit[1])
    for unit, factor in units:
        if size and size % factor == 0:
            return f"{size // factor}{unit}"
    return str(size)


def show_duration(seconds: float) -> str:
    """The duration in the largest unit in which it is whole: ``7d``, ``24h``, ``250ms``, ``0s``."""
    for unit in ("d", "h", "m", "s"):
        # One day is said in hours
        if seconds and seconds % SECONDS[unit] == 0 and seconds != SECONDS["d"] * (unit == "d"):
            return f"{int(seconds // SECONDS[unit])}{unit}"
    milliseconds = seconds * 1000
    if seconds and milliseconds == int(milliseconds):
        return f"{milliseconds:.0f}ms"
    return f"{seconds:.9f}".rstrip("0").rstrip(".") + "s"


def about_size(size: int) -> str:
    """The size, rounded for people: ``1.4 GiB``."""
    for unit, factor in reversed(BINARY.items()):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} B"


def about_duration(seconds: float) -> str:
    """The duration, rounded down for people: ``3d``, ``42s``."""
    for unit in ("d", "h", "m"):
        if seconds >= SECONDS[unit]:
            return f"{int(seconds // SECONDS[unit])}{unit}"
    return f"{max(0, int(seconds))}s"


def _split(value: Any) -> tuple[int | float, str]:
    if isinstance(value, bool):
        raise ValueError("not a number")
    if isinstance(value, int | float):
        return value, ""
    written = _WRITTEN.fullmatch(value.strip()) if isinstance(value, str) else None
    if written is None:
        raise ValueError("not a number with a unit")
    number, unit = written.groups()
    return (float(number) if "." in number else int(number)), unit
