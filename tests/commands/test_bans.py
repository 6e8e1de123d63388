"""`sipfast bans`: who is banned, and bans made and ended by hand, in the memory that a running server's workers share."""

import json
import mmap

import pytest
from command import one_line, sipfast_command

from sipfast._flow import Flow
from sipfast.config import Config, Rates, Storage
from sipfast.node import clock, worker
from sipfast.store.backends.lmdb import LmdbTables
from sipfast.store.repository import Store
from sipfast.trust.limiter import Limiter


@pytest.fixture
def served(data):
    """The store of a server that has run, with its limiter and its time."""
    with_limits = worker.open_limits(Config(store=Storage(data=str(data))))
    assert isinstance(with_limits, mmap.mmap)
    store = Store(LmdbTables(data))
    now, _ = clock.now_and_ahead(store)
    limiter = Limiter(Rates(ban_after=100, source_new=1), int.from_bytes(store.secret()[:8], "big"), with_limits)
    store.close()
    return limiter, now


def test_a_source_that_the_server_banned_is_listed(data, served):
    limiter, now = served
    for _ in range(200):
        limiter.admits(b"INVITE sip:a@b", Flow("192.0.2.66", 5060), now)
    rows = json.loads(sipfast_command("bans", "--json", "--data", data).stdout)
    assert [row["source"] for row in rows] == ["192.0.2.66"]
    assert "192.0.2.66" in sipfast_command("bans", "list", "--data", data).stdout
    done = sipfast_command("bans", "--nft", "--data", data)
    assert done.stdout.startswith("add element inet sipfast bans4 { 192.0.2.66 timeout ")


@pytest.mark.parametrize(("address", "listed"), [("192.0.2.66", "192.0.2.66"), ("2001:db8::66", "2001:db8::/64")])
def test_a_ban_is_made_and_ended_by_hand_while_the_server_runs(data, served, address, listed):
    limiter, now = served
    done = sipfast_command("bans", "add", address, "600", "--data", data)
    assert (done.returncode, done.stdout) == (0, f"banned for 600 s: {address}\n")
    assert [source for source, _ in limiter.bans(now)] == [listed]
    assert limiter.admits(b"REGISTER sip:b", Flow(address, 9), now) == 1
    assert sipfast_command("bans", "remove", listed, "--data", data).returncode == 0
    assert limiter.admits(b"REGISTER sip:b", Flow(address, 9), now) == 0


def test_what_is_wrong_is_said_in_one_line(data, served):
    limiter, now = served
    limiter.note_registered(Flow("192.0.2.7", 5060), now)
    assert "'x' is no IP address" in one_line(sipfast_command("bans", "add", "x", "--data", data), 2)
    assert "'soon' is no number" in one_line(sipfast_command("bans", "add", "192.0.2.1", "soon", "--data", data), 2)
    assert "phones are registered there" in one_line(sipfast_command("bans", "add", "192.0.2.7", "--data", data), 1)
    assert "192.0.2.1 is not banned" in one_line(sipfast_command("bans", "remove", "192.0.2.1", "--data", data), 1)


def test_where_no_server_has_run_nobody_is_banned(data):
    done = sipfast_command("bans", "--data", data)
    assert "nobody is banned" in done.stderr + done.stdout
    assert "no server has run here" in one_line(sipfast_command("bans", "add", "192.0.2.1", "--data", data), 1)
