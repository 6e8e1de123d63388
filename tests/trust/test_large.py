"""What a single datagram may hold of one thing, and what is answered beyond it (docs/security.md)."""

from __future__ import annotations

from typing import Any

import net.scene as scenes
import pytest
from net.cluster import Cluster
from net.registering import Bench
from net.scene import DOMAIN, SERVER, Scene
from net.sipwire import literal
from net.stores import MemoryStore, count_watches
from net.upstream import Upstream

from sipfast.config import Config, Redial
from sipfast.config import Upstream as Behind
from sipfast.store.records import Binding

PLACES = ("header parameters", "URI parameters")
MOST_SWEPT = 262_144  # bytes
BOB = f"sip:bob@{DOMAIN}"


def said(scene: Scene, method: str, uri: str, **more: Any) -> Any:
    """The first final answer to a request of alice's."""
    alice = scene.peer("alice")
    alice.ask(method, uri, **more)
    scene.run()
    return next(message for message in alice.inbox if message.status >= 200)


# ---- Contacts, Paths

@pytest.mark.parametrize("contact", ["<sip:b@192.0.2.1>" + ";a" * 2100, "<sip:b@192.0.2.1" + ";a" * 2100 + ">"], ids=PLACES)
def test_a_contact_of_thousands_of_parameters_is_refused(contact: str) -> None:
    bench = Bench()
    answer = bench.register(contact)
    assert answer.status == 400 and "2048 bytes" in str(answer.header("Warning"))
    assert bench.register("<sip:b@192.0.2.1>", contact).status == 400
    assert bench.bindings == ()


def test_a_path_of_thousands_of_values_is_refused() -> None:
    bench = Bench()
    path = "Path: " + ", ".join(["<sip:h>"] * 4096) + "\r\n"
    assert bench.register("<sip:b@192.0.2.1>", headers=path).status == 400
    assert bench.bindings == ()


@pytest.mark.parametrize(("count", "status"), [(64, 200), (65, 400)])
def test_a_register_for_an_upstream_has_64_contacts_at_most(count: int, status: int) -> None:
    scene = Scene(Config(upstream=(Behind(uri="sip:10.0.5.1", domains=(DOMAIN,)),)))
    upstream = scene.network.add(Upstream("up", ("10.0.5.1", 5060)))
    contacts = [("Contact", f"<sip:u{i}@10.0.1.1>;expires=600") for i in range(count)]
    assert said(scene, "REGISTER", f"sip:{DOMAIN}", to=f"<{BOB}>", contact="", headers=contacts).status == status
    assert len(upstream.registers) == (status == 200)


# ---- option tags

@pytest.mark.parametrize(("method", "uri", "header"), [
    ("REGISTER", f"sip:{DOMAIN}", "Require"), ("OPTIONS", f"sip:{literal(SERVER)}", "Require"),
    ("MESSAGE", BOB, "Proxy-Require"),
])  # fmt: skip
def test_a_420_names_16_option_tags_at_most(method: str, uri: str, header: str) -> None:
    answer = said(Scene(), method, uri, headers=[(header, ",".join(f"a{i}" for i in range(1000)))])
    assert answer.status == 420
    assert answer.first("unsupported").split(", ") == [f"a{i}" for i in range(16)]


# ---- names that become keys and records

def user(size: int) -> str:
    return "#" * (size - len(DOMAIN))


@pytest.mark.parametrize(("size", "register", "call"), [(512, 200, 480), (513, 404, 414)])
def test_an_aor_has_512_bytes_at_most(size: int, register: int, call: int) -> None:
    aor = f"sip:{user(size)}@{DOMAIN}"
    scene = Scene()
    assert said(scene, "REGISTER", f"sip:{DOMAIN}", to=f"<{aor}>").status == register
    assert len(list(scene.store.each_bindings())) == (register == 200)
    assert said(Scene(), "INVITE", aor).status == call


@pytest.mark.parametrize(("size", "watches"), [(512, 1), (513, 0)])
def test_a_caller_with_a_longer_name_gets_the_480_and_no_watch(size: int, watches: int) -> None:
    scene = Scene(Config(redial=Redial(default_period=3600)))
    sender = f"<sip:{user(size)}@{DOMAIN}>;tag=f"
    answer = said(scene, "INVITE", BOB, sender=sender)
    assert answer.status == 480
    assert count_watches(scene.store) == watches == len(answer.lines("call-info"))


def test_a_call_by_a_longer_name_is_put_through() -> None:
    scene = Scene()
    bob = scene.phone("bob")
    bob.register()
    scene.run()
    alice = scene.peer("alice")
    alice.ask("INVITE", BOB, sender=f"<sip:{user(20_000)}@{DOMAIN}>;tag=f")
    scene.run()
    assert "180" in alice.got()


@pytest.mark.parametrize(("size", "status"), [(2048, 480), (2049, 400)])
@pytest.mark.parametrize("where", ["call_id", "tag"])
def test_a_call_id_and_tags_have_2048_bytes_at_most(where: str, size: int, status: int) -> None:
    names = {"call_id": "c", "tag": "f"}
    names[where] = "x" * (size - 1)
    assert said(Scene(), "INVITE", BOB, **names).status == status


