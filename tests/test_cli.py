"""The command line as a whole, as a process: usage, exit status, and that every error is one line."""

import os
import subprocess
import sys
import tomllib

import pytest
from command import ROOT, environment, one_line, sipfast_command

import sipfast


def test_version_is_the_projects():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert sipfast_command("--version").stdout == f"sipfast {project['version']}\n"
    assert sipfast.__version__ == project["version"]


@pytest.mark.parametrize(
    "command",
    [[], ["serve"], ["watches"], ["watches", "cancel"], ["bindings", "remove"], ["phones"], ["check-config"]],
    ids=str,
)
def test_help_is_there_for_each_command(command):
    done = sipfast_command(*command, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: sipfast")


USAGE = {
    "nothing": ([], "COMMAND"),
    "unknown command": (["server"], "'server'"),
    "unknown flag": (["serve", "--port", "5060"], "--port"),
    "a flag cut short": (["serve", "--list", "udp:127.0.0.1:0"], "--list"),
    "flag without value": (["serve", "--data"], "--data"),
    "cancel without caller": (["watches", "cancel", "bob@example.com"], "CALLER"),
    "listen": (["serve", "--listen", "127.0.0.1:5060"], "--listen: '127.0.0.1:5060' is not udp:HOST:PORT"),
    "port too large": (["serve", "--listen", "udp:127.0.0.1:65536"], "--listen: "),
    "domain": (["serve", "--domain", "sip:example.com"], "--domain: "),
    "upstream": (["serve", "--upstream", "192.0.2.1:5060"], "--upstream: "),
    "two upstreams for everything": (["serve", "--upstream", "sip:a", "--upstream", "sip:b"], "--upstream: "),
    "one of several upstream addresses": (["serve", "--upstream", "a.example=sip:a,b"], "--upstream: 'b' is not sip:"),
    "a host that cannot be resolved": (
        ["serve", "--listen", "udp:no-such-host.invalid:0", "--open", "--workers", "1"],
        "--listen: cannot resolve 'no-such-host.invalid'",
    ),
    "the same with several workers": (
        ["serve", "--listen", "udp:no-such-host.invalid:0", "--open", "--workers", "2"],
        "--listen: cannot resolve 'no-such-host.invalid'",
    ),
    "default period": (["serve", "--default-period", "-1"], "--default-period: -1 is not a whole number of at least 0"),
    "flag of demo": (["demo", "--nonsense", "x"], "demo: unrecognized arguments: --nonsense x"),
    "unknown command with an escape": (["\x1b[2J"], r"\x1b[2J"),
    "log level": (["serve", "--log-level", "loud"], '--log-level: "loud" is not one of'),
    "no such file": (["serve", "--config", "missing.toml"], "missing.toml: cannot read the configuration"),
    "no such file to check": (["check-config", "missing.toml"], "missing.toml: cannot read the configuration"),
    "not an AOR": (["watches", "cancel", "bob", "alice@example.com"], "'bob' is not an address of record"),
    "not an AOR with a line break": (["bindings", "remove", "bob@\nx"], "is not an address of record"),
}


@pytest.mark.parametrize(("arguments", "says"), USAGE.values(), ids=USAGE)
def test_wrong_usage_is_one_line_with_status_2(tmp_path, arguments, says):
    assert says in one_line(sipfast_command(*arguments, folder=tmp_path), 2)
    assert list(tmp_path.iterdir()) == []


def test_a_reader_that_has_seen_enough_is_no_error():
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "sipfast", "stats", "--explain"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, env=environment(), timeout=60, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")
