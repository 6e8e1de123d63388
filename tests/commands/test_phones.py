"""`sipfast phones`, as a process: what is known of phones, how it is forgotten, and the profiles in force."""

import json
import re
import time
from pathlib import Path

import pytest
from command import one_line, sipfast_command

from sipfast.store.backends.lmdb import LmdbTables
from sipfast.store.records import AGENT, DEVICE, Note, Phone
from sipfast.store.repository import Store

DAY = 86_400_000
INSTANCE = b"<urn:uuid:1>"


@pytest.fixture
def data(tmp_path) -> Path:
    """A store in which two devices and a make are known, and one whose time is over."""
    path, at = tmp_path / "data", time.time_ns() // 1_000_000
    store = Store(LmdbTables(path))
    until = at + 30 * DAY - 60_000
    refused, worked = Note("refer", False, at, until), Note("callback", True, at, until)
    store.put_phone(Phone(AGENT, b"Acme 1.0", b"Acme 1.0", (refused, worked)))
    store.put_phone(Phone(DEVICE, INSTANCE, b"Acme 1.0", (refused, Note("b2bua", False, at - 9, at - 1))))
    store.put_phone(Phone(DEVICE, b"sip:a@192.0.2.1", b"\x1b[2J", (worked, Note("early-refer", False, at, until))))
    store.put_phone(Phone(DEVICE, b"sip:gone@192.0.2.1", b"", (Note("refer", True, at - DAY, at - 1),)))
    store.commit()
    store.close()
    return path


def known(data: Path) -> list[tuple[str | None, str, str, bool]]:
    rows = json.loads(sipfast_command("phones", "--json", "--data", data).stdout)
    return [(row["device"], row["agent"], row["method"], row["worked"]) for row in rows]


def test_what_is_known_is_listed_with_whose_it_is_and_until_when(data):
    done = sipfast_command("phones", "--data", data)
    assert (done.returncode, done.stderr) == (0, "")
    header, *rows = (re.split(r"\s{2,}", line) for line in done.stdout.splitlines())
    assert header == ["device", "User-Agent", "method", "it", "last seen", "forgotten"]
    assert [row[:4] for row in rows] == [
        ["any", "Acme 1.0", "refer", "was refused"],
        ["any", "Acme 1.0", "callback", "worked"],
        ["<urn:uuid:1>", "Acme 1.0", "refer", "was refused"],
        ["sip:a@192.0.2.1", r"\x1b[2J", "callback", "worked"],  # nothing from the wire drives the terminal
        ["sip:a@192.0.2.1", r"\x1b[2J", "early-refer", "was refused"],
    ]
    assert rows[0][5].endswith("(in 29 d 23 h)")


def test_what_is_known_as_json(data):
    assert known(data) == [
        (None, "Acme 1.0", "refer", False),
        (None, "Acme 1.0", "callback", True),
        ("<urn:uuid:1>", "Acme 1.0", "refer", False),
        ("sip:a@192.0.2.1", r"\x1b[2J", "callback", True),
        ("sip:a@192.0.2.1", r"\x1b[2J", "early-refer", False),
    ]
    (first, *_) = json.loads(sipfast_command("phones", "--json", "--data", data).stdout)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", first["at"])
    assert first["until"] > first["at"]


@pytest.mark.parametrize(
    ("name", "count", "left"),
    [("Acme 1.0", 1, 3), ("<urn:uuid:1>", 1, 4), (None, 4, 0)],
    ids=["a make", "a device", "all"],
)
def test_it_is_forgotten_by_name_or_altogether(data, name, count, left):
    done = sipfast_command("phones", "--data", data, "--forget", *([] if name is None else [name]))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"forgotten: {count}; ")
    assert len(known(data)) == left


def test_who_is_not_known_cannot_be_forgotten(data):
    line = one_line(sipfast_command("phones", "--data", data, "--forget", "Zoom"), 1)
    assert line == f"sipfast: {data}: nothing is known of Zoom: `phones` lists who is known"
    assert len(known(data)) == 5


def test_an_empty_list_says_so(tmp_path):
    Store(LmdbTables(tmp_path / "data")).close()
    said = sipfast_command("phones", "--data", tmp_path / "data").stdout
    assert said == f"nothing is known of any phone in {tmp_path / 'data'}\n"
    assert sipfast_command("phones", "--forget", "--data", tmp_path / "data").stdout.startswith("forgotten: 0; ")


def test_the_profiles_in_force_are_listed_in_their_order_with_their_sources(tmp_path):
    path = tmp_path / "a.toml"
    (tmp_path / "phones.toml").write_text('[[phone]]\nagent = "Zoom"\nrefuses = ["message"]\nsource = "told by Zoom"')
    path.write_text(
        '[redial]\nphones = "phones.toml"\n[[redial.phone]]\nagent = "Acme"\nobeys = ["refer"]\nrefer_after = 0.5\n'
        '[[redial.phone.credentials]]\nuser = "sipfast"\npassword = "secret4711"'
    )
    done = sipfast_command("phones", "--profiles", "--config", path, folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    header, first, second, *shipped = (re.split(r"\s{2,}", line.rstrip()) for line in done.stdout.splitlines())
    assert header == ["User-Agent", "obeys", "refuses", "how", "from", "source"]
    assert first == ["Acme", "refer", 'refer_after = 0.5, credentials = ["sipfast"]', "configuration"]
    assert second == ["Zoom", "message", "configuration", "told by Zoom"]
    assert any(row[0] == "Twinkle/1." and row[-1].startswith("tried: ") for row in shipped)
    rows = json.loads(sipfast_command("phones", "--profiles", "--json", "--config", path).stdout)
    assert [(row["agent"], row["from"]) for row in rows[:3]] == [
        ("Acme", "configuration"), ("Zoom", "configuration"), ("baresip v1.", "shipped"),
    ]  # fmt: skip
    assert "secret4711" not in done.stdout + json.dumps(rows)


def test_profiles_are_there_without_a_server_and_without_a_configuration(tmp_path):
    done = sipfast_command("phones", "--profiles", folder=tmp_path)
    assert done.returncode == 0
    assert "baresip-python" in done.stdout


def test_a_mistake_in_a_profile_is_told_in_one_line(tmp_path):
    path = tmp_path / "a.toml"
    path.write_text('[[redial.phone]]\nagent = "A"\nobeys = ["fax"]')
    line = one_line(sipfast_command("phones", "--profiles", "--config", path), 2)
    assert line.startswith(f'sipfast: {path}: redial.phone[0].obeys[0]: "fax" is not one of ')
