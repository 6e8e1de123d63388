"""The OPTIONS to a phone that registers and has proven nothing: who gets it, and what its answer is good for."""

from __future__ import annotations

import logging
import re

import pytest
from net import scene as scenes
from net.cluster import Cluster
from net.phone import Phone
from net.scene import NATS, SERVER, Scene, Speaker, is_proven, quiet
from net.sipwire import Sip, host_port, is_probe, literal
from net.stores import Recording
from net.upstream import Upstream

from sipfast.config import Config, Registrar
from sipfast.config import Upstream as Behind

HOUR = 3_600_000


def asked(scene: Scene, name: str = "", since: int = 0) -> list[Sip]:
    """The OPTIONS that have left for somebody."""
    return [
        Sip(event.data) for event in scene.network.trace[since:]
        if event.source == "server" and event.target == (name or event.target) and is_probe(Sip(event.data))
    ]  # fmt: skip


# Who is asked, and how


def test_a_new_binding_of_an_unknown_address_is_asked_once() -> None:
    scene = Scene()
    alice = quiet(scene)
    alice.bind()
    scene.run(40_000)
    assert alice.got() == ["200", "OPTIONS"]  # after the 200, and not again (RFC 3261 §17.1.2.2 has ten more)
    options = alice.take("OPTIONS")
    assert options.uri == f"sip:alice@{literal(alice.address)}"
    assert "sip:alice@example.com" in options.first("to") and not options.to_tag
    assert options.from_tag and options.branch.startswith("z9hG4bK") and len(options.all("via")) == 1
    assert options.first("max-forwards") == "70" and options.first("cseq") == "1 OPTIONS"
    assert scene.server.engine.counters()["client_transactions"] == 0
    assert scene.server.engine.counters()["branches"] == 0


