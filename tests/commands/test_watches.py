"""`sipfast watches`: the list, and the end of one by hand. `watches show` is in test_history."""

import json
import re
import time

import pytest
from command import one_line, sipfast_command

from sipfast.store.backends.lmdb import LmdbTables
from sipfast.store.records import Watch
from sipfast.store.repository import Store

HOSTILE = "\x1b]0;owned\x07 \x9b2J \x7f \u202e"


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


def test_what_a_phone_said_cannot_drive_the_terminal(tmp_path):
    """Its reason phrase is the last result."""
    store, now = Store(LmdbTables(tmp_path / "data")), time.time_ns() // 1_000_000
    bob, alice = b"sip:bob@example.com", b"sip:alice@example.com"
    store.put_watch(Watch(bob, alice, now, now + 3_600_000, b"c", b"sip:alice@192.0.2.1", last_result=HOSTILE))
    store.commit()
    store.close()
    table = sipfast_command("watches", "--data", tmp_path / "data").stdout
    rows = sipfast_command("watches", "--json", "--data", tmp_path / "data").stdout
    for text in (table, rows):
        assert text.replace("\n", "").isprintable()
    assert r"\x1b]0;owned\x07 \x9b2J \x7f \u202e" in table
    assert json.loads(rows)[0]["last_result"] == HOSTILE  # a program reads what it was


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
