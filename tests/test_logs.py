"""Logs, as machines and as people read them."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
import time
from datetime import UTC, datetime
from typing import Any

import pytest

from tusserver.logs import Lines, formatter, log_config, resolved, tell

PROGRAM = """
import logging, logging.config, sys
from tusserver.logs import configure, log_config
configure(sys.argv[1], sys.argv[2])
log = logging.getLogger("tusserver.sweeper")
log.debug("looked")
log.info("swept", extra={"expired": 3, "what": 1j, "upload": "a\\nb"})
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
        "level": "info", "logger": "tusserver.sweeper", "event": "swept", "expired": 3, "what": "1j", "upload": "a\nb",
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
    assert swept.endswith("swept expired=3 what=1j upload='a\\nb'")
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


class Ours:
    """The handler of a server that logs JSON is the only one, as pytest's own are not there in a server."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, log_format: str = "json") -> None:
        self.stream = io.StringIO()
        self.handler = Lines(self.stream)
        self.handler.setFormatter(formatter(log_format))
        monkeypatch.setattr(logging.root, "handlers", [self.handler])
        self.log = logging.getLogger("tusserver.tests.told")
        self.log.setLevel(logging.INFO)

    def told(self, **fields: object) -> str:
        tell(self.log, "PATCH", fields)
        return self.stream.getvalue()


FIELDS: dict[str, object] = {"upload": "a" * 32, "status": 204, "seconds": 0.0123, "client": "127.0.0.1"}


def test_what_is_told_looks_like_what_is_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = Ours(monkeypatch)
    monkeypatch.setattr(time, "time", lambda: 1767225600.125)
    told = ours.told(**FIELDS)
    ours.log.info("PATCH", extra=FIELDS)
    assert ours.stream.getvalue() == told * 2
    assert json.loads(told) == {
        "time": "2026-01-01T00:00:00.125Z",
        "level": "info",
        "logger": ours.log.name,
        "event": "PATCH",
        **FIELDS,
    }


@pytest.mark.parametrize("where", ["root", "logger", "parent"])
def test_others_that_listen_hear_what_is_told(monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    ours = Ours(monkeypatch)
    heard: list[logging.LogRecord] = []
    listening = logging.Handler()
    monkeypatch.setattr(listening, "handle", heard.append)
    logger = {"root": logging.root, "logger": ours.log, "parent": logging.getLogger("tusserver")}[where]
    monkeypatch.setattr(logger, "handlers", [*logger.handlers, listening])
    assert json.loads(ours.told(**FIELDS))["status"] == 204
    assert [(record.getMessage(), vars(record)["status"]) for record in heard] == [("PATCH", 204)]


def test_filters_and_levels_hold_for_what_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = Ours(monkeypatch)
    monkeypatch.setattr(ours.log, "filters", [lambda record: False])
    assert ours.told(**FIELDS) == ""
    monkeypatch.setattr(ours.log, "filters", [])
    monkeypatch.setattr(ours.log, "propagate", False)
    assert ours.told(**FIELDS) == ""
    monkeypatch.setattr(ours.log, "propagate", True)
    ours.handler.setLevel(logging.WARNING)
    assert ours.told(**FIELDS) == ""
    ours.handler.setLevel(logging.NOTSET)
    ours.log.setLevel(logging.WARNING)
    assert ours.told(**FIELDS) == ""


def test_what_is_told_on_a_terminal_is_for_people(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "PATCH" in (said := Ours(monkeypatch, "console").told(**FIELDS))
    assert not said.startswith("{")


def test_what_cannot_be_written_is_lost_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = Ours(monkeypatch)
    ours.stream.close()
    tell(ours.log, "PATCH", dict(FIELDS))
