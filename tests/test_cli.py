"""The command line, as a process: what it prints, its exit status, and that every error is one line."""

import json
import os
import re
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest
from command import ROOT, environment, one_line, sipfast_command

import sipfast
from sipfast._flow import Flow
from sipfast.commands.console import duration
from sipfast.observe.printable import printable
from sipfast.store.backends.lmdb import LmdbTables
from sipfast.store.records import Binding, Watch
from sipfast.store.repository import Store

ALICE, BOB, CAROL = b"sip:alice@example.com", b"sip:bob@example.com", b"sip:carol@example.com"
HOUR = 3_600_000


def now() -> int:
    return time.time_ns() // 1_000_000


@pytest.fixture
def data(tmp_path) -> Path:
    """A store with two watches and three bindings, and one of each that has run out."""
    path = tmp_path / "data"
    store = Store(LmdbTables(path))
    at = now()
    store.put_watch(Watch(BOB, ALICE, at, at + HOUR - 60_000, b"call-1", b"sip:alice@192.0.2.1:5060"))
    store.put_watch(
        Watch(CAROL, BOB, at, at + 26 * HOUR, b"call-2", b"sip:bob@192.0.2.2", state="recalling", attempts=2,
              last_result="486", recalled_at=at)
    )  # fmt: skip
    store.put_watch(Watch(CAROL, ALICE, at - HOUR, at - 1, b"call-3", b"sip:alice@192.0.2.1"))
    here = Flow("192.0.2.1", 5062).pack()
    store.put_bindings(
        ALICE,
        [
            Binding(b"sip:alice@192.0.2.1:5062", at + HOUR, b"c", 1, q=500, flow=here),
            Binding(b"sip:alice@192.0.2.9", at + HOUR, b"d", 1),
            Binding(b"sip:alice@198.51.100.1", at - 1, b"e", 1),
        ],
    )
    store.put_bindings(CAROL, [Binding(b"sip:\x1b[2J\xff@h", at + HOUR, b"c", 1)])
    store.commit()
    store.close()
    return path


