"""How much there may be in all, and what is answered beyond it (docs/security.md)."""

from __future__ import annotations

from typing import Any

import pytest
from net.network import Network, Server
from net.registering import Bench
from net.scene import DOMAIN, Scene, Speaker, quiet
from net.stores import count_watches

from sipfast.config import Config, Limits, Peer, Rates, Redial, Registrar

BOB = f"sip:bob@{DOMAIN}"


def counter(scene: Scene, name: str) -> int:
    server: Any = scene.server
    return int(server.counters[name])


def test_of_a_hundred_transactions_a_fifth_is_kept_for_dialogs() -> None:
    scene = Scene(Config(limits=Limits(transactions=100, source=1.0)))
    alice = scene.peer("alice")
    for _ in range(81):
        alice.ask("MESSAGE", BOB)
    scene.run()
    assert alice.got() == ["480"] * 80 + ["503"]
    assert alice.inbox[-1].first("retry-after") == "32"
    for _ in range(21):
        alice.ask("BYE", BOB, to=f"<{BOB}>;tag=t")
    scene.run()
    assert alice.got()[81:].count("503") == 1
    assert counter(scene, "refused_full") == 2


def test_of_transactions_an_address_has_its_part_once_half_are_in_use() -> None:
    scene = Scene(Config(limits=Limits(transactions=100)))
    flood, alice = scene.peer("flood"), scene.peer("alice")
    for _ in range(80):
        flood.ask("MESSAGE", BOB)
    scene.run()
    assert (flood.got().count("480"), flood.got().count("503")) == (50, 30)
    assert flood.inbox[-1].first("retry-after") == "32"
    for _ in range(12):
        alice.ask("MESSAGE", BOB)
        scene.run(1_000)
    assert alice.got() == ["480"] * 12, "an eighth is hers"
    flood.ask("BYE", BOB, to=f"<{BOB}>;tag=t")
    scene.run()
    assert flood.got()[-1] != "503", "a call is not kept from ending"
    scene.run(33_000)
    flood.ask("MESSAGE", BOB)
    scene.run()
    assert flood.got()[-1] == "480"


def test_addresses_of_an_ipv6_subnet_have_one_part() -> None:
    network, server = Network(), Server("server", ("2001:db8:f::1", 5060), config=Config(limits=Limits(transactions=100)))
    network.add(server)
    server.start(network.now)
    house = [network.add(Speaker(f"p{i}", (f"2001:db8::{i:x}", 5060))) for i in range(1, 81)]
    neighbour = network.add(Speaker("neighbour", ("2001:db8:0:1::1", 5060)))
    for peer in [*house, neighbour]:
        peer.transmit(peer.text("MESSAGE", BOB), server.address)
    network.run(50)
    assert sum(peer.got() == ["503"] for peer in house) == 30
    assert neighbour.got() == ["480"]


def test_of_memory_too_and_what_is_forwarded_counts_as_its_senders() -> None:
    scene = Scene(Config(limits=Limits(memory=1)))
    mute = quiet(scene, "mute")
    mute.bind()
    scene.run()
    flood, alice = scene.peer("flood"), scene.peer("alice")
    others = [scene.peer(f"other{i}") for i in range(5)]
    for caller in (flood, flood, *others):
        caller.ask("INVITE", f"sip:mute@{DOMAIN}", body=b"x" * 50_000)     # kept as it came, and as it was sent
    scene.run()
    assert 1 << 19 < counter(scene, "held_bytes") < (1 << 20) * 4 // 5
    for caller in (flood, others[0], alice):
        caller.ask("INVITE", BOB)
    scene.run()
    assert [caller.got()[-1] for caller in (flood, others[0], alice)] == ["503", "480", "480"]


@pytest.mark.parametrize("config", [
    Config(limits=Limits(transactions=100, source=1.0)),
    Config(limits=Limits(transactions=100), peer=(Peer(addresses=("10.0.0.0/8",)),)),
])  # fmt: skip
def test_or_all_of_them(config: Config) -> None:
    scene = Scene(config)
    alice = scene.peer("alice")
    for _ in range(80):
        alice.ask("MESSAGE", BOB)
    scene.run()
    assert alice.got() == ["480"] * 80


