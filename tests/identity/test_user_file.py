"""The file of users: read whole and quickly, replaced whole, and every mistake is one line."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import time
from pathlib import Path

import pytest
from msgspec.structs import replace

from sipfast.errors import ConfigError
from sipfast.identity.user_file import (
    Record,
    kept,
    load_users,
    parse_imported,
    read_records,
    secrets_of,
    write_records,
)  # fmt: skip

ALICE = Record(user="alice", realm="example.com", **secrets_of("alice", "example.com", "secret"))
SALES = Record(user="bob", realm="example.com", aors=("sip:bob@example.com", "sip:sales@example.org"), md5="0" * 32)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "users"


def test_what_is_written_is_read(path: Path) -> None:
    write_records(path, [ALICE, SALES])
    users = load_users(path)
    assert users.count == 2
    alice, bob = users.get(b"example.com", b"alice"), users.get(b"example.com", b"bob")
    assert alice is not None and bob is not None
    assert alice.md5 == hashlib.md5(b"alice:example.com:secret").hexdigest().encode()  # RFC 7616 §3.4.2
    assert alice.sha256 == hashlib.sha256(b"alice:example.com:secret").hexdigest().encode()
    assert (alice.aors, bob.aors) == ((b"sip:alice@example.com",), (b"sip:bob@example.com", b"sip:sales@example.org"))
    assert users.offered(b"example.com") == {"MD5"}
    assert users.get(b"example.com", b"carol") is None and users.get(b"example.org", b"alice") is None
    assert b"secret" not in path.read_bytes()


def test_rights_are_written_and_read(path: Path) -> None:
    """They hold for all addresses of a user; a file from before there were any is read as it was."""
    write_records(path, [ALICE, replace(SALES, watchers=("sip:alice@example.com", "@example.org"), anonymous=False)])
    alice, bob = path.read_text().splitlines()
    assert not {"watch", "watchers", "anonymous"} & json.loads(alice).keys()
    assert json.loads(bob)["watchers"] == ["sip:alice@example.com", "@example.org"] and "watch" not in json.loads(bob)
    assert [record for _, record in read_records(path)][1].anonymous is False
    users = load_users(path)
    for callee in (b"sip:bob@example.com", b"sip:sales@example.org"):
        assert users.refused(callee, b"sip:alice@example.com") is None
        assert users.refused(callee, b"sip:x@example.org") is None
        assert users.refused(callee, b"sip:carol@example.com")
        assert users.refused(callee, b"sip:alice@example.com", True)
    assert users.refused(b"sip:alice@example.com", b"sip:carol@example.com", True) is None
    write_records(path, [replace(ALICE, watch=False)])
    assert load_users(path).refused(b"sip:alice@example.com", b"sip:carol@example.com") == "its callee lets nobody watch"


def test_the_file_is_its_owners_alone(path: Path) -> None:
    old = os.umask(0)
    try:
        with kept(path) as records:
            records.append(ALICE)
        path.chmod(0o644)
        with kept(path) as records:
            records.append(SALES)
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_fails_leaves_the_file_as_it_was(path: Path) -> None:
    write_records(path, [ALICE])
    before = path.read_bytes()
    with pytest.raises(RuntimeError), kept(path) as records:
        records.clear()
        raise RuntimeError
    assert path.read_bytes() == before
    assert [each.name for each in path.parent.iterdir() if "lock" not in each.name] == ["users"]


@pytest.mark.parametrize(("text", "reason"), [
    ("x\n", "line 1: "), ("\n{}\n", "line 2: "), ('{"user":"a","realm":"r","md5":"00"}', "line 1: md5 is not 32 hex digits"),
    ('{"user":"a","realm":"r"}', "line 1: neither md5 nor sha256"),
    ('{"user":"a:b","realm":"r","md5":"%s"}' % ("0" * 32), "colon"),
    ('{"user":"a","realm":"r","md5":"%s","aors":["bob"]}' % ("0" * 32), "bob is not an address of record"),
    ('{"user":"a","realm":"r","md5":"%s","watchers":["alice"]}' % ("0" * 32), "alice is neither an address of record"),
    ('{"user":"a","realm":"r","md5":"%s","watchers":["@"]}' % ("0" * 32), "@ is neither"),
    ('{"user":"a","realm":"r","md5":"%s","watch":0}' % ("0" * 32), "watch"),
    ('{"user":"a","realm":"r","md5":"%s","other":1}' % ("0" * 32), "other"), ('{"user":"\udcff"}', "line 1: "),
])  # fmt: skip
def test_each_mistake_is_one_line(path: Path, text: str, reason: str) -> None:
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ConfigError) as caught:
        load_users(path)
    assert str(caught.value).startswith(f"{path}: ") and reason in str(caught.value) and "\n" not in str(caught.value)


def test_a_file_that_is_not_there(path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read the users"):
        load_users(path)


def test_the_same_name_twice_and_no_algorithm_in_common(path: Path) -> None:
    write_records(path, [ALICE, ALICE])
    with pytest.raises(ConfigError, match="line 2: alice is there twice"):
        load_users(path)
    write_records(path, [SALES, Record(user="c", realm="example.com", sha256="0" * 64)])
    with pytest.raises(ConfigError, match="no algorithm in common"):
        load_users(path)


def test_many_users_are_read_with_rests(path: Path) -> None:
    """The loop has its turn in between; how long all takes, benchmarks/bench_users.py measures."""
    many = (Record(user=f"u{n}", realm="example.com", md5=f"{n:032x}", sha256=f"{n:064x}") for n in range(20_000))
    write_records(path, many)
    rests: list[None] = []
    assert load_users(path, lambda: rests.append(None)).count == 20_000
    assert len(rests) >= 20


def test_rights_cost_others_nothing_and_those_who_have_them_little(path: Path) -> None:
    def took(**rights: object) -> float:
        write_records(path, (Record(user=f"u{n}", realm="example.com", md5=f"{n:032x}", **rights) for n in range(20_000)))  # type: ignore[arg-type]
        times = []
        for _ in range(3):
            began = time.process_time()
            load_users(path)
            times.append(time.process_time() - began)
        return min(times)

    assert took(watch=False, watchers=("sip:alice@example.com", "@example.org"), anonymous=False) < 3 * took()


def test_imports() -> None:
    hashed = list(parse_imported(["# a list", "", "alice:example.com:" + "A" * 32], plain=False, realm=""))
    assert hashed == [Record(user="alice", realm="example.com", md5="a" * 32)]
    plain, = parse_imported(["alice@Example.com:pass:word"], plain=True, realm="")
    assert plain == Record(user="alice", realm="example.com", **secrets_of("alice", "example.com", "pass:word"))
    plain, = parse_imported(["alice@example.com:x"], plain=True, realm="all")
    assert (plain.realm, plain.own) == ("all", ("sip:alice@example.com",))
    for line in ("alice", "alice:example.com:00", "a:b:c:d:e"):
        with pytest.raises(ConfigError, match="line 1: "):
            list(parse_imported([line], plain=False, realm=""))
    for line in ("alice:x", "alice@example.com", "alice@example.com:"):
        with pytest.raises(ConfigError, match="line 1: "):
            list(parse_imported([line], plain=True, realm=""))


def test_records_are_read_in_their_order(path: Path) -> None:
    write_records(path, [SALES, ALICE])
    assert list(read_records(path)) == [(1, SALES), (2, ALICE)]
