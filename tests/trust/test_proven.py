"""Which addresses have given back a secret of ours: what is kept of that, for how long, and for whom."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from net import scene as scenes
from net.calling import pair
from net.cluster import Cluster
from net.scene import Scene

from sipfast._flow import Flow
from sipfast.config import Config, Peer, Storage, Upstream
from sipfast.node import worker
from sipfast.trust.peers import Peers
from sipfast.trust.proven import Proven

SECRET = 0x0123456789ABCDEF
NOW = 1_700_000_000_000
HOUR = 3_600_000
PHONE = Flow("192.0.2.1", 5060)


def flows(count: int, port: int = 5060) -> list[Flow]:
    return [Flow(f"10.{i >> 16}.{i >> 8 & 255}.{i & 255}", port) for i in range(count)]


# What is kept


def test_an_address_is_a_host_and_a_port() -> None:
    proven = Proven(SECRET)
    proven.prove(PHONE, NOW)
    assert proven.is_proven(PHONE, NOW)
    assert proven.is_proven(Flow("192.0.2.1", 5060, local=1), NOW)
    assert not proven.is_proven(Flow("192.0.2.1", 5061), NOW)
    assert not proven.is_proven(Flow("192.0.2.2", 5060), NOW)


def test_a_proof_counts_for_two_days() -> None:
    proven = Proven(SECRET)
    proven.prove(PHONE, NOW)
    assert proven.is_proven(PHONE, NOW + 48 * HOUR)
    assert not proven.is_proven(PHONE, NOW + 49 * HOUR)
    assert not proven.is_proven(PHONE, NOW + 2 * 365 * 24 * HOUR)
    assert not proven.is_proven(PHONE, NOW - 2 * HOUR)  # of a clock that is another one's


def test_a_connection_needs_no_proof() -> None:
    assert Proven(SECRET).is_proven(Flow("192.0.2.1", 5060, transport="TCP", connection=7), NOW)


@pytest.mark.parametrize("memory", [bytearray(64), bytearray(1 << 16), bytearray(3 << 15)], ids=["64", "64 Ki", "96 Ki"])
def test_the_oldest_proof_makes_room(memory: bytearray) -> None:
    proven = Proven(SECRET, memory)
    many = flows(20_000)
    for i, flow in enumerate(many):
        proven.prove(flow, NOW + i * 5000)
        assert proven.is_proven(flow, NOW + i * 5000)
    known = [proven.is_proven(flow, NOW + 28 * HOUR) for flow in many]
    assert 8 <= sum(known) <= len(memory) // 8
    assert known[-1]
    assert not any(known[:100])


def test_memory_for_no_set_is_refused() -> None:
    with pytest.raises(ValueError, match="63 bytes"):
        Proven(SECRET, bytearray(63))


# Whom nobody needs to ask


@pytest.mark.parametrize(
    ("host", "known"),
    [("10.9.0.1", True), ("10.9.255.1", True), ("10.8.0.1", False), ("192.0.2.9", True), ("2001:db8::1", True)],
)
def test_servers_that_the_configuration_names_are_no_strangers(host: str, known: bool) -> None:
    peers = Peers([Peer(addresses=("10.9.0.0/16", "2001:db8::/32"))], ["192.0.2.9"])
    proven = Proven(SECRET, peers=peers)
    assert proven.is_proven(Flow(host, 5060), NOW) is known
    assert proven.is_to_be_asked(Flow(host, 5060), NOW) is not known


@pytest.mark.parametrize("kind", ["upstream", "peer", "stranger"])
def test_a_call_from_a_server_that_is_known_is_answered_as_ever(kind: str) -> None:
    """RFC 3261 §17.2.1: its 480 is sent again until the ACK, or Timer H."""
    upstream = (Upstream(uri="sip:10.0.1.1", domains=("example.org",)),) if kind == "upstream" else ()
    peer = (Peer(addresses=("10.0.1.0/24",)),) if kind == "peer" else ()
    scene = Scene(Config(upstream=upstream, peer=peer))
    server = scene.peer("server", ("10.0.1.1", 5060))
    server.ask("INVITE", "sip:nobody@example.com")
    scene.run(40_000)
    assert server.count("INVITE", 480) == (4 if kind == "stranger" else 11)


# Who is asked


def test_an_address_is_asked_once_in_a_while() -> None:
    proven = Proven(SECRET)
    assert proven.is_to_be_asked(PHONE, NOW)
    assert not proven.is_proven(PHONE, NOW)
    assert not proven.is_to_be_asked(PHONE, NOW + 1000)
    assert proven.is_to_be_asked(PHONE, NOW + HOUR)
    proven.prove(PHONE, NOW + HOUR)
    assert proven.is_proven(PHONE, NOW + HOUR)
    assert not proven.is_to_be_asked(PHONE, NOW + 2 * HOUR)
    assert proven.is_to_be_asked(PHONE, NOW + 60 * HOUR)


def test_that_many_were_asked_takes_nobodys_proof() -> None:
    """Anybody may have any number of addresses asked, by REGISTERs that are not theirs."""
    proven = Proven(SECRET, bytearray(1 << 12))
    for flow in flows(40):
        proven.prove(flow, NOW)
    for flow in flows(10_000, 5061):
        proven.is_to_be_asked(flow, NOW + HOUR)
    assert all(proven.is_proven(flow, NOW + HOUR) for flow in flows(40))
    for flow in flows(512, 5062):
        proven.prove(flow, NOW + HOUR)
    assert sum(proven.is_proven(flow, NOW + HOUR) for flow in flows(512, 5062)) > 300


# Memory that outlives the process


def test_proofs_are_shared_and_outlive_the_process() -> None:
    memory = bytearray(1 << 16)
    one, other = Proven(SECRET, memory), Proven(SECRET, memory)
    one.prove(PHONE, NOW)
    assert other.is_proven(PHONE, NOW)
    del one, other
    assert Proven(SECRET, memory).is_proven(PHONE, NOW + HOUR)


@pytest.mark.parametrize("damage", ["another store's", "random", "ones", "torn", "old"])
def test_a_file_that_is_damaged_or_old_proves_nobody(damage: str) -> None:
    memory, now = bytearray(1 << 16), NOW
    for flow in flows(2000):
        Proven(SECRET, memory).prove(flow, NOW)
    secret = SECRET
    match damage:
        case "another store's":
            secret += 1
        case "random":
            memory[:] = os.urandom(len(memory))
        case "ones":
            memory[:] = b"\xff" * len(memory)
        case "torn":
            memory[:] = b"".join(bytes(memory[i + 4 : i + 8]) + bytes(memory[i : i + 4]) for i in range(0, len(memory), 8))
        case "old":
            now += 3 * 365 * 24 * HOUR
    proven = Proven(secret, memory)
    assert not any(proven.is_proven(flow, now) for flow in flows(2000))
    proven.prove(PHONE, now)
    assert proven.is_proven(PHONE, now)


def test_a_proof_outlives_a_crash_of_the_server() -> None:
    scene = Scene()
    alice = scene.peer("alice")
    alice.bind()
    scene.run()
    scene.server.crash(scene.now, 10)
    scene.run()
    alice.inbox.clear()
    alice.ask("INVITE", "sip:nobody@example.com")
    scene.run(33_000)
    assert alice.got() == ["480"] * 11


@pytest.mark.parametrize("salt", range(4))
def test_what_was_proven_to_one_worker_counts_for_all(salt: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer to the OPTIONS of one worker may come to another, and so may the call."""
    monkeypatch.setattr(scenes, "Server", Cluster)
    monkeypatch.setattr(Cluster, "workers", 3)
    monkeypatch.setattr(Cluster, "salt", salt)
    scene = Scene()
    alice = scene.peer("alice")
    alice.bind()
    scene.run()
    assert all(engine.counters()["withheld"] == 0 for engine in scene.server.engines)
    alice.inbox.clear()
    monkeypatch.setattr(Cluster, "salt", salt + 7)
    for _ in range(3):
        alice.ask("INVITE", "sip:nobody@example.com")
    scene.run(33_000)
    assert alice.got() == ["480"] * 33


def test_the_memory_of_a_server_is_a_file_beside_its_store(tmp_path: Path) -> None:
    settings = Config(store=Storage(data=str(tmp_path)))
    one, other = (Proven(SECRET, worker.open_proofs(settings)) for _ in range(2))
    one.prove(PHONE, NOW)
    assert other.is_proven(PHONE, NOW)
    size = (tmp_path / "proofs").stat().st_size
    assert size == 2 << 20
    assert (tmp_path / "proofs").stat().st_mode & 0o777 == 0o600
    os.truncate(tmp_path / "proofs", 100)  # an operator may have cut it, or copied half
    Proven(SECRET, worker.open_proofs(settings)).prove(PHONE, NOW)


# What proves an address


def test_the_first_answer_to_anything_proves_its_phone() -> None:
    scene, alice, _ = pair()
    quiet = scene.peer("quiet")
    quiet.answers_probes = False
    quiet.bind()
    scene.run()
    alice.ask("MESSAGE", "sip:quiet@example.com")
    scene.run()
    quiet.answer(quiet.take("MESSAGE"), 200)
    scene.run()
    quiet.inbox.clear()
    quiet.ask("INVITE", "sip:nobody@example.com")
    scene.run(33_000)
    assert quiet.got() == ["480"] * 11