def test_who_is_proven_is_never_asked() -> None:
    scene = Scene()
    alice = scene.peer("alice")
    alice.bind()
    scene.run()
    assert len(asked(scene)) == 1
    for user in ("", "other", "third"):
        alice.bind(user)
        scene.run(HOUR // 2)
    assert len(asked(scene)) == 1


def test_who_has_not_answered_is_asked_again_by_a_later_refresh() -> None:
    scene = Scene()
    alice = quiet(scene)
    for _ in range(10):
        alice.bind()
        scene.run(60_000)
    assert len(asked(scene)) == 1
    scene.run(HOUR // 2)
    alice.bind()
    scene.run()
    assert len(asked(scene)) == 2
    first, second = asked(scene)
    assert first.branch != second.branch and first.call_id != second.call_id


def test_nobody_is_asked_for_a_binding_that_is_not_there() -> None:
    scene = Scene(Config(registrar=Registrar(min_expires=120)))
    alice = quiet(scene)
    alice.bind(expires=0)
    alice.bind(expires=60)  # 423
    alice.bind(contacts=["<tel:+12345>"])
    scene.run()
    assert alice.got() == ["200", "423", "200"]


def test_the_setting() -> None:
    scene = Scene(Config(registrar=Registrar(probe=False)))
    alice = quiet(scene)
    alice.bind()
    scene.run(40_000)
    assert alice.got() == ["200"]


def test_the_way_of_the_binding_is_taken() -> None:
    """RFC 3581: without rport by the port of the Contact."""
    scene = Scene()
    alice, there = quiet(scene), quiet(scene, "there", address=("10.0.1.1", 5070))
    alice.bind(contacts=["<sip:alice@10.0.1.1:5070>"])
    scene.run()
    assert alice.got() == ["200"]
    there.answer(there.take("OPTIONS"), 200)
    scene.run()
    assert is_proven(scene, there)
    assert not is_proven(scene, alice)


def test_a_path_is_followed() -> None:
    """RFC 3327 §5.4: an edge proxy of whom nobody has told us."""
    scene = Scene()
    edge = quiet(scene, "edge")
    edge.ask(
        "REGISTER", "sip:example.com", to="<sip:bob@example.com>", contact="<sip:bob@192.168.7.7>",
        headers=[("Path", "<sip:10.0.1.1;lr>"), ("Supported", "path"), ("Expires", "600")],
    )  # fmt: skip
    scene.run()
    edge.take("REGISTER", 200)
    options = edge.take("OPTIONS")
    assert (options.uri, options.first("route")) == ("sip:bob@192.168.7.7", "<sip:10.0.1.1;lr>")


@pytest.mark.parametrize("kind", NATS)
def test_a_phone_behind_a_nat_is_asked_and_proven(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Scene, "nat", NATS[kind])
    scene = Scene()
    scene.phone("alice")
    scene.run()
    assert len(asked(scene, "alice")) == 1
    assert scene.server.engine.counters()["probes_answered"] == 1


@pytest.mark.parametrize("contact", ["phone", "token"])
def test_a_binding_that_an_upstream_grants(contact: str) -> None:
    """What is proven is the phone's own address: the upstream is no stranger."""
    behind = Behind(uri="sip:10.0.9.9", domains=("example.com",), contact=contact)  # type: ignore[arg-type]
    scene = Scene(Config(upstream=(behind,)), domains=())
    scene.network.add(Upstream("registrar", ("10.0.9.9", 5060)))
    alice = quiet(scene)
    alice.bind()
    scene.run()
    assert alice.got() == ["200", "OPTIONS"]
    options = alice.take("OPTIONS")
    assert options.uri == f"sip:alice@{literal(alice.address)}" and not options.all("route")
    alice.answer(options, 501)
    scene.run()
    assert scene.server.engine.counters()["probes_answered"] == 1
    alice.bind()
    scene.run(HOUR)
    alice.bind()
    scene.run()
    assert len(asked(scene)) == 1


def test_within_the_budget_of_the_register() -> None:
    """Together with its answer: 4 datagrams and 6 times its bytes. Here all Contacts are at the victim's other ports."""
    scene = Scene()
    victim = quiet(scene, "victim")
    ports = [quiet(scene, f"port{i}", address=("10.0.1.1", 6000 + i)) for i in range(16)]
    contacts = [f"<sip:victim@10.0.1.1:{peer.address[1]}>" for peer in ports]
    cause = victim.bind(contacts=contacts)
    scene.run(40_000)
    sent = [event.data for event in scene.network.trace if event.source == "server"]
    assert len(sent) == 4
    assert sum(map(len, sent)) <= 6 * len(cause.raw)


def test_who_may_not_be_sent_all_bindings_is_told_so_and_asked() -> None:
    """Once it has answered, it may."""
    scene = Scene()
    for i in range(15):
        scene.peer(f"phone{i}").bind("bob", [f"<sip:{'b' * 150}@10.0.1.{i + 1}>"])
        scene.run()
    victim = quiet(scene, "victim")
    cause = victim.bind("bob")
    since = len(scene.network.trace)
    scene.run()
    sent = [event.data for event in scene.network.trace[since:] if event.target == "victim"]
    assert [is_probe(Sip(data)) for data in sent] == [False, True]
    assert Sip(sent[0]).status == 500
    assert sum(map(len, sent)) <= 6 * len(cause.raw)


def test_nobody_is_asked_for_what_the_store_has_not_committed() -> None:
    store = Recording()
    scene = Scene(store=store)
    alice = quiet(scene)
    store.broken = True
    alice.bind()
    scene.run()
    assert alice.got() == ["503"]


# What an answer is good for


@pytest.mark.parametrize("status", [100, 200, 302, 401, 404, 480, 481, 486, 489, 501, 503, 603])
def test_any_answer_proves_the_phone(status: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "sipfast")
    scene = Scene(Config(log_registrations=False))
    alice = quiet(scene)
    alice.bind()
    scene.run()
    before = scene.server.engine.counters()
    alice.answer(alice.take("OPTIONS"), status)
    scene.run()
    after = scene.server.engine.counters()
    changed = {name for name in after if after[name] != before[name]}
    assert changed <= {"received", "responses", "commits", "probes_answered"}  # neither stray, nor a fault
    assert not caplog.records
    assert is_proven(scene, alice)


def test_an_answer_from_another_port_proves_where_the_question_went() -> None:
    """Some phones listen at one port and send from another (RFC 3261 §18.1.1 has them listen at the one in Via)."""
    scene = Scene()
    alice, other = quiet(scene), quiet(scene, "other")
    alice.bind()
    scene.run()
    other.answer(alice.take("OPTIONS"), 200)
    scene.run()
    assert is_proven(scene, alice)
    assert not is_proven(scene, other)


@pytest.mark.parametrize("salt", range(6))
def test_any_worker_takes_the_answer(salt: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scenes, "Server", Cluster)
    monkeypatch.setattr(Cluster, "workers", 3)
    scene = Scene()
    alice = quiet(scene)
    alice.bind()
    scene.run()
    monkeypatch.setattr(Cluster, "salt", salt)
    alice.answer(alice.take("OPTIONS"), 200)
    scene.run()
    counters = [engine.counters() for engine in scene.server.engines]
    assert sum(each["probes_answered"] for each in counters) == 1
    assert sum(each["stray_responses"] for each in counters) == 0
    assert is_proven(scene, alice)


def test_a_proof_by_an_answer_outlives_a_restart_in_between() -> None:
    scene = Scene()
    alice = quiet(scene)
    alice.bind()
    scene.run()
    scene.server.crash(scene.now, 10)
    scene.run()
    alice.answer(alice.take("OPTIONS"), 200)
    scene.run()
    assert is_proven(scene, alice)


@pytest.mark.parametrize("kind", ["phone", "peer"])
def test_a_phone_of_the_virtual_network_answers_and_goes_on(kind: str) -> None:
    scene = Scene()
    phone: Phone | Speaker = scene.phone("alice") if kind == "phone" else scene.peer("alice")
    if isinstance(phone, Speaker):
        phone.bind()
    scene.run(3 * HOUR)
    assert len(asked(scene)) == 1
    assert scene.server.engine.counters()["stray_responses"] == 0


# What a forger can do


def forged(options: Sip, victim: Speaker, **changed: str) -> bytes:
    """The answer of the OPTIONS as a forger writes it who wants another address proven."""
    lines = [
        "SIP/2.0 200 OK", f"Via: {options.all('via')[0]}", f"From: {options.first('from')}",
        f"To: {options.first('to')};tag=x", f"Call-ID: {changed.get('call_id', options.call_id)}", "CSeq: 1 OPTIONS",
        "Content-Length: 0", "", "",
    ]  # fmt: skip
    return "\r\n".join(lines).encode()


def packed(address: tuple[str, int]) -> str:
    return "".join(f"{int(part):02x}" for part in address[0].split(".")) + f"{address[1]:04x}"


def test_the_answer_of_an_attacker_from_his_victims_address_proves_the_attacker() -> None:
    scene = Scene()
    attacker, victim = quiet(scene, "attacker"), quiet(scene, "victim")
    attacker.bind()
    scene.run()
    victim.say(forged(attacker.take("OPTIONS"), victim))
    scene.run()
    assert not is_proven(scene, victim)
    assert is_proven(scene, attacker)


def test_an_answer_that_says_it_was_sent_to_somebody_else_proves_nobody() -> None:
    scene = Scene()
    attacker, victim = quiet(scene, "attacker"), quiet(scene, "victim")
    attacker.bind()
    scene.run()
    options = attacker.take("OPTIONS")
    own, theirs = packed(attacker.address), packed(victim.address)
    assert options.call_id.startswith(own)  # else this test shows nothing
    for call_id in (options.call_id.replace(own, theirs), theirs, options.call_id[12:], own, "x"):
        victim.say(forged(options, victim, call_id=call_id))
        scene.run()
    assert not is_proven(scene, victim)
    assert not is_proven(scene, attacker)


def test_every_digit_of_the_branch_counts() -> None:
    scene = Scene()
    attacker = quiet(scene, "attacker")
    attacker.bind()
    scene.run()
    options = attacker.take("OPTIONS")
    for at in range(len(options.branch)):
        digit = "1" if options.branch[at] != "1" else "2"
        other = options.branch[:at] + digit + options.branch[at + 1 :]
        attacker.say(forged(Sip(options.raw.replace(options.branch.encode(), other.encode())), attacker))
    attacker.say(forged(Sip(options.raw.replace(options.branch.encode(), options.branch[:-1].encode())), attacker))
    scene.run()
    assert scene.server.engine.counters()["probes_answered"] == 0
    assert not is_proven(scene, attacker)


def test_what_somebody_has_seen_once_is_of_no_use_later() -> None:
    """Who had an address yesterday cannot prove it today. RFC 3261 §17.1.2.2: nothing is answered after Timer F."""
    scene = Scene()
    alice = quiet(scene)
    alice.bind()
    scene.run(31_000)
    options = alice.take("OPTIONS")
    scene.run(3_000)
    alice.say(forged(options, alice))
    scene.run()
    assert not is_proven(scene, alice)
    scene.run(HOUR)
    alice.bind()
    scene.run(31_000)
    alice.say(forged(alice.take("OPTIONS"), alice))
    scene.run()
    assert is_proven(scene, alice)


def test_another_servers_secret_makes_no_proof() -> None:
    one, other = Scene(seed=1), Scene(seed=2)
    there, here = quiet(one), quiet(other)
    there.bind()
    one.run()
    other.run()
    here.say(forged(there.take("OPTIONS"), here))
    other.run()
    assert not is_proven(other, here)


def test_the_first_datagram_of_a_victim_costs_it_one_options_in_half_an_hour() -> None:
    """A thousand REGISTERs that a victim never sent, for as many users."""
    scene = Scene()
    victim = quiet(scene, "victim")
    for i in range(1000):
        victim.bind(f"user{i}")
        scene.run(1000)
    assert len(asked(scene, "victim")) == 1


def test_the_answer_names_no_address_of_the_servers_choice() -> None:
    """What stands in the question is the phone's own address, which it may know."""
    scene = Scene()
    alice = quiet(scene)
    alice.bind()
    scene.run()
    options = alice.take("OPTIONS")
    assert re.fullmatch(rf"{packed(alice.address)}-[0-9a-f]{{14}}", options.call_id)
    assert host_port(options.all("via")[0].split()[1].partition(";")[0]) == SERVER
