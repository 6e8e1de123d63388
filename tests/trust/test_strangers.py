"""What a stranger can do in another's name where nobody has a password: nothing to a watch (docs/security.md).

Alice is registered, and calls bob, who is not. Mallory is at an address of his own, and says that he is alice.
"""

from __future__ import annotations

from typing import Any

import pytest
from net.digest import answer_challenge
from net.phone import Call, Phone
from net.redialing import come_back, refers, suspended, watch_of
from net.scene import Scene, Speaker, quiet
from net.sipwire import Sip, literal
from net.stores import count_watches

from sipfast.config import Config, Peer, Redial, Registrar, Upstream
from sipfast.identity.user_file import secrets_of
from sipfast.identity.users import User, UserTable

TO_BOB = "sip:bob@example.com"
AS_ALICE = "<sip:alice@example.com>"
TRUNK, EDGE = "10.0.9.1", ("10.0.8.1", 5060)


def stage(redial: dict[str, Any] | None = None, **more: Any) -> tuple[Scene, Speaker, Speaker]:
    """Alice is registered; mallory is somebody else."""
    settings = {"methods": ("refer",), "default_period": 3600, **(redial or {})}
    scene = Scene(Config(redial=Redial(**settings), **more), believes=False)
    alice, mallory = scene.peer("alice"), scene.peer("mallory")
    alice.bind()
    scene.run()
    alice.inbox.clear()
    return scene, alice, mallory


def call(scene: Scene, who: Speaker, *, expires: int = 3600, sender: str = AS_ALICE, **more: Any) -> Sip:
    """An INVITE to bob, who is away: what it is answered."""
    headers = [("Expires", str(expires)), *more.pop("headers", ())]
    who.ask("INVITE", TO_BOB, sender=f"{sender};tag={who.token('f')}", headers=headers, **more)
    scene.run()
    return who.take("INVITE", 480)


def offers(answer: Sip) -> bool:
    return "call-completion" in answer.first("call-info")


# Armed


def test_a_stranger_arms_nothing_in_anothers_name() -> None:
    scene, _, mallory = stage()
    answer = call(scene, mallory)
    assert not offers(answer) and "warning" not in dict(answer.headers)
    assert count_watches(scene.store) == 0


def test_a_stranger_gets_the_480_of_who_asks_for_nothing() -> None:
    scene, alice, mallory = stage({"default_period": 0})
    plain = alice.ask("INVITE", TO_BOB)
    scene.run()
    mine, other = alice.take("INVITE", 480), call(scene, mallory)
    assert plain.method == "INVITE" and not offers(mine)
    assert [name for name, _ in mine.headers] == [name for name, _ in other.headers]
    assert mine.reason == other.reason


def test_a_flow_by_which_the_caller_is_registered_arms() -> None:
    scene, alice, _ = stage()
    assert offers(call(scene, alice))
    watch = watch_of(scene)
    assert watch is not None and (watch.state, watch.identity) == ("armed", "")


def test_the_same_contact_from_another_port_of_the_address_arms() -> None:
    scene, alice, _ = stage()
    moved = scene.peer("moved", (alice.address[0], 6060))
    assert offers(call(scene, moved, contact=f"<sip:alice@{literal(alice.address)}>"))
    assert watch_of(scene) is not None


def test_the_same_instance_from_another_port_of_the_address_arms() -> None:
    scene, alice, _ = stage()
    instance = '+sip.instance="<urn:uuid:00000000-0000-1000-8000-000A95A0E128>"'
    alice.bind(contacts=[f"<sip:alice@{literal(alice.address)}>;{instance}"])
    moved = scene.peer("moved", (alice.address[0], 6060))
    assert offers(call(scene, moved, contact=f"<sip:other@{literal(moved.address)}>;{instance}"))


def test_neither_the_address_nor_the_contact_is_enough() -> None:
    scene, alice, mallory = stage()
    neighbour = scene.peer("neighbour", (alice.address[0], 6060))
    assert not offers(call(scene, neighbour))
    assert not offers(call(scene, mallory, contact=f"<sip:alice@{literal(alice.address)}>"))
    assert count_watches(scene.store) == 0


def test_a_binding_that_has_run_out_speaks_for_nobody() -> None:
    scene, alice, _ = stage(registrar=Registrar(min_expires=1))
    alice.bind(expires=10)
    scene.run(11_000)
    assert not offers(call(scene, alice))


