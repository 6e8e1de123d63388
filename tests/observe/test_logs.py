"""Log lines: one record, one line, whatever is in it."""

import io
import logging
import re
import shlex

import pytest

from sipfast.observe import logs


@pytest.fixture
def lines():
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logs.Logfmt())
    logger = logging.getLogger("sipfast.test")
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield logger, lambda: stream.getvalue().splitlines()
    logger.removeHandler(handler)


def test_a_line_has_time_level_event_and_the_values(lines):
    logger, read = lines
    logger.info("watch-armed", extra={"sip": {"callee": b"sip:bob@example.com", "seconds": 3600, "renewed": False}})
    (line,) = read()
    assert re.fullmatch(
        r"time=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z level=info event=watch-armed "
        r"callee=sip:bob@example\.com seconds=3600 renewed=false",
        line,
    )


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("plain", "plain"),
        ("", '""'),
        ("two words", '"two words"'),
        ('a"b', '"a\\"b"'),
        ("a=b", '"a=b"'),
        ("Zoë", "Zoë"),
        (b"\xff", '"\\\\xff"'),
        (b"a\r\nlevel=error", '"a\\r\\nlevel=error"'),
        ("\x1b[2J", '"\\u001b[2J"'),
        ("\x7f\u202e", '"\\u007f\\u202e"'),
        (("a", "b"), "a,b"),
        (None, "None"),
        (1.5, "1.5"),
    ],
)
def test_values_cannot_break_the_line_or_drive_a_terminal(value, shown):
    assert logs.quote(value) == shown


def test_an_exception_stays_on_the_line(lines):
    logger, read = lines
    try:
        raise ValueError("no\nway")
    except ValueError:
        logger.exception("receive-failed")
    (line,) = read()
    fields = dict(part.split("=", 1) for part in shlex.split(line) if "=" in part)
    assert (fields["level"], fields["event"], fields["exception"]) == ("error", "receive-failed", "ValueError")
    assert fields["reason"] == "no\\nway"
    assert "test_logs.py" in fields["stack"]


def test_what_libraries_log_has_the_same_form(capsys):
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    try:
        logs.setup("warning")
        logging.getLogger("asyncio").warning("slow %s", "callback")
        logging.getLogger("sipfast.engine.engine").info("not shown at this level")
        line = capsys.readouterr().err.strip()
    finally:
        root.handlers[:] = before
        root.setLevel(level)
        logging.captureWarnings(False)
        logging.raiseExceptions = True
    assert line.endswith('level=warning event=library logger=asyncio message="slow callback"')
