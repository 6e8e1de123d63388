"""`sipfast demo`: it says that the redial happened only where it did."""

from __future__ import annotations

import contextlib
import io
import re
import socket
from collections.abc import Iterator

import pytest

from sipfast.commands import demo

OBEYS = "REGISTER 200 INVITE 480 ACK REGISTER 200 REFER 202 INVITE 180 200 ACK BYE 200"
REFUSES = (
    "REGISTER 200 INVITE 480 ACK REGISTER 200 REFER 501 INVITE 180 REFER 202 INVITE CANCEL 200 487 ACK 180 200 ACK BYE 200"
)


@pytest.mark.parametrize(("phone", "ladder"), [("obeys", OBEYS), ("refuses", REFUSES)])
def test_the_whole_redial(phone: str, ladder: str):
    out = io.StringIO()
    status = demo.run(["--phone", phone] if phone != "obeys" else [], out)
    text = out.getvalue()
    assert status == 0, text
    assert "\x1b" not in text  # not a terminal
    rungs = re.findall(r"^ *\d+  \|.*$", text, re.MULTILINE)
    told = [re.sub(r"[^\w ]+", " ", rung).split()[1:] for rung in rungs]
    names = [words[0] for words in told if words]
    # in this order, whatever else is between
    story = iter(names)
    for name in ladder.split():
        assert name in story, f"{name} is missing or comes too early\n{text}"
    assert f"{len(rungs)} messages" in text
    assert "m=NL" in text


@contextlib.contextmanager
def nobody() -> Iterator[int]:
    """A port where nobody answers."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as deaf:
        deaf.bind((demo.HOST, 0))
        yield deaf.getsockname()[1]


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(demo, "served", nobody)
    monkeypatch.setattr(demo, "PATIENCE", 0.2)
    out = io.StringIO()
    assert demo.run([], out) == 1
    assert "did not happen: alice got no 200 REGISTER" in out.getvalue()


def test_a_server_that_does_not_start(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(demo.sys, "executable", "/bin/false")
    out = io.StringIO()
    assert demo.run([], out) == 1
    assert "did not come up" in out.getvalue()


def test_colour_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(demo, "served", nobody)
    monkeypatch.setattr(demo, "PATIENCE", 0.05)
    monkeypatch.delenv("NO_COLOR", raising=False)

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    coloured = Terminal()
    demo.run([], coloured)
    assert "\x1b[" in coloured.getvalue()
    monkeypatch.setenv("NO_COLOR", "1")
    plain = Terminal()
    demo.run([], plain)
    assert "\x1b[" not in plain.getvalue()


def test_nothing_from_the_wire_drives_the_terminal():
    out = io.StringIO()
    ladder = demo.Ladder(out, colour=False)
    for start in ("SIP/2.0 480 \x1b[2J\x9b2J", "SIP/2.0 200 \x1b]0;owned\x07"):
        lines = [start, "Via: SIP/2.0/UDP h;branch=z9hG4bKx", "From: <sip:a@h>;tag=1", "To: <sip:b@h>;tag=2"]
        lines += ["Call-ID: c", "CSeq: 1 REGISTER", "Contact: <sip:\x1b[31m@h>", "Call-Info: <x\x1b[31m>", "", ""]
        ladder.arrow(True, False, demo.parse("\r\n".join(lines).encode()))
    text = out.getvalue()
    assert "480" in text and "200" in text
    assert text.replace("\n", "").isprintable()


def test_wrong_arguments(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as stopped:
        demo.run(["--nonsense"])
    assert stopped.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
