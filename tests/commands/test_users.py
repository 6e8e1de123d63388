"""`sipfast users`: who has a password."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from command import one_line, sipfast_command


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "users"


def users(path: Path, *arguments: object, typed: str = "") -> Any:
    return sipfast_command("users", *arguments, "--users", path, typed=typed)


def listed(path: Path) -> list[dict[str, Any]]:
    done = users(path, "list", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def test_add_change_and_remove(path: Path) -> None:
    assert users(path, "add", "alice@example.com", "--alias", "sales@example.com", typed="one\n").returncode == 0
    assert listed(path) == [{
        "user": "alice", "realm": "example.com", "algorithms": ["md5", "sha256"],
        "aors": ["sip:alice@example.com", "sip:sales@example.com"], "watch": True, "watchers": [], "anonymous": True,
    }]  # fmt: skip
    assert json.loads(path.read_text())["md5"] == hashlib.md5(b"alice:example.com:one").hexdigest()
    assert users(path, "passwd", "sales@example.com", typed="two\n").returncode == 0
    assert json.loads(path.read_text())["md5"] == hashlib.md5(b"alice:example.com:two").hexdigest()
    done = users(path, "list")
    assert "alice" in done.stdout and json.loads(path.read_text())["md5"] not in done.stdout
    assert users(path, "remove", "alice@example.com").returncode == 0
    assert listed(path) == []


def rights_of(path: Path) -> tuple[bool, list[str], bool]:
    found = listed(path)[0]
    return found["watch"], found["watchers"], found["anonymous"]


def test_rights(path: Path) -> None:
    """Each is changed alone, by any address of the user, and the password stays."""
    users(path, "add", "alice@example.com", "--alias", "sales@example.com", typed="one\n")
    before = json.loads(path.read_text())
    done = users(path, "rights", "sales@example.com", "--watchers", "bob@Example.com, @EXAMPLE.org")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "changed: alice in the realm example.com is watched by bob@example.com, @example.org\n"
    assert rights_of(path) == (True, ["sip:bob@example.com", "@example.org"], True)
    users(path, "rights", "alice@example.com", "--no-anonymous")
    assert "bob@example.com, @example.org, not anonymous" in users(path, "list").stdout
    users(path, "rights", "alice@example.com", "--no-watch")
    assert rights_of(path) == (False, ["sip:bob@example.com", "@example.org"], False)
    users(path, "rights", "alice@example.com", "--watch", "--anybody", "--anonymous")
    assert rights_of(path) == (True, [], True)
    assert json.loads(path.read_text()) == before


@pytest.mark.parametrize(("arguments", "status", "says"), [
    (("alice@example.com",), 2, "which right?"), (("nobody@example.com", "--no-watch"), 1, "nobody is nobody@example.com"),
    (("alice@example.com", "--watchers", "bob"), 2, "'bob' is not an address of record"),
    (("alice@example.com", "--watchers", "@"), 2, "@ is neither an address of record"),
    (("alice@example.com", "--watchers", ","), 2, "--watchers names nobody"),
])  # fmt: skip
def test_rights_that_cannot_be(path: Path, arguments: tuple[str, ...], status: int, says: str) -> None:
    users(path, "add", "alice@example.com", typed="one\n")
    before = path.read_bytes()
    assert says in one_line(users(path, "rights", *arguments), status)
    assert path.read_bytes() == before


def test_rights_from_the_start(tmp_path: Path, path: Path) -> None:
    users(path, "add", "alice@example.com", "--no-watch", typed="one\n")
    assert rights_of(path) == (False, [], True)
    path.unlink()
    (tmp_path / "list").write_text(f"alice:example.com:{'0' * 32}\nbob:example.com:{'1' * 32}\n")
    done = users(path, "import", tmp_path / "list", "--watchers", "@example.com", "--no-anonymous")
    assert (done.returncode, done.stdout) == (0, "added: 2\n")
    assert {(tuple(each["watchers"]), each["anonymous"]) for each in listed(path)} == {(("@example.com",), False)}


def test_no_md5_where_it_is_not_wanted(path: Path) -> None:
    assert users(path, "add", "alice@example.com", "--sha256-only", typed="one\n").returncode == 0
    assert users(path, "passwd", "alice@example.com", typed="two\n").returncode == 0
    assert listed(path)[0]["algorithms"] == ["sha256"]


def test_a_realm_of_all(tmp_path: Path, path: Path) -> None:
    (tmp_path / "c.toml").write_text('users = "users"\n[passwords]\nrealm = "all"\n')
    done = sipfast_command("users", "add", "alice@example.com", "--config", tmp_path / "c.toml", typed="one\n")
    assert done.returncode == 0
    assert (listed(path)[0]["realm"], listed(path)[0]["aors"]) == ("all", ["sip:alice@example.com"])


def test_import(tmp_path: Path, path: Path) -> None:
    (tmp_path / "list").write_text(f"alice:example.com:{'0' * 32}\nbob:example.com:{'1' * 32}\n")
    done = users(path, "import", tmp_path / "list")
    assert (done.returncode, done.stdout) == (0, "added: 2\n")
    assert "alice is there already" in one_line(users(path, "import", tmp_path / "list"), 2)
    (tmp_path / "plain").write_text("carol@example.com:secret\nbroken\n")
    assert "line 2" in one_line(users(path, "import", "--plain", tmp_path / "plain"), 2)
    assert len(listed(path)) == 2


@pytest.mark.parametrize(("arguments", "typed", "status", "says"), [
    (("add", "alice@example.com"), "x\n", 2, "alice is there already"),
    (("add", "bob@example.com", "--alias", "alice@example.com"), "x\n", 2, "acts for sip:alice@example.com already"),
    (("add", "bob@example.com"), "\n", 2, "an empty password"),
    (("add", "bob"), "x\n", 2, "not an address of record"),
    (("add", "bob@example.com", "--name", "a:b"), "x\n", 2, "colon"),
    (("passwd", "bob@example.com"), "x\n", 1, "nobody is bob@example.com"),
    (("remove", "bob@example.com"), "", 1, "nobody is bob@example.com"),
])  # fmt: skip
def test_what_is_wrong_is_one_line(path: Path, arguments: Any, typed: str, status: int, says: str) -> None:
    assert users(path, "add", "alice@example.com", typed="one\n").returncode == 0
    before = path.read_bytes()
    assert says in one_line(users(path, *arguments, typed=typed), status)
    assert path.read_bytes() == before


def test_which_file() -> None:
    assert "--users FILE" in one_line(sipfast_command("users", "list"), 2)
