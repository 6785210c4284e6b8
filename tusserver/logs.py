"""How logs look: lines for people on a terminal, JSON for machines. The package itself only uses stdlib logging.

``log.info("swept", extra={"expired": 3})`` becomes ``{"time": "2026-01-31T12:00:00.000Z", "level": "info", "logger":
"tusserver.sweeper", "event": "swept", "expired": 3}``.
"""

from __future__ import annotations

import json
import logging
import logging.config
import os
import sys
import time
from collections.abc import Mapping, MutableMapping
from datetime import UTC, datetime
from functools import lru_cache
from itertools import islice
from typing import Any, Final, TextIO

import msgspec
import structlog
from structlog.stdlib import ExtraAdder, ProcessorFormatter
from structlog.typing import Processor

Fields = MutableMapping[str, Any]


def configure(log_format: str, level: str) -> None:
    """Let this process log so: ``log_format`` is auto, console or json; ``level`` the least that is logged."""
    logging.config.dictConfig(log_config(log_format, level))


def lean() -> None:
    """Leave out of this process's log records what no format here shows and each record would look up: the line of
    code, the thread, the process (Python's logging HOWTO, "Optimization")."""
    setattr(logging, "_srcfile", None)  # noqa: B010
    logging.setLogRecordFactory(LeanRecord)


class LeanRecord(logging.LogRecord):
    """A record that knows what was said, and when. It is made in half the time."""

    def __init__(
        self, name: str, level: int, pathname: str, lineno: int, msg: object, args: Any, exc_info: Any, *rest: object
    ) -> None:
        self.__dict__.update(_NOWHERE)
        if args and len(args) == 1 and isinstance(args[0], Mapping) and args[0]:
            args = args[0]  # for ``%(name)s``, as ever
        self.name, self.msg, self.args, self.exc_info = name, msg, args, exc_info
        self.levelno, self.levelname = level, logging.getLevelName(level)
        self.created = time.time()


def log_config(log_format: str, level: str) -> dict[str, Any]:
    """The same as a dict for ``logging.config.dictConfig``, which worker processes can be given.

    Everything goes to stderr. uvicorn's access log is off, as there is one line for each request already, and what it
    tells of its own starting and ending is for debugging.
    """
    threshold = level.upper()
    of_uvicorn = "WARNING" if level == "info" else threshold
    quiet: dict[str, Any] = {"handlers": [], "propagate": False}
    through: dict[str, Any] = {"handlers": [], "propagate": True}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"default": {"()": "tusserver.logs.formatter", "log_format": resolved(log_format)}},
        "handlers": {"stderr": {"class": "tusserver.logs.Lines", "stream": "ext://sys.stderr", "formatter": "default"}},
        "root": {"handlers": ["stderr"], "level": "WARNING"},
        "loggers": {
            "tusserver": {**through, "level": threshold},
            "uvicorn": {**through, "level": of_uvicorn},
            "uvicorn.access": quiet,
        },
    }


def resolved(log_format: str) -> str:
    """``auto`` decided: console where stderr is a terminal, JSON elsewhere."""
    if log_format != "auto":
        return log_format
    return "console" if sys.stderr.isatty() else "json"


def formatter(log_format: str) -> logging.Formatter:
    """The formatter for ``console`` or ``json``."""
    return JsonLines() if log_format == "json" else ProcessorFormatter(processors=_console())


class Lines(logging.StreamHandler[TextIO]):
    """Writes a line in one go, which needs no lock, to a stream that passes each line on by itself, as stderr does."""

    def handle(self, record: logging.LogRecord) -> bool:
        """See ``logging.Handler``."""
        try:
            self.stream.write(f"{self.format(record)}\n")
        except Exception:
            self.handleError(record)
        return True

    def write(self, line: str) -> None:
        """A line that is whole already. One that cannot be written is lost, like others."""
        try:
            self.stream.write(f"{line}\n")
        except (OSError, ValueError):
            return


def tell(log: logging.Logger, event: str, fields: dict[str, Any]) -> None:
    """What ``log.info(event, extra=fields)`` does. Where nobody but our own handler for JSON would see the record, none
    is made: there is a line for each request, and a record takes a quarter of what a HEAD takes of Python."""
    if not log.isEnabledFor(logging.INFO):
        return
    lines = _only_handler(log)
    if lines is None:
        log.info(event, extra=fields)
    else:
        said = {"time": _time(time.time()), "level": "info", "logger": log.name, "event": event}
        lines.write(_encode(said | fields))


def _only_handler(log: logging.Logger) -> Lines | None:
    """Ours for JSON, where it is the only one that sees what is said to ``log``, and sees all of it."""
    root = logging.root
    if len(root.handlers) != 1:
        return None
    handler = root.handlers[0]
    if type(handler) is not Lines or type(handler.formatter) is not JsonLines or handler.level > logging.INFO:
        return None
    logger = log
    while logger.parent is not None:  # the root has none
        if logger.handlers or logger.filters or not logger.propagate:
            return None
        logger = logger.parent
    return handler


class JsonLines(logging.Formatter):
    """One object a line. There is a line for each request, and structlog would copy each record first: half of what a
    HEAD takes of Python."""

    def format(self, record: logging.LogRecord) -> str:
        """See ``logging.Formatter``."""
        fields = {
            "time": _time(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        added = islice(record.__dict__.items(), len(_NOWHERE), None)  # what is passed as ``extra`` comes last
        fields.update({name: value for name, value in added if name not in _USUAL})
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return _encode(fields)


_NOWHERE = vars(logging.makeLogRecord({}))
_USUAL = {*_NOWHERE, "message", "asctime", "taskName", "color_message"}


_ENCODER: Final = msgspec.json.Encoder(enc_hook=str)


def _encode(fields: dict[str, Any]) -> str:
    try:
        return _ENCODER.encode(fields).decode()
    except (TypeError, ValueError):  # broken text
        return json.dumps(fields, default=str)


def _console() -> list[Processor]:
    colors = sys.stderr.isatty() and "NO_COLOR" not in os.environ
    renderer = structlog.dev.ConsoleRenderer(
        colors=colors,
        timestamp_key="time",
        exception_formatter=structlog.dev.plain_traceback,
        pad_event_to=0,
        sort_keys=False,
    )
    return [_describe, ExtraAdder(), _clean, renderer]


def _describe(logger: Any, method: str, fields: Fields) -> Fields:
    record: logging.LogRecord = fields["_record"]
    time = datetime.fromtimestamp(record.created).strftime("%H:%M:%S")
    return {"time": time, "level": record.levelname.lower(), **fields}


def _time(created: float) -> str:
    second, milliseconds = divmod(int(created * 1000), 1000)
    return f"{_second(second)}.{milliseconds:03d}Z"


@lru_cache(4)
def _second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _clean(logger: Any, method: str, fields: Fields) -> Fields:
    internal = ("_record", "_from_structlog", "color_message")
    return {name: value for name, value in fields.items() if name not in internal}