@pytest.mark.parametrize("contact", ["<sip:x@h>" + ";a" * 20_000, "<sip:x@h" + ";a" * 20_000 + ">"], ids=PLACES)
def test_what_a_watch_keeps_of_a_contact_is_bounded(contact: str) -> None:
    scene = Scene(Config(redial=Redial(default_period=3600)))
    assert said(scene, "INVITE", BOB, contact=contact).status == 480
    assert next(iter(scene.store.each_watch())).contact == b"sip:10.0.1.1:5060", "where it came from, as without a Contact"


# ---- transactions without the magic cookie

def test_of_requests_that_only_a_comparison_tells_apart_17_are_not_taken() -> None:
    scene = Scene()
    scene.phone("bob").register()
    scene.run()
    alice = scene.peer("alice")
    for i in range(17):
        alice.ask("INVITE", f"{BOB};x={i}", call_id="c", tag="f", branch="old", to=f"<{BOB}>;tag={i}")
    scene.run()
    refused = [message for message in alice.inbox if message.status == 503]
    assert len(refused) == 1 and refused[0].first("to").endswith("tag=16") and refused[0].first("retry-after") == "32"


# ---- the sweep

def binding(expires: int, user: str = "u") -> Binding:
    return Binding(f"sip:{user}@192.0.2.1;x=".encode() + b"y" * 1400, expires, b"c", 1, 1000, b"", b"", b"", b"")


def test_the_sweep_reads_so_many_bytes_at_once() -> None:
    store = MemoryStore()
    for i in range(100):
        store.put_bindings(b"sip:%03d@example.org" % i, [binding(1, f"u{j}") for j in range(16)])
    store.commit()
    size = len(store.tables.rows_after(0, b"", 1)[0][1])
    gone: list[bytes] = []
    assert store.sweep_bindings(10, 400, 0, gone) <= 16 * (MOST_SWEPT // size + 50)
    calls = 1
    while list(store.each_bindings()):
        store.sweep_bindings(10, 400, 0, gone)
        calls += 1
    assert 1 < calls <= 100


def test_the_sweep_does_not_decode_what_it_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()
    for aor in (b"sip:a@example.org", b"sip:b@example.org"):
        store.put_bindings(aor, [binding(100), binding(200, "v")])
    store.commit()

    def decode(record: bytes) -> Any:
        raise AssertionError("only when they run out is to be read")

    monkeypatch.setattr("sipfast.store.records.decode_bindings", decode)
    monkeypatch.setattr("sipfast.store.codec.decode_bindings", decode)
    monkeypatch.setattr("sipfast.store.repository.decode_bindings", decode)
    gone: list[bytes] = []
    assert store.sweep_bindings(99, 10, 0, gone) == 0 and gone == []


# ---- what goes from worker to worker

@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Scene:
    monkeypatch.setattr(scenes, "Server", Cluster)
    monkeypatch.setattr(Cluster, "workers", 4)
    return Scene()


def handed_over(scene: Scene) -> int:
    server: Any = scene.server
    return int(server.counters["handed_over"])


def stand(scene: Scene, worker: int) -> None:
    """Whoever comes next comes to that worker."""
    server: Any = scene.server
    while server.home((f"10.0.1.{scene._places + 1}", 5060)) != worker:
        scene._places += 1


def test_a_cancel_of_nothing_visits_nobody_else(cluster: Scene) -> None:
    alice = cluster.peer("alice")
    invite = alice.text("INVITE", BOB)
    before = handed_over(cluster)
    alice.say(invite.replace(b"INVITE", b"CANCEL"))
    cluster.run()
    assert alice.got() == ["481"]
    assert handed_over(cluster) == before


@pytest.mark.parametrize("home", [0, 1, 3])
def test_a_cancel_from_another_address_goes_to_the_worker_of_its_invite_at_once(cluster: Scene, home: int) -> None:
    stand(cluster, 2)
    bob = cluster.phone("bob")
    bob.register()
    cluster.run()
    stand(cluster, home)
    alice = cluster.peer("alice")
    invite = alice.ask("INVITE", BOB)
    cluster.run()
    assert "180" in alice.got()
    stand(cluster, 2)
    moved = cluster.peer("moved")
    before = handed_over(cluster)
    moved.cancel(invite)
    cluster.run(2)
    assert handed_over(cluster) - before == 1
    cluster.run()
    assert moved.got()[:1] == ["200"]
    assert "487" in alice.got() + moved.got()


def test_an_ack_that_matches_nothing_goes_round_where_it_is_small_only(cluster: Scene) -> None:
    alice = cluster.peer("alice")
    before = handed_over(cluster)
    alice.ask("ACK", BOB, tag="f", to=f"<{BOB}>;tag=t", headers=[("Subject", "x" * 4096)])
    cluster.run()
    assert handed_over(cluster) == before
    alice.ask("ACK", BOB, tag="f", to=f"<{BOB}>;tag=t")
    cluster.run()
    assert handed_over(cluster) - before == 3
