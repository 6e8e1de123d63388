"""Structured log lines: `time=... level=... event=... key=value ...` (logfmt), one line each, on stderr.

Modules log `log.info("event-name", extra={"sip": {"key": value}})`. Values may be bytes as they came from the wire:
whatever could break the line or drive a terminal is escaped.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime

LEVELS = ("debug", "info", "warning", "error")

_PLAIN = re.compile(r"[^\s\"=\\]+")


class Logfmt(logging.Formatter):
    """A record as one line. An exception adds its kind, its text and the stack."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, without its end."""
        return " ".join(f"{key}={quote(value)}" for key, value in _fields(record))


def quote(value: object) -> str:
    """A value of a logfmt line: as it is where it is one printable word, else as a JSON string."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "backslashreplace")
    elif isinstance(value, bool):
        value = str(value).lower()
    elif isinstance(value, list | tuple | set | frozenset):
        value = ",".join(str(item) for item in value)
    text = str(value)
    if not text.isprintable():
        return json.dumps(text)
    return text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)


def setup(level: str) -> None:
    """Send everything from `level` up to stderr, in place of what was set up before."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Logfmt())
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    logging.captureWarnings(True)
    logging.raiseExceptions = False  # a full disk or closed stderr must not stop calls


def _fields(record: logging.LogRecord) -> Iterator[tuple[str, object]]:
    when = datetime.fromtimestamp(record.created, UTC)
    yield "time", when.strftime("%Y-%m-%dT%H:%M:%S.") + f"{when.microsecond // 1000:03}Z"
    yield "level", record.levelname.lower()
    if record.name.partition(".")[0] == "sipfast":
        yield "event", record.getMessage()
    else:
        yield from (("event", "library"), ("logger", record.name), ("message", record.getMessage()))
    yield from getattr(record, "sip", {}).items()
    if record.exc_info and record.exc_info[0] is not None:
        yield "exception", record.exc_info[0].__name__
        yield "reason", record.exc_info[1]
        yield "stack", logging.Formatter().formatException(record.exc_info)
