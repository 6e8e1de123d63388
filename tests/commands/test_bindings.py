"""`sipfast bindings`: the list, and what is removed by hand."""

import contextlib
import json
import re

import pytest
from command import one_line, sipfast_command

from sipfast.node import clock
from sipfast.store.backends.lmdb import LmdbTables
from sipfast.store.records import Binding
from sipfast.store.repository import Store


def test_bindings_are_listed(data):
    done = sipfast_command("bindings", "--data", data)
    header, *rows = (re.split(r"\s{2,}", line) for line in done.stdout.splitlines())
    assert header == ["aor", "contact", "expires at", "q", "received from", "in doubt since"]
    assert [row[:2] for row in rows[:2]] == [
        ["alice@example.com", "sip:alice@192.0.2.1:5062"],
        ["alice@example.com", "sip:alice@192.0.2.9"],
    ]
    assert rows[0][3:5] == ["0.5", "udp:192.0.2.1:5062"]
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


def test_a_phone_in_doubt_is_marked(tmp_path):
    """It answers nothing, and its user counts as not logged in."""
    with contextlib.closing(Store(LmdbTables(tmp_path / "data"))) as store:
        clock.begin(store)
        now, _ = clock.now_and_ahead(store)
        dead = Binding(b"sip:bob@192.0.2.1", now + 3_600_000, b"c", 1, doubtful=now - 60_000)
        store.put_bindings(b"sip:bob@example.com", (dead, Binding(b"sip:bob@192.0.2.2", now + 3_600_000, b"d", 1)))
        store.commit()
    _, *rows = sipfast_command("bindings", "--data", tmp_path / "data").stdout.splitlines()
    assert [len(re.findall(r"\d{4}-\d\d-\d\d", row)) for row in rows] == [2, 1]  # when it expires, and since when
    listed = json.loads(sipfast_command("bindings", "--json", "--data", tmp_path / "data").stdout)
    assert [bool(row["doubtful_since"]) for row in listed] == [True, False]