def test_a_peer_arms_for_whom_it_asserts() -> None:
    scene, _, _ = stage(peer=(Peer(addresses=(TRUNK,), rights=("identity",)),))
    trunk = scene.peer("trunk", (TRUNK, 5060))
    assert offers(call(scene, trunk, headers=[("P-Asserted-Identity", "<sip:carol@example.com>")]))
    watch = watch_of(scene, b"sip:carol@example.com")
    assert watch is not None and watch.identity == "peer"


def test_whom_a_peer_asserts_is_of_a_domain_that_is_served() -> None:
    """`redial.callers` is about who calls, not about what From says."""
    scene, _, _ = stage(peer=(Peer(addresses=(TRUNK,), rights=("identity",)),))
    trunk = scene.peer("trunk", (TRUNK, 5060))
    assert not offers(call(scene, trunk, headers=[("P-Asserted-Identity", "<sip:carol@elsewhere.example>")]))


def test_any_believes_everybody() -> None:
    scene, _, mallory = stage({"callers": "any"})
    assert offers(call(scene, mallory))


@pytest.mark.parametrize("callers", ["local", "any"])
def test_a_caller_without_a_user_part_arms_nothing(callers: str) -> None:
    scene, alice, _ = stage({"callers": callers})
    scene.run()
    assert not offers(call(scene, alice, sender="<sip:example.com>"))
    assert count_watches(scene.store) == 0


def test_a_stranger_fills_nobodys_quota() -> None:
    scene, alice, mallory = stage({"per_caller": 2})
    for number in range(5):
        headers = [("Expires", "3600")]
        mallory.ask("INVITE", f"sip:nobody{number}@example.com", sender=f"{AS_ALICE};tag={number}", headers=headers)
    scene.run()
    assert offers(call(scene, alice))


# A watch that is there


def armed(**more: Any) -> tuple[Scene, Speaker, Speaker]:
    scene, alice, mallory = stage(more)
    assert offers(call(scene, alice))
    return scene, alice, mallory


def test_a_stranger_neither_renews_nor_cancels() -> None:
    scene, _, mallory = armed()
    before = watch_of(scene)
    assert before is not None
    scene.run(5_000)
    for expires in (7200, 0):
        assert not offers(call(scene, mallory, expires=expires))
    after = watch_of(scene)
    assert after is not None and after.expires_at == before.expires_at


def test_its_caller_renews_and_cancels() -> None:
    scene, alice, _ = armed()
    before = watch_of(scene)
    assert before is not None
    scene.run(5_000)
    assert offers(call(scene, alice, expires=3600))
    after = watch_of(scene)
    assert after is not None and after.expires_at > before.expires_at
    call(scene, alice, expires=0)
    assert watch_of(scene) is None


def recalled() -> tuple[Scene, Any, Any, Speaker]:
    """Bob is back, and alice's phone has been asked to call; it has not yet."""
    scene = Scene(Config(redial=Redial(methods=("refer",))), believes=False)
    alice, bob = scene.phone("alice", dial_delay=3_000), scene.phone("bob", register=False, ring_time=60_000)
    mallory = scene.peer("mallory")
    first = alice.call("bob", 3600)
    scene.network.wait(lambda: first.over)
    scene.run(10)
    come_back(scene, bob)
    scene.run(1_000)
    assert len(refers(scene)) == 1
    return scene, alice, bob, mallory


def test_a_strangers_call_does_not_take_the_recall_away() -> None:
    """He calls bob as alice, and hangs up at once: as hers that would end the watch."""
    scene, alice, bob, mallory = recalled()
    invite = mallory.ask("INVITE", TO_BOB, sender=f"{AS_ALICE};tag=m")
    scene.run(500)
    mallory.cancel(invite)
    scene.run(500)
    assert "487" in mallory.got()
    assert watch_of(scene) is not None
    bob.ring_time = 500
    scene.run(10_000)
    assert any(call.recalled and call.was_answered for call in alice.calls)
    assert watch_of(scene) is None


def test_a_strangers_answered_call_ends_no_watch() -> None:
    """Bob speaks with somebody who says that he is alice; alice is still to be called."""
    scene = Scene(Config(redial=Redial(methods=("refer",), guard=30.0)), believes=False)
    alice, bob = scene.phone("alice"), scene.phone("bob", register=False, ring_time=100)
    mallory = scene.peer("mallory")
    first = alice.call("bob", 3600)
    scene.network.wait(lambda: first.over)
    scene.run(10)
    come_back(scene, bob)
    mallory.ask("INVITE", TO_BOB, sender=f"{AS_ALICE};tag=m")
    scene.run(1_000)
    answer = mallory.take("INVITE", 200)
    routes = [("Route", value) for value in reversed(answer.all("record-route"))]
    target = answer.first("contact").strip("<>")
    mallory.ask("ACK", target, sender=f"{AS_ALICE};tag=m", to=answer.first("to"), call_id=answer.call_id, headers=routes)
    scene.run(1_000)
    assert watch_of(scene) is not None


