"""`sipfast watches show CALLEE CALLER`: why she was not called back."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from command import one_line, sipfast_command
from msgspec.structs import replace

from sipfast.node import clock
from sipfast.observe.steps import life_of
from sipfast.store.backends.lmdb import LmdbTables
from sipfast.store.records import Binding, Ended, Watch
from sipfast.store.repository import Store

BOB, ALICE = b"sip:bob@example.com", b"sip:alice@example.com"
HOUR = 3_600_000


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(LmdbTables(tmp_path / "data"))
    clock.begin(made)
    yield made
    made.close()


def show(folder: Path, *more: str) -> list[str]:
    done = sipfast_command("watches", "show", "bob@example.com", "sip:alice@example.com", "--data", folder / "data", *more)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def waiting(store: Store, ago: int = HOUR // 2, **more: object) -> Watch:
    """A watch of an hour."""
    now, _ = clock.now_and_ahead(store)
    watch = Watch(BOB, ALICE, now - ago, now - ago + HOUR, b"c", b"sip:alice@192.0.2.1", **more)  # type: ignore[arg-type]
    store.put_watch(watch)
    store.commit()
    return watch


def bind(store: Store, **more: object) -> None:
    now, _ = clock.now_and_ahead(store)
    store.put_bindings(BOB, (Binding(b"sip:bob@192.0.2.2", now + HOUR, b"c", 1, **more),))  # type: ignore[arg-type]
    store.commit()


STILL: dict[str, tuple[Callable[[Store, int], object], str]] = {
    "not there": (lambda store, now: waiting(store), "armed: bob@example.com is not registered"),
    "refused": (
        lambda store, now: (
            bind(store),
            waiting(store, last_result="REFER got 603 Decline", not_before=now + 30_000, attempts=1),
        ),
        r"armed: REFER got 603 Decline; again in (1\d|2\d|30) s, or at bob@example.com's next login",
    ),
    "unproven": (
        lambda store, now: (bind(store), waiting(store, last_result="caller's address has proven nothing")),
        "armed: caller's address has proven nothing",
    ),
    "its turn": (lambda store, now: (bind(store), waiting(store)), r"armed: bob@example.com is registered, and .*"),
    "offered": (
        lambda store, now: waiting(store, ago=1_000, state="offered", offer=b"0 1928301774"),
        "offered: it is not armed: no ACK has come yet for the 480 that offers it to alice@example.com",
    ),
    "recalling": (
        lambda store, now: waiting(
            store, state="recalling", recalled_at=now, last_result="REFER sent", attempts=1, method="refer"
        ),
        "recalling: the recall goes on, by refer: REFER sent",
    ),
    "suspended": (
        lambda store, now: waiting(store, state="suspended", last_result="REFER got 486 Busy Here", agent=b"Desk 1.0"),
        "suspended: alice@example.com cannot take a recall now: REFER got 486 Busy Here; "
        "again when alice@example.com registers or has hung up",
    ),
    "suspended, with a pause": (
        lambda store, now: waiting(
            store, state="suspended", last_result="REFER got 486 Busy Here", agent=b"Desk 1.0", not_before=now + 30_000
        ),
        "suspended: alice@example.com cannot take a recall now: REFER got 486 Busy Here; "
        r"again in (1\d|2\d|30) s, or when alice@example.com registers or has hung up",
    ),
    "dead": (
        lambda store, now: (bind(store, doubtful=now - 60_000), waiting(store)),
        "armed: bob@example.com is registered, and no phone of theirs answers: "
        "waiting until one registers and answers again",
    ),
    "not answered": (
        lambda store, now: (
            bind(store),
            waiting(store, last_result="call got 487: rang and was not answered", not_before=now + HOUR, attempts=1),
        ),
        "armed: call got 487: rang and was not answered; again at bob@example.com's next login",
    ),
    "busy often": (
        lambda store, now: (bind(store), waiting(store, last_result="call got 486", not_before=now + 30_000, pauses=4)),
        r"armed: call got 486; again in (1\d|2\d|30) s",
    ),
    "over": (lambda store, now: waiting(store, ago=2 * HOUR), "armed: its monitoring period is over"),
}


@pytest.mark.parametrize(("do", "says"), STILL.values(), ids=STILL)
def test_why_there_was_no_call_yet(store: Store, tmp_path: Path, do: Callable[[Store, int], object], says: str) -> None:
    do(store, clock.now_and_ahead(store)[0])
    lines = show(tmp_path)
    waits = "is to wait" if says.startswith("offered") else "waits"
    assert lines[0] == f"alice@example.com {waits} for bob@example.com, not logged in (NL)"
    assert re.fullmatch(r"state       " + says, lines[-1])
    assert sum(line.startswith("recalled at ") for line in lines) == (says.startswith("recalling"))
    assert lines.count("phone       Desk 1.0") == says.startswith("suspended")
    (row,) = json.loads("\n".join(show(tmp_path, "--json")))
    assert re.fullmatch(says, f"{row['state']}: {row['why']}")


def test_all_lives_of_the_two_the_oldest_first(store: Store, tmp_path: Path) -> None:
    now, _ = clock.now_and_ahead(store)
    first = Watch(BOB, ALICE, now - 3 * HOUR, now, b"c", b"sip:alice@192.0.2.1", attempts=2)
    tries = ((now - 2 * HOUR - 60_000, "REFER got 501 \x1b[2J"), (now - 2 * HOUR, "no answer to REFER"))
    store.put_ended(Ended(first, now - 2 * HOUR, "attempts used up", tries))
    store.put_ended(Ended(replace(first, caller=b"sip:carol@example.com"), now, "answered", ()))
    store.put_ended(Ended(replace(first, armed_at=now - HOUR), now - HOUR + 5_000, "cancelled by the caller", ()))
    waiting(store)
    store.put_attempt(BOB, ALICE, now - 1_000, "no call after REFER")
    store.commit()
    text = "\n".join(show(tmp_path))
    assert text.replace("\n", "").isprintable()
    lives = [life.splitlines() for life in text.split("\n\n")]
    assert [life[-1].partition(": ")[2] for life in lives] == [
        "attempts used up", "cancelled by the caller", "bob@example.com is not registered"
    ]  # fmt: skip
    assert [line.partition(": ")[2] for line in lives[0][3:5]] == [r"REFER got 501 \x1b[2J", "no answer to REFER"]
    assert lives[0][1] == f"id          {life_of(BOB, ALICE, first.armed_at)}"
    assert "after 1 h 0 min: " in lives[0][-1] and "after 5 s: " in lives[1][-1]
    assert lives[2][3].endswith(": no call after REFER")
    rows = json.loads("\n".join(show(tmp_path, "--json")))
    assert [row["state"] for row in rows] == ["ended", "ended", "armed"]
    assert [len(row["recalls"]) for row in rows] == [2, 0, 1] and rows[2]["ended_at"] is None
    listed = json.loads(sipfast_command("watches", "--json", "--data", tmp_path / "data").stdout)
    assert [row["id"] for row in listed] == [rows[2]["id"]]


def test_of_two_of_whom_nothing_is_known(store: Store, tmp_path: Path) -> None:
    done = sipfast_command("watches", "show", "bob@example.com", "alice@example.com", "--data", tmp_path / "data")
    assert done.returncode == 1
    assert done.stdout.startswith("alice@example.com does not wait for bob@example.com, and has not ")
    done = sipfast_command("watches", "show", "bob@example.com", "alice@example.com", "--json", "--data", tmp_path / "data")
    assert (done.returncode, json.loads(done.stdout)) == (1, [])
    line = one_line(sipfast_command("watches", "show", "bob", "alice@x", "--data", tmp_path / "data"), 2)
    assert "'bob' is not an address of record" in line