# Usage


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
        ["serve", "--listen", "udp:no-such-host.invalid:0", "--workers", "1"],
        "--listen: cannot resolve 'no-such-host.invalid'",
    ),
    "the same with several workers": (
        ["serve", "--listen", "udp:no-such-host.invalid:0", "--workers", "2"],
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


# check-config


def test_check_config_shows_what_the_file_comes_to(tmp_path):
    path = tmp_path / "sipfast.toml"
    path.write_text('domains = ["example.com"]\n[redial]\nguard = 2\n[[upstream]]\nuri = "sip:pbx.example"\n')
    done = sipfast_command("check-config", path)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == f"{path}: good"
    rows = {line.split()[0]: re.split(r"\s{2,}", line) for line in lines[2:]}
    assert rows["redial.guard"] == ["redial.guard", "2.0", "set"]
    assert rows["domains"] == ["domains", '["example.com"]', "set"]
    assert rows["upstream[0].uri"][1] == '"sip:pbx.example"'
    assert rows["redial.min_period"] == ["redial.min_period", "300"]


def test_check_config_shows_no_password(tmp_path):
    path = tmp_path / "good.toml"
    path.write_text('[[redial.credentials]]\nuser = "sipfast"\npassword = "secret4711"')
    done = sipfast_command("check-config", path)
    assert done.returncode == 0
    assert "redial.credentials[0].user" in done.stdout
    assert "secret4711" not in done.stdout


def test_check_config_says_what_is_wrong_in_a_file_of_phones(tmp_path):
    path, phones = tmp_path / "a.toml", tmp_path / "phones.toml"
    path.write_text('[redial]\nphones = "phones.toml"')
    phones.write_text('[[phone]]\nagent = "A"\nstart = "rings"')
    line = one_line(sipfast_command("check-config", path), 2)
    assert line.startswith(f'sipfast: {phones}: phone[0].start: "rings" is not one of ')


def test_check_config_says_what_is_wrong_in_one_line(tmp_path):
    path = tmp_path / "sipfast.toml"
    path.write_text("[redial]\nmin_perod = 300\n")
    line = one_line(sipfast_command("check-config", path), 2)
    assert line == f"sipfast: {path}: redial.min_perod: unknown key; did you mean min_period?"


def test_a_file_is_blamed_for_a_host_that_cannot_be_resolved(tmp_path):
    path = tmp_path / "sipfast.toml"
    path.write_text('listen = ["udp:127.0.0.1:0", "udp:no-such-host.invalid:0"]\n')
    line = one_line(sipfast_command("serve", "--config", path, folder=tmp_path), 2)
    assert line.startswith(f"sipfast: {path}: listen[1]: cannot resolve 'no-such-host.invalid'")


@pytest.mark.parametrize(("gib", "status"), [(65_536, 0), (65_537, 2), (10**12, 2)])
def test_a_map_size_that_no_process_can_have_is_refused(tmp_path, gib, status):
    """A process has an address space of 128 TiB (47 bits)."""
    path = tmp_path / "sipfast.toml"
    path.write_text(f"[store]\nmap_size = {gib}\n")
    done = sipfast_command("check-config", path)
    assert done.returncode == status
    assert status == 0 or "store.map_size: " in one_line(done, 2)


# watches


@pytest.mark.parametrize("arguments", [["watches"], ["watches", "list"]], ids=" ".join)
def test_watches_are_listed_as_a_table_with_what_remains(data, arguments):
    done = sipfast_command(*arguments, "--data", data)
    assert (done.returncode, done.stderr) == (0, "")
    header, first, second = (re.split(r"\s{2,}", line) for line in done.stdout.splitlines())
    assert header == ["callee", "caller", "mode", "state", "armed at", "expires at", "attempts", "last result"]
    assert first[:4] == ["bob@example.com", "alice@example.com", "NL", "armed"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\+00:00 \(in 58 min\)", first[5])
    assert first[6:] == ["0"]
    assert second[:4] == ["carol@example.com", "bob@example.com", "NL", "recalling"]
    assert second[5].endswith("(in 1 d 1 h)")
    assert second[6:] == ["2", "486"]
    assert "b'" not in done.stdout
    columns = {line.index(word) for line, word in zip(done.stdout.splitlines(), ("mode", "NL", "NL"), strict=True)}
    assert len(columns) == 1  # aligned


def test_times_for_people_are_local(data):
    done = sipfast_command("watches", "--data", data, TZ="XYZ-05:30")
    assert "+05:30 (in 58 min)" in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [["watches", "--json", "--data"], ["watches", "list", "--json", "--data"], ["watches", "--json", "list", "--data"]],
    ids=" ".join,
)
def test_watches_as_json(data, arguments):
    done = sipfast_command(*arguments, data)
    rows = json.loads(done.stdout)
    assert [(row["callee"], row["caller"]) for row in rows] == [
        ("sip:bob@example.com", "sip:alice@example.com"),
        ("sip:carol@example.com", "sip:bob@example.com"),
    ]
    first, second = rows
    assert (first["mode"], first["state"], first["attempts"], first["last_result"]) == ("NL", "armed", 0, "")
    assert first["recalled_at"] is None
    assert 3500 <= first["remaining"] <= 3540
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", first["armed_at"])
    assert second["recalled_at"] == second["armed_at"]


HOSTILE = "\x1b]0;owned\x07 \x9b2J \x7f \u202e"


def test_what_a_phone_said_cannot_drive_the_terminal(tmp_path):
    """Its reason phrase is the last result."""
    store = Store(LmdbTables(tmp_path / "data"))
    store.put_watch(Watch(BOB, ALICE, now(), now() + HOUR, b"c", b"sip:alice@192.0.2.1", last_result=HOSTILE))
    store.commit()
    store.close()
    table = sipfast_command("watches", "--data", tmp_path / "data").stdout
    rows = sipfast_command("watches", "--json", "--data", tmp_path / "data").stdout
    for text in (table, rows):
        assert text.replace("\n", "").isprintable()
    assert r"\x1b]0;owned\x07 \x9b2J \x7f \u202e" in table
    assert json.loads(rows)[0]["last_result"] == HOSTILE  # a program reads what it was


def test_an_empty_list_says_so(tmp_path):
    Store(LmdbTables(tmp_path / "data")).close()
    for name in ("watches", "bindings"):
        assert sipfast_command(name, "--data", tmp_path / "data").stdout == f"no {name} in {tmp_path / 'data'}\n"
        assert json.loads(sipfast_command(name, "--json", "--data", tmp_path / "data").stdout) == []


@pytest.mark.parametrize(
    "arguments",
    [["watches"], ["watches", "cancel", "a@b", "c@d"], ["bindings", "remove", "a@b"], ["phones"], ["phones", "--forget"]],
)
def test_a_missing_data_directory_is_not_made(tmp_path, arguments):
    line = one_line(sipfast_command(*arguments, "--data", tmp_path / "none"), 2)
    assert line.startswith(f"sipfast: {tmp_path / 'none'}: ")
    assert one_line(sipfast_command(*arguments, folder=tmp_path), 2).startswith("sipfast: sipfast-data: ")
    assert list(tmp_path.iterdir()) == []


def test_the_data_directory_of_a_configuration_is_found_and_a_flag_comes_before_it(data, tmp_path):
    path = tmp_path / "sipfast.toml"
    path.write_text(f'[store]\ndata = "{data}"\n')
    assert "bob@example.com" in sipfast_command("watches", "--config", path).stdout
    assert "bob@example.com" in sipfast_command("watches", "list", "--config", path).stdout
    path.write_text('[store]\ndata = "/nowhere"\n')
    assert "bob@example.com" in sipfast_command("watches", "--config", path, "--data", data).stdout


@pytest.mark.parametrize("callee", ["bob@example.com", "sip:bob@example.com", "SIP:bob@EXAMPLE.com:5060;user=phone"])
def test_a_watch_is_cancelled_by_its_pair(data, callee):
    done = sipfast_command("watches", "cancel", callee, "alice@example.com", "--data", data)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "cancelled: alice@example.com does not wait for bob@example.com any more\n"
    assert [row["callee"] for row in json.loads(sipfast_command("watches", "--json", "--data", data).stdout)] == [
        "sip:carol@example.com"
    ]
    line = one_line(sipfast_command("watches", "cancel", callee, "alice@example.com", "--data", data), 1)
    assert line == f"sipfast: {data}: no watch of alice@example.com for bob@example.com"


def test_a_store_that_is_none_is_said_and_left_alone(tmp_path):
    place = tmp_path / "data"
    place.mkdir()
    (place / "data.mdb").write_bytes(b"not a store" * 1000)
    for arguments in (["watches"], ["watches", "cancel", "a@b", "c@d"], ["bindings", "remove", "a@b"]):
        line = one_line(sipfast_command(*arguments, "--data", place), 2)
        assert line.startswith(f"sipfast: {place}: ")
    assert (place / "data.mdb").read_bytes() == b"not a store" * 1000


# bindings


def test_bindings_are_listed(data):
    done = sipfast_command("bindings", "--data", data)
    header, *rows = (re.split(r"\s{2,}", line) for line in done.stdout.splitlines())
    assert header == ["aor", "contact", "expires at", "q", "received from"]
    assert [row[:2] for row in rows[:2]] == [
        ["alice@example.com", "sip:alice@192.0.2.1:5062"],
        ["alice@example.com", "sip:alice@192.0.2.9"],
    ]
    assert rows[0][3:] == ["0.5", "udp:192.0.2.1:5062"]
    assert rows[0][2].endswith("(in 59 min)")
    assert rows[2][1] == r"sip:\x1b[2J\xff@h"  # nothing from the wire drives the terminal


def test_bindings_as_json(data):
    rows = json.loads(sipfast_command("bindings", "list", "--json", "--data", data).stdout)
    assert len(rows) == 3
    assert rows[0]["aor"] == "sip:alice@example.com"
    assert rows[0]["contact"] == "sip:alice@192.0.2.1:5062"
    assert (rows[0]["q"], rows[0]["received_from"]) == (0.5, "udp:192.0.2.1:5062")


@pytest.mark.parametrize(
    ("contact", "said", "left"),
    [
        ([], "removed: 3 of alice@example.com, 0 left\n", []),
        (["sip:alice@192.0.2.9"], "removed: 1 of alice@example.com, 2 left\n", ["sip:alice@192.0.2.1:5062"]),
        (["<SIP:alice@192.0.2.9>"], "removed: 1 of alice@example.com, 2 left\n", ["sip:alice@192.0.2.1:5062"]),
    ],
    ids=["all", "one", "the same URI by RFC 3261 section 19.1.4"],
)
def test_bindings_are_removed(data, contact, said, left):
    done = sipfast_command("bindings", "remove", "alice@example.com", *contact, "--data", data)
    assert (done.returncode, done.stdout, done.stderr) == (0, said, "")
    rows = json.loads(sipfast_command("bindings", "--json", "--data", data).stdout)
    assert [row["contact"] for row in rows if "alice" in row["aor"]] == left


def test_bindings_that_are_not_there_cannot_be_removed(data):
    line = one_line(sipfast_command("bindings", "remove", "bob@example.com", "--data", data), 1)
    assert line == f"sipfast: {data}: bob@example.com has no bindings"
    line = one_line(sipfast_command("bindings", "remove", "alice@example.com", "sip:x@y", "--data", data), 1)
    assert line == f"sipfast: {data}: alice@example.com has no binding sip:x@y"
    line = one_line(sipfast_command("bindings", "remove", "alice@example.com", "x y", "--data", data), 2)
    assert line.startswith("sipfast: 'x y' is not a contact URI")


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (-1, "0 s"),
        (0, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (3599, "59 min"),
        (3600, "1 h 0 min"),
        (86_399, "23 h 59 min"),
        (86_400, "1 d 0 h"),
        (864_000, "10 d 0 h"),
    ],
)
def test_durations(seconds, shown):
    assert duration(seconds) == shown


def test_what_is_not_printable_is_escaped():
    assert printable("Zoë\x1b\u202e\n") == "Zoë\\x1b\\u202e\\n"


def test_a_reader_that_has_seen_enough_is_no_error(data):
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "sipfast", "watches", "--data", str(data)]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, env=environment(), timeout=60, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")