# A watch that is suspended


def is_suspended(scene: Scene) -> bool:
    scene.run(2_000)
    watch = watch_of(scene)
    return watch is not None and watch.state == "suspended" and len(refers(scene)) == 1


def have_passwords(scene: Scene) -> None:
    """It begins anew, with users: mallory is one."""
    secrets = secrets_of("mallory", "example.com", "secret")
    scene.server.users = UserTable()
    scene.server.users.add(User(b"mallory", b"example.com", secrets["md5"].encode(), secrets["sha256"].encode(),
                                (b"sip:mallory@example.com",)))  # fmt: skip
    scene.server.crash(scene.now, 10)
    scene.run(100)


def talk(scene: Scene, who: Speaker, whom: str, sender: str) -> Sip:
    """He calls somebody's phone, which answers: the 200, after his ACK."""
    invite = who.ask("INVITE", f"sip:{whom}@example.com", sender=sender, call_id="talk")
    scene.run()
    if who.count("INVITE", 407):
        asked = who.take("INVITE", 407)
        who.ack(invite, asked)
        via = f"SIP/2.0/UDP {literal(who.address)};branch=z9hG4bKsecond"
        who.say(answer_challenge(invite, asked, who.name, "secret", via))
    scene.run(5_000)
    answer = who.take("INVITE", 200)
    say(who, "ACK", answer, sender)
    scene.run(100)
    return answer


def say(who: Speaker, method: str, answer: Sip, sender: str) -> None:
    """A request in the dialog that the 200 has made."""
    routes = [("Route", value) for value in reversed(answer.all("record-route"))]
    target = answer.first("contact").strip("<>")
    who.ask(method, target, sender=sender, to=answer.first("to"), call_id="talk", cseq=answer.cseq + (method == "BYE"),
            headers=routes)  # fmt: skip


def test_a_bye_of_no_call_resumes_nothing() -> None:
    """In the caller's name, or to its phone."""
    scene, _, _ = suspended()
    mallory = scene.peer("mallory")
    mallory.ask("BYE", "sip:bob@example.com", sender=f"{AS_ALICE};tag=m", to="<sip:bob@example.com>;tag=x")
    mallory.ask("BYE", "sip:alice@example.com", to=f"{AS_ALICE};tag=x")
    assert is_suspended(scene)
    assert mallory.got() == ["481", "481"]


@pytest.mark.parametrize("his", ["From", "To"])
def test_a_bye_that_a_confederate_agrees_to_resumes_nothing(his: str) -> None:
    scene, _, _ = suspended()
    mallory, other = scene.peer("mallory"), scene.peer("other")
    other.bind()
    sender, to = (f"{AS_ALICE};tag=m", "<sip:other@example.com>;tag=x") if his == "From" else ("", f"{AS_ALICE};tag=x")
    mallory.ask("BYE", "sip:other@example.com", sender=sender, to=to)
    scene.run()
    other.answer(other.take("BYE"), 200)
    assert is_suspended(scene)
    assert mallory.count("BYE", 200) == 1


@pytest.mark.parametrize("passwords", [False, True])
def test_a_call_in_the_callers_name_resumes_nothing_when_it_ends(passwords: bool) -> None:
    """With passwords he calls as himself; in the call nobody is asked who he is, and a phone looks at the tags only."""
    scene, _, _ = suspended()
    scene.phone("carol")
    mallory = scene.peer("mallory")
    if passwords:
        have_passwords(scene)
    answer = talk(scene, mallory, "carol", "<sip:mallory@example.com>;tag=m" if passwords else f"{AS_ALICE};tag=m")
    say(mallory, "BYE", answer, f"{AS_ALICE};tag=m")
    assert is_suspended(scene)
    assert mallory.count("BYE", 200) == 1


def test_a_strangers_call_that_fails_resumes_nothing() -> None:
    """One in the caller's name, and one to the caller's phone, which is busy and does not ring."""
    scene, alice, _ = suspended()
    scene.phone("carol", on_invite="486")
    alice.on_invite = "486"
    mallory = scene.peer("mallory")
    mallory.ask("INVITE", "sip:carol@example.com", sender=f"{AS_ALICE};tag=m")
    mallory.ask("INVITE", "sip:alice@example.com")
    assert is_suspended(scene)
    assert set(mallory.got()) == {"486"}


