"""Watches that are over, and what came of their recalls: kept by the store in the batch that ends them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import lmdb
import msgspec
import pytest
from command import sipfast_command
from net import scene as scenes
from net.cluster import Cluster
from net.redialing import ALICE, BOB, arm, armed, come_back, stage
from net.scene import Scene
from net.stores import MemoryStore, count_watches

from sipfast.config import Config, Redial
from sipfast.store.backends.lmdb import LmdbTables
from sipfast.store.records import MOST_ATTEMPTS, MOST_ENDED, Ended, Watch
from sipfast.store.repository import Store

# What the store keeps


@pytest.fixture(params=["memory", "lmdb"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    made: Store = MemoryStore() if request.param == "memory" else Store(LmdbTables(tmp_path / "data"))
    yield made
    made.close()


def over(number: int) -> Ended:
    watch = Watch(BOB, b"sip:caller%d@example.com" % number, number, 1_000_000, b"c", b"sip:x@192.0.2.1")
    return Ended(watch, 1_000 + number, "answered", ((number, "202 Accepted; answered"),))


def test_the_last_ones_are_kept_and_no_more(store: Store) -> None:
    for number in range(MOST_ENDED + 5):
        store.put_ended(over(number))
    store.commit()
    assert store.ended() == [over(number) for number in reversed(range(5, MOST_ENDED + 5))]


def test_what_is_not_committed_is_not_there(store: Store) -> None:
    store.put_ended(over(1))
    store.commit()
    store.put_ended(over(2))
    store.put_attempt(BOB, ALICE, 1, "x")
    store.abort()
    assert store.ended() == [over(1)] and store.attempts(BOB, ALICE) == ()


def test_attempts_are_those_of_the_pair_and_bounded(store: Store) -> None:
    for number in range(MOST_ATTEMPTS + 3):
        store.put_attempt(BOB, ALICE, number, f"result {number}")
    store.commit()
    assert store.attempts(BOB, ALICE) == tuple((n, f"result {n}") for n in range(3, MOST_ATTEMPTS + 3))
    assert store.attempts(ALICE, BOB) == ()


def test_attempts_go_with_their_watch(store: Store) -> None:
    for caller in (ALICE, b"sip:carol@example.com"):
        store.put_watch(msgspec.structs.replace(over(1).watch, caller=caller))
        store.put_attempt(BOB, caller, 1, "no answer to REFER")
    store.commit()
    assert store.delete_watch(BOB, ALICE)
    assert store.attempts(BOB, ALICE) == () and store.attempts(BOB, b"sip:carol@example.com")
    store.abort()
    assert store.attempts(BOB, ALICE)


def test_a_store_that_has_never_kept_any_is_read_and_written(tmp_path: Path) -> None:
    """One of a version that did not know of them has the same format."""

    LmdbTables(tmp_path / "data").close()
    with lmdb.open(str(tmp_path / "data"), max_dbs=2) as env, env.begin(write=True) as txn:
        for name in (b"attempts", b"ended"):
            txn.drop(env.open_db(name, txn))
    with_none = Store(LmdbTables(tmp_path / "data", readonly=True))
    assert with_none.ended() == [] and with_none.attempts(BOB, ALICE) == ()
    with_none.close()
    again = Store(LmdbTables(tmp_path / "data"))
    again.put_ended(over(1))
    again.commit()
    assert again.ended() == [over(1)]
    again.close()


# What redial writes


def test_an_answered_recall_with_what_the_phone_said() -> None:
    scene, _, bob = armed()
    come_back(scene, bob)
    scene.run(5_000)
    (ended,) = scene.store.ended()
    assert (ended.watch.callee, ended.watch.caller, ended.reason) == (BOB, ALICE, "answered")
    assert [result for _, result in ended.attempts] == ["202 Accepted; answered"]
    assert ended.watch.armed_at < ended.attempts[0][0] <= ended.ended_at


def test_every_attempt_is_there_over_a_restart() -> None:
    scene, alice, bob = armed({"attempts": 3, "retry_pause": 10.0, "recall_timeout": 1.0})
    alice.on_refer = "idle"
    come_back(scene, bob)
    scene.run(15_000)  # two attempts
    scene.server.crash(scene.now)
    scene.run(60_000)
    (ended,) = scene.store.ended()
    assert ended.reason == "attempts used up" and ended.watch.attempts == 3
    assert [result for _, result in ended.attempts] == ["202 Accepted; no call after REFER"] * 3
    times = [at for at, _ in ended.attempts]
    assert times == sorted(set(times))
    assert scene.store.attempts(BOB, ALICE) == ()


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        (lambda scene, alice: scene.run(301_000), "monitoring period over"),
        (lambda scene, alice: arm(scene, alice, 0), "cancelled by the caller"),
    ],
    ids=["its period is over", "Expires: 0"],
)
def test_a_watch_without_a_recall(act: Callable[..., object], reason: str) -> None:
    scene, alice, _ = stage()
    arm(scene, alice, 300)
    act(scene, alice)
    (ended,) = scene.store.ended()
    assert (ended.reason, ended.attempts) == (reason, ())


@pytest.mark.parametrize("place", range(4))
def test_of_several_workers_one_keeps_it(monkeypatch: pytest.MonkeyPatch, place: int) -> None:
    monkeypatch.setattr(scenes, "Server", Cluster)
    scene = Scene(Config(redial=Redial()))
    scene._places = place
    alice, bob = scene.phone("alice"), scene.phone("bob", register=False)
    arm(scene, alice)
    come_back(scene, bob)
    scene.run(5_000)
    (ended,) = scene.store.ended()
    assert ended.reason == "answered" and len(ended.attempts) == 1


def test_in_a_storm_a_sample_is_kept() -> None:
    """Nobody reads more, and those who call shall not wait for it."""
    scene = Scene(Config(redial=Redial(per_callee=1_000)))
    peer = scene.peer("callers")
    for number in range(400):
        peer.ask("INVITE", "sip:bob@example.com", sender=f"<sip:u{number}@example.com>;tag=1", headers=[("Expires", "300")])
        scene.run(1)
    scene.run(301_000)
    assert count_watches(scene.store) == 0
    assert 200 <= len(scene.store.ended()) < 300


# What people see


@pytest.fixture
def data(tmp_path: Path) -> Path:
    made = Store(LmdbTables(tmp_path / "data"))
    for number in range(2):
        made.put_ended(over(number))
    hostile = over(2)
    made.put_ended(Ended(hostile.watch, 5_000_000, "\x1b[2J", ((4_000_000, "603 \x9b2J"),)))
    made.commit()
    made.close()
    return tmp_path / "data"


@pytest.mark.parametrize("arguments", [["watches", "list", "--ended"], ["watches", "--ended"]], ids=" ".join)
def test_they_are_listed_the_last_one_first(data: Path, arguments: list[str]) -> None:
    done = sipfast_command(*arguments, "--data", data)
    assert (done.returncode, done.stderr) == (0, "")
    lines = [re.split(r"\s{2,}", line.strip()) for line in done.stdout.splitlines()]
    assert lines[0] == ["ended at", "callee", "caller", "waited", "what became of it"]
    assert lines[1][1:] == ["bob@example.com", "caller2@example.com", "1 h 23 min", r"\x1b[2J"]
    assert lines[2][1:] == ["recall", r"603 \x9b2J"]
    assert lines[3][1:] == ["bob@example.com", "caller1@example.com", "1 s", "answered"]
    assert lines[4][1:] == ["recall", "202 Accepted; answered"]
    assert done.stdout.replace("\n", "").isprintable()


def test_they_are_listed_as_json(data: Path) -> None:
    rows = json.loads(sipfast_command("watches", "list", "--ended", "--json", "--data", data).stdout)
    assert [row["caller"] for row in rows] == [f"sip:caller{number}@example.com" for number in (2, 1, 0)]
    assert rows[1]["reason"] == "answered" and rows[1]["recalls"][0]["result"] == "202 Accepted; answered"


def test_none_is_said(tmp_path: Path) -> None:
    Store(LmdbTables(tmp_path / "data")).close()
    done = sipfast_command("watches", "list", "--ended", "--data", tmp_path / "data")
    assert done.stdout == f"no watch in {tmp_path / 'data'} has ended yet\n"


def test_one_that_is_cancelled_by_hand_is_there(tmp_path: Path) -> None:
    made = Store(LmdbTables(tmp_path / "data"))
    made.put_watch(Watch(BOB, ALICE, 1, 1 << 50, b"c", b"sip:alice@192.0.2.1"))
    made.put_attempt(BOB, ALICE, 5, "REFER got 501 Not Implemented")
    made.commit()
    made.close()
    data = made.tables.where
    assert sipfast_command("watches", "cancel", "bob@example.com", "alice@example.com", "--data", data).returncode == 0
    (row,) = json.loads(sipfast_command("watches", "list", "--ended", "--json", "--data", data).stdout)
    assert row["reason"] == "cancelled by hand"
    assert [each["result"] for each in row["recalls"]] == ["REFER got 501 Not Implemented"]
