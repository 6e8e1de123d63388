"""`make sipp-load`: SIPp's three loads against a server of its own and one that is named, and what it says of failures."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from peers.lab import DOMAIN, Lab
from peers.process import need

pytestmark = pytest.mark.peers
ROOT = Path(__file__).parent.parent.parent


def play(*arguments: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    if path is None:
        need("sipp")
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.sipp", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120,
        check=False, env={"PATH": "/usr/bin:/bin" if path is None else path},
    )  # fmt: skip


def rows(table: str) -> dict[str, tuple[int, int]]:
    """Done and failed, by the name of the row."""
    found = re.findall(r"^(\w+: [\w ]+?)  +([\d,]+) +([\d,]+) ", table, re.MULTILINE)
    return {what: (int(done.replace(",", "")), int(failed.replace(",", ""))) for what, done, failed in found}


def counters(table: str) -> dict[str, int]:
    return {name: int(value.replace(",", "")) for name, value in re.findall(r"^  (\w+) +\+([\d,]+)$", table, re.MULTILINE)}


def test_a_server_of_its_own_is_registered_at_called_and_has_calls_redialled() -> None:
    done = play("--rate", "100", "--calls", "60")
    assert done.returncode == 0, done.stdout + done.stderr
    assert rows(done.stdout) == dict.fromkeys(
        ("register: registered", "call: callees registered", "call: called", "redial: callers registered",
         "redial: watches armed", "redial: callees back", "redial: recalled"), (60, 0))  # fmt: skip
    told = counters(done.stdout)
    assert (told["redial_armed"], told["redial_recalls"], told["redial_completed"]) == (60, 60, 60)


def test_a_server_that_is_named_keeps_what_is_its_own(lab: Lab) -> None:
    server = lab.sipfast(probe=True)
    address = f"127.0.0.1:{server.port}"
    there = ("--server", address, "--domain", DOMAIN, "--data", str(server.data))
    done = play("redial", "--rate", "50", "--calls", "20", *there)
    assert done.returncode == 0, done.stdout + done.stderr
    assert rows(done.stdout)["redial: recalled"] == (20, 0)
    assert counters(done.stdout)["redial_completed"] == 20
    assert len(server.bindings()) == 40


def test_a_call_that_fails_is_told(lab: Lab) -> None:
    """The server serves another domain: it says 403, SIPp counts it, and the exit status is 1."""
    server = lab.sipfast()
    done = play("call", "--calls", "5", "--server", f"127.0.0.1:{server.port}", "--domain", "elsewhere.test")
    assert done.returncode == 1
    assert rows(done.stdout) == {"call: callees registered": (0, 5)}
    assert "403 Forbidden" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "path", "said"),
    [
        (("--server", "127.0.0.1:9"), None, "nobody answers OPTIONS at 127.0.0.1:9"),
        (("--server", "5060"), None, "'5060' is no HOST:PORT"),
        (("redials",), None, "'redials' is no load: choose from register, call, redial"),
        (("--rate", "0"), None, "--rate"),
        (("--calls", "1"), "/nowhere", "apt-get install sip-tester"),
    ],
    ids=["nobody there", "no address", "no such load", "no rate", "no SIPp"],
)
def test_what_cannot_be_played_is_said_in_a_line(arguments: tuple[str, ...], path: str | None, said: str) -> None:
    done = play(*arguments, path=path)
    assert done.returncode == 2
    assert said in done.stderr.splitlines()[-1]
