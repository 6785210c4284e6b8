"""Logs, as machines and as people read them."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import pytest

from tusserver.logs import formatter, log_config, resolved

PROGRAM = """
import logging, logging.config, sys
from tusserver.logs import configure, log_config
configure(sys.argv[1], sys.argv[2])
log = logging.getLogger("tusserver.sweeper")
log.debug("looked")
log.info("swept", extra={"expired": 3, "what": {1}, "upload": "a\\nb"})
logging.getLogger("uvicorn.error").info("Started %s", "it", extra={"color_message": "Started"})
logging.getLogger("uvicorn.access").info("GET /")
logging.getLogger("asyncio").info("chatter")
try:
    1 / 0
except ZeroDivisionError:
    log.exception("failed")
"""


def lines(log_format: str, level: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, log_format, level], check=True, capture_output=True, text=True, timeout=60
    )
    assert done.stdout == ""
    return done.stderr.splitlines()


def test_json_is_one_object_a_line() -> None:
    before = datetime.now(UTC)
    swept, failed = (json.loads(line) for line in lines("json", "info"))
    time = datetime.fromisoformat(swept.pop("time"))
    assert time.tzinfo is not None
    assert abs((time - before).total_seconds()) < 60
    assert swept == {
        "level": "info", "logger": "tusserver.sweeper", "event": "swept", "expired": 3, "what": "{1}", "upload": "a\nb",
    }  # fmt: skip
    assert failed["level"] == "error"
    assert "ZeroDivisionError" in failed["exception"]


def test_lean_records_say_the_same() -> None:
    """What ``tusserver serve`` does to its own; other packages also log with names, and into the same lines."""
    program = PROGRAM.replace("configure(sys.argv", "from tusserver.logs import lean; lean(); configure(sys.argv")
    program += (
        'log.warning("%(what)s took %(seconds)d s", {"what": "it", "seconds": 3})\nlog.warning("all of %s", "it")\n'
    )
    said = []
    for source in (PROGRAM, program):
        command = [sys.executable, "-c", source, "json", "info"]
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
        said.append([{**json.loads(line), "time": None} for line in done.stderr.splitlines()])
    usual, lean = said
    assert lean[:2] == usual
    assert [each["event"] for each in lean[2:]] == ["it took 3 s", "all of it"]


def test_off_a_terminal_auto_is_json() -> None:
    looked, swept, started, failed = (json.loads(line) for line in lines("auto", "debug"))
    assert [looked["event"], swept["event"], failed["event"]] == ["looked", "swept", "failed"]
    assert {"logger": "uvicorn.error", "event": "Started it"}.items() <= started.items()  # for debugging only
    assert "color_message" not in started


def test_the_level_is_the_least_that_is_logged() -> None:
    assert [json.loads(line)["event"] for line in lines("json", "error")] == ["failed"]


def test_the_console_is_for_people() -> None:
    swept, failed, *trace = lines("console", "info")
    assert swept.endswith("swept expired=3 what={1} upload='a\\nb'")
    assert "\x1b" not in swept
    assert "failed" in failed
    assert trace[0] == "Traceback (most recent call last):"


def test_auto_is_console_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert resolved("auto") == "console"
    assert resolved("json") == "json"
    assert log_config("auto", "info")["formatters"]["default"]["log_format"] == "console"


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_text_that_cannot_be_encoded_is_logged(log_format: str) -> None:
    fields: dict[str, Any] = {"name": "tusserver", "levelno": logging.INFO, "levelname": "INFO", "msg": "odd \udcff"}
    line = formatter(log_format).format(logging.makeLogRecord(fields))
    assert "odd" in line
    assert line.encode(errors="backslashreplace").isascii()