def test_what_is_over_makes_room() -> None:
    scene = Scene(Config(limits=Limits(transactions=100, source=1.0)))
    alice = scene.peer("alice")
    for _ in range(81):
        alice.ask("MESSAGE", BOB)
    scene.run(33_000)
    alice.ask("MESSAGE", BOB)
    scene.run()
    assert alice.got()[-1] == "480"
    scene.run(33_000)
    assert counter(scene, "held_bytes") == counter(scene, "server_transactions") == 0


def test_copies_are_taken_where_there_is_no_room() -> None:
    scene = Scene(Config(limits=Limits(transactions=100, source=1.0)))
    alice = scene.peer("alice")
    asked = [alice.ask("MESSAGE", BOB) for _ in range(81)]
    scene.run()
    alice.again(asked[0])
    scene.run()
    assert alice.got()[-1] == "480"


def test_messages_take_so_much_memory_at_most() -> None:
    scene = Scene(Config(limits=Limits(memory=1, source=1.0)))
    scene.phone("bob").register()
    scene.run()
    mute = quiet(scene, "mute")
    mute.bind()
    scene.run()
    alice = scene.peer("alice")
    for _ in range(40):
        alice.ask("INVITE", f"sip:mute@{DOMAIN}", body=b"x" * 50_000)
    scene.run()
    refused = alice.got().count("503")
    assert 0 < refused < 40
    assert counter(scene, "held_bytes") <= 1 << 20
    scene.run(200_000)
    assert counter(scene, "held_bytes") == 0


def test_an_answered_invite_keeps_its_answer_only() -> None:
    scene = Scene()
    alice = scene.peer("alice")
    alice.ask("INVITE", BOB, body=b"x" * 50_000)
    scene.run()
    assert alice.got()[:1] == ["480"]
    scene.run(2_000)
    assert 0 < counter(scene, "held_bytes") < 1_000


def test_a_new_aor_too_many_is_answered_503() -> None:
    bench = Bench(Registrar(max_aors=1, min_expires=60))
    assert bench.register("<sip:b@192.0.2.1>").status == 200
    assert bench.register("<sip:b@192.0.2.1>").status == 200
    assert bench.register("<sip:b@192.0.2.2>").status == 200, "another Contact is no other AOR"
    full = Bench(Registrar(max_aors=1, min_expires=60))
    full.store.put_bindings(b"sip:other@example.org", bench.store.bindings(b"sip:b@example.org")[:1])
    full.store.commit()
    for contacts in (("<sip:b@192.0.2.1>",), ("<sip:b@192.0.2.1>", "<sip:c@192.0.2.1>")):
        answer = full.register(*contacts)
        assert (answer.status, answer.header("Retry-After")) == (503, b"60")
    assert full.bindings == ()


def test_a_watch_too_many_gets_the_plain_480() -> None:
    scene = Scene(Config(redial=Redial(default_period=3600, max_watches=1)))
    for name in ("alice", "carol"):
        caller = scene.peer(name)
        caller.ask("INVITE", BOB)
        scene.run()
        assert caller.got() == ["480"]
        assert len(caller.inbox[-1].lines("call-info")) == (name == "alice")
    assert count_watches(scene.store) == 1


def test_an_address_binds_so_many_new_aors_where_nobody_is_asked_for_a_password() -> None:
    scene = Scene(Config(rates=Rates(source_aors=2), registrar=Registrar(min_expires=60)))
    house = scene.peer("house")
    for user in ("a", "b", "c", "a"):
        house.bind(user)
        scene.run()
    answers = [message for message in house.inbox if message.status]
    assert [answer.status for answer in answers] == [200, 200, 503, 200]
    assert answers[2].first("retry-after") == "60"
    other = scene.peer("other")
    other.bind("c")
    scene.run()
    assert other.got()[0] == "200"
    assert counter(scene, "refused_aors_of_source") == 1