def talking() -> tuple[Scene, Phone, Phone, Call]:
    """Alice's watch is suspended; she talks with carol."""
    scene, alice, _ = suspended()
    carol = scene.phone("carol")
    call = alice.call("carol")
    scene.network.wait(lambda: call.state == "talking")
    assert is_suspended(scene)
    return scene, alice, carol, call


def test_the_callers_own_bye_resumes() -> None:
    scene, alice, _, call = talking()
    alice.hang_up(call)
    assert not is_suspended(scene)


def test_the_callers_own_bye_resumes_though_nobody_answers_it() -> None:
    """RFC 3261 §15.1.1: the call is over then, too."""
    scene, alice, carol, call = talking()
    scene.network.remove(carol)
    alice.hang_up(call)
    assert is_suspended(scene)
    scene.run(40_000)
    assert not is_suspended(scene)


def test_the_bye_that_the_callers_phone_agrees_to_resumes() -> None:
    scene, _, carol, _ = talking()
    carol.hang_up(carol.calls[0])
    assert not is_suspended(scene)


def test_a_call_that_rang_at_the_callers_phone_resumes() -> None:
    """Whoever it is from: the phone has said that it rang."""
    scene, alice, _ = suspended()
    alice.ring_time = 10_000
    mallory = scene.peer("mallory")
    invite = mallory.ask("INVITE", "sip:alice@example.com")
    assert is_suspended(scene)
    mallory.cancel(invite)
    assert not is_suspended(scene)


# After a restart, when the server does not know of calls


@pytest.mark.parametrize("method", ["ACK", "BYE"])
@pytest.mark.parametrize("passwords", [False, True])
def test_a_stranger_ends_no_watch_by_a_call_of_before_a_restart(method: str, passwords: bool) -> None:
    scene, _, _, mallory = recalled()
    if passwords:
        have_passwords(scene)
    else:
        scene.server.crash(scene.now, 10)
        scene.run(100)
    mallory.ask(method, "sip:bob@example.com", sender=f"{AS_ALICE};tag=m", to="<sip:bob@example.com>;tag=x")
    scene.run(1_000)
    assert watch_of(scene) is not None


# What is told


def ask_where(scene: Scene, who: Speaker, contacts: tuple[str, ...] = (), call_id: str = "q") -> list[str]:
    fields = [("Contact", each) for each in contacts] + ([("Expires", "0")] if contacts else [])
    sender = f"{AS_ALICE};tag=q"
    who.ask("REGISTER", "sip:example.com", to=AS_ALICE, sender=sender, contact="", headers=fields, call_id=call_id)
    scene.run()
    found = who.take("REGISTER", 200).all("contact")
    return [each.split(";")[0] for each in found]


def test_a_stranger_is_not_told_where_somebody_is() -> None:
    scene, alice, mallory = stage()
    own = f"<sip:alice@{literal(alice.address)}>"
    assert ask_where(scene, mallory) == []
    assert ask_where(scene, mallory, ("<sip:x@10.0.7.7>",)) == []
    assert ask_where(scene, alice) == [own]
    elsewhere = scene.peer("moved")
    assert ask_where(scene, elsewhere, call_id="register-alice") == [own], "its NAT has moved it, its Call-ID is the same"


def test_a_peer_that_knows_who_asks_is_told() -> None:
    scene, _, _ = stage(peer=(Peer(addresses=(TRUNK,), rights=("identity",)),))
    assert len(ask_where(scene, scene.peer("trunk", (TRUNK, 5060)))) == 1


# Behind an upstream


def test_who_the_upstream_accepts_arms_and_who_it_challenges_does_not() -> None:
    scene = Scene(
        Config(redial=Redial(default_period=3600), upstream=(Upstream(uri=f"sip:{literal(EDGE)}"),)), believes=False
    )
    upstream, caller = quiet(scene, "upstream", address=EDGE), quiet(scene)
    for status in (407, 480):
        invite = caller.ask("INVITE", TO_BOB, headers=[("Expires", "3600")])
        scene.run()
        upstream.answer(upstream.take("INVITE"), status)
        scene.run()
        caller.ack(invite, caller.take("INVITE", status))
        scene.run()
        assert (watch_of(scene) is not None) == (status == 480)
    watch = watch_of(scene)
    assert watch is not None and watch.identity == "upstream"


