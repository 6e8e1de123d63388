"""The stateful proxy of RFC 3261 §16 while a call is set up: retransmissions, forks, Timer C and CANCEL."""

from __future__ import annotations

import re

import pytest
from net.calling import dialog, forked, pair
from net.scene import Scene, Speaker
from net.sipwire import Sip, host_port, literal

from sipfast.config import Config, Timers

# 100 Trying and retransmissions


def test_an_invite_is_answered_100_at_once() -> None:
    """§17.2.1: a 100 within 200 ms unless something better comes; it carries no To tag (§8.2.6.2)."""
    scene, alice, _ = pair()
    sent = alice.ask("INVITE", "sip:bob@example.com")
    scene.run(250)
    answer = alice.take("INVITE", 100)
    assert answer.first("to") == sent.first("to")
    assert answer.all("via") == sent.all("via")


def test_a_100_is_not_forwarded() -> None:
    """§16.7 step 5"""
    scene, alice, bob = pair()
    alice.ask("INVITE", "sip:bob@example.com")
    scene.run(250)
    alice.take("INVITE", 100)
    bob.answer(bob.take("INVITE"), 100)
    scene.run(250)
    assert alice.inbox == []


def test_a_retransmitted_invite_is_absorbed() -> None:
    """§17.2.1: it gets the latest response again and is not forwarded."""
    scene, alice, bob = pair()
    sent = alice.ask("INVITE", "sip:bob@example.com")
    scene.run(250)
    bob.answer(bob.take("INVITE"), 180)
    scene.run()
    alice.inbox.clear()
    alice.again(sent)
    scene.run()
    assert bob.count("INVITE") == 0
    assert alice.got() == ["180"]


def test_a_retransmitted_request_gets_its_final_response_again() -> None:
    """§17.2.2"""
    scene, alice, bob = pair()
    sent = alice.ask("MESSAGE", "sip:bob@example.com")
    scene.run()
    bob.answer(bob.take("MESSAGE"), 202)
    scene.run()
    first = alice.take("MESSAGE", 202)
    alice.again(sent)
    scene.run(10_000)
    assert alice.take("MESSAGE", 202).raw == first.raw
    assert not bob.inbox and not alice.inbox


def test_a_forwarded_invite_is_retransmitted_until_answered() -> None:
    """§17.1.1.2, timer A"""
    scene, alice, bob = pair()
    alice.ask("INVITE", "sip:bob@example.com")
    scene.run(3_600)  # 0, 500, 1500, 3500
    assert len({message.raw for message in bob.inbox}) == 1 and bob.count("INVITE") == 4
    bob.answer(bob.take("INVITE"), 180)
    bob.inbox.clear()
    scene.run(10_000)
    assert not bob.inbox


def test_a_final_response_is_repeated_until_the_ack() -> None:
    """§17.2.1, timers G and H; the ACK of a non-2xx is not forwarded (§16.11 speaks of 2xx only)."""
    scene, alice, bob = pair()
    sent = alice.ask("INVITE", "sip:bob@example.com")
    scene.run()
    bob.answer(bob.take("INVITE"), 486)
    scene.run(3_600)
    bob.take("ACK")  # our own, for bob's hop
    assert alice.count("INVITE", 486) == 4  # 0, 500, 1500, 3500
    alice.ack(sent, alice.take("INVITE", 486))
    alice.inbox.clear()
    scene.run(20_000)
    assert not alice.inbox and not bob.inbox


def test_our_ack_repeats_for_a_repeated_final_response() -> None:
    """§17.1.1.2, Completed"""
    scene, alice, bob = pair()
    alice.ask("INVITE", "sip:bob@example.com")
    scene.run()
    arrived = bob.take("INVITE")
    bob.answer(arrived, 486)
    scene.run()
    ack = bob.take("ACK")
    assert ack.uri == arrived.uri and ack.all("via") == arrived.all("via")[:1]
    assert ack.first("to").endswith(";tag=tag-bob") and ack.first("cseq") == "1 ACK"
    bob.answer(arrived, 486)
    scene.run()
    bob.take("ACK")


def test_a_2xx_and_its_repetitions_pass_and_so_do_acks() -> None:
    """§16.7 step 5 and RFC 6026 §7.2: each 2xx is forwarded at once; each ACK goes by the route set."""
    scene, alice, bob = pair()
    invite, arrived, ok = dialog(scene, alice, bob)
    bob.answer(arrived, 200, headers=[("Contact", f"<sip:bob@{literal(bob.address)}>")])
    scene.run()
    key = re.compile(rb";key=[^;>]+")  # in the first one only: her ACK has proven her since
    assert key.sub(b"", alice.take("INVITE", 200).raw) == key.sub(b"", ok.raw)
    assert invite.call_id == ok.call_id
    scene.run(5_000)
    assert not alice.inbox  # a proxy does not repeat a 2xx by itself


def test_no_answer_is_408() -> None:
    """§16.8 and §17.1.1.2, timer B"""
    scene, alice, _ = pair()
    alice.ask("INVITE", "sip:bob@example.com")
    scene.run(31_900)
    assert alice.got() == []
    scene.run(300)
    assert alice.got()[:1] == ["408"]


# §16.7 Forking and the best response


def test_an_invite_goes_to_all_bindings_at_once() -> None:
    """§16.6: in parallel, each with its own branch."""
    scene, alice, phones = forked(3)
    alice.ask("INVITE", "sip:bob@example.com")
    scene.run()
    invites = [phone.take("INVITE") for phone in phones]
    assert len({invite.branch for invite in invites}) == 3
    assert {host_port(invite.uri) for invite in invites} == {phone.address for phone in phones}
    for phone, invite in zip(phones, invites, strict=True):
        phone.answer(invite, 180)
    scene.run()
    assert alice.got() == ["180"] * 3


ELSEWHERE = 'SIP;cause=200;text="Call completed elsewhere"'


@pytest.mark.parametrize("late", [False, True], ids=["rings", "is to ring"])
def test_phones_of_a_call_that_was_answered_elsewhere_hear_so(late: bool) -> None:
    """RFC 3326 §3.1: they log no missed call."""
    scene, alice, phones = forked(2)
    alice.ask("INVITE", "sip:bob@example.com")
    scene.run()
    first, second = (phone.take("INVITE") for phone in phones)
    if not late:
        phones[1].answer(second, 180)
        scene.run()
    phones[0].answer(first, 200)
    scene.run()
    if late:
        phones[1].answer(second, 180)
        scene.run()
    assert phones[1].take("CANCEL").lines("reason") == [ELSEWHERE]


@pytest.mark.parametrize("given", [[], ["SIP;cause=600"], ['Q.850;cause=16;text="a, b"', "SIP ;cause=200"]])
def test_the_reason_of_a_cancel_goes_along(given: list[str]) -> None:
    """RFC 3326 §2"""
    scene, alice, bob = pair()
    sent = alice.ask("INVITE", "sip:bob@example.com")
    scene.run()
    bob.answer(bob.take("INVITE"), 180)
    scene.run()
    alice.cancel(sent, [("Reason", value) for value in given])
    scene.run()
    assert bob.take("CANCEL").lines("reason") == given


def test_a_call_that_was_declined_for_all_gives_no_reason() -> None:
    """§16.7 step 5: a 6xx is no answer."""
    scene, alice, phones = forked(2)
    alice.ask("INVITE", "sip:bob@example.com")
    scene.run()
    first, second = (phone.take("INVITE") for phone in phones)
    phones[1].answer(second, 180)
    phones[0].answer(first, 603)
    scene.run()
    assert phones[1].take("CANCEL").lines("reason") == []


def test_the_first_2xx_wins_and_the_others_are_cancelled() -> None:
    """§16.7 steps 5 and 10"""
    scene, alice, phones = forked(3)
    alice.ask("INVITE", "sip:bob@example.com")
    scene.run()
    invites = [phone.take("INVITE") for phone in phones]
    for phone, invite in zip(phones, invites, strict=True):
        phone.answer(invite, 180)
    scene.run()
    alice.inbox.clear()
    phones[1].answer(invites[1], 200)
    scene.run()
    assert alice.got() == ["200"]
    for phone, invite in ((phones[0], invites[0]), (phones[2], invites[2])):
        cancel = phone.take("CANCEL")
        assert cancel.branch == invite.branch and cancel.uri == invite.uri and len(cancel.all("via")) == 1
        phone.answer(cancel, 200)
        phone.answer(invite, 487)
    scene.run()
    assert [phone.count("ACK") for phone in phones] == [1, 0, 1]
    assert alice.got() == ["200"]  # the 487s stay here


def test_a_loser_that_has_said_nothing_is_cancelled_when_it_does() -> None:
    """§9.1: CANCEL waits for a provisional response."""
    scene, alice, phones = forked(2)
    alice.ask("INVITE", "sip:bob@example.com")
    scene.run()
    invites = [phone.take("INVITE") for phone in phones]
    phones[0].answer(invites[0], 200)
    scene.run()
    assert phones[1].count("CANCEL") == 0
    phones[1].answer(invites[1], 180)
    scene.run()
    phones[1].take("CANCEL")


def test_every_2xx_of_a_fork_is_forwarded() -> None:
    """§16.7 step 5: the second phone answered before the CANCEL reached it."""
    scene, alice, phones = forked(2)
    alice.ask("INVITE", "sip:bob@example.com")
    scene.run()
    for phone in phones:
        phone.answer(phone.take("INVITE"), 200)
    scene.run()
    assert {alice.take("INVITE", 200).to_tag for _ in phones} == {"tag-bob0", "tag-bob1"}


@pytest.mark.parametrize(
    ("statuses", "best"),
    [
        ((486, 486), 486),
        ((404, 503), 404),  # the lowest class
        ((503, 404), 404),
        ((302, 486), 302),
        ((486, 603), 603),  # a 6xx goes before all
        ((603, 302), 603),
        ((486, 401), 401),  # within 4xx: what helps to try again
        ((486, 407), 407),
        ((480, 415), 415),
        ((486, 420), 420),
        ((480, 484), 484),
        ((500, 503), 500),
        ((503, 503), 500),  # 503 is about our next hop, not about us
    ],
)
def test_the_best_response(statuses: tuple[int, ...], best: int) -> None:
    """§16.7 step 6"""
    scene, alice, phones = forked(len(statuses))
    alice.ask("INVITE", "sip:bob@example.com")
    scene.run()
    invites = [phone.take("INVITE") for phone in phones]
    for i, (phone, invite, status) in enumerate(zip(phones, invites, statuses, strict=True)):
        assert alice.got() == []
        headers = [("WWW-Authenticate" if status == 401 else "Proxy-Authenticate", 'Digest realm="x", nonce="y"')]
        phone.answer(invite, status, headers=headers if status in (401, 407) else [])
        scene.run()
        if status >= 600 and i == 0:
            break
    else:
        assert alice.got() == [str(best)]
        return
    # A 6xx ends the others, and waits for what they say
    phones[1].answer(invites[1], 180)
    scene.run()
    phones[1].answer(phones[1].take("CANCEL"), 200)
    phones[1].answer(invites[1], 487)
    scene.run()
    assert alice.got()[-1] == str(best)


def test_challenges_of_a_fork_are_gathered() -> None:
    """§16.7 step 7"""
    scene, alice, phones = forked(2)
    alice.ask("INVITE", "sip:bob@example.com")
    scene.run()
    for phone in phones:
        challenge = f'Digest realm="{phone.name}", nonce="n"'
        phone.answer(phone.take("INVITE"), 401, headers=[("WWW-Authenticate", challenge)])
    scene.run()
    answer = alice.take("INVITE", 401)
    assert len(answer.lines("www-authenticate")) == 2


def test_a_silent_phone_does_not_spoil_the_others_answer() -> None:
    """§16.7 step 6: 408 of a timeout counts as a response like others; a 6xx still goes before it."""
    scene, alice, phones = forked(2)
    alice.ask("INVITE", "sip:bob@example.com")
    scene.run()
    phones[0].answer(phones[0].take("INVITE"), 302, headers=[("Contact", "<sip:x@y>")])
    scene.run(33_000)
    assert alice.got()[:1] == ["302"]


def test_a_fork_of_requests_other_than_invite() -> None:
    scene, alice, phones = forked(2)
    alice.ask("MESSAGE", "sip:bob@example.com")
    scene.run()
    phones[0].answer(phones[0].take("MESSAGE"), 486)
    phones[1].answer(phones[1].take("MESSAGE"), 200)
    scene.run()
    assert alice.got() == ["200"]
    assert not phones[0].count("CANCEL")  # §9.1: only INVITE is cancelled


# §16.8 Timer C


def test_timer_c_cancels_a_call_that_rings_for_ever() -> None:
    scene, alice, bob = pair(Config(timers=Timers(c=180.0)))
    alice.ask("INVITE", "sip:bob@example.com")
    scene.run()
    invite = bob.take("INVITE")
    bob.answer(invite, 180)
    scene.run(179_000)
    assert not bob.inbox
    scene.run(2_000)
    bob.answer(bob.take("CANCEL"), 200)
    bob.answer(invite, 487)
    scene.run()
    assert alice.got()[-1] in ("487", "408")


def test_a_provisional_response_starts_timer_c_anew() -> None:
    """§16.7 step 2: 101 to 199."""
    scene, alice, bob = pair(Config(timers=Timers(c=180.0)))
    alice.ask("INVITE", "sip:bob@example.com")
    scene.run()
    invite = bob.take("INVITE")
    for _ in range(3):
        bob.answer(invite, 180)
        scene.run(170_000)
    assert not bob.inbox


def test_timer_c_without_an_answer_to_the_cancel_is_408() -> None:
    """§16.8 and §9.1: nothing comes for 64*T1 after the CANCEL."""
    scene, alice, bob = pair(Config(timers=Timers(c=180.0)))
    alice.ask("INVITE", "sip:bob@example.com")
    scene.run()
    bob.answer(bob.take("INVITE"), 180)
    scene.run(181_000)
    alice.inbox.clear()
    scene.run(40_000)
    assert alice.got()[:1] in (["408"], ["487"])


# §16.10 CANCEL


def test_a_cancel_is_answered_and_passed_on() -> None:
    scene, alice, bob = pair()
    sent = alice.ask("INVITE", "sip:bob@example.com")
    scene.run()
    invite = bob.take("INVITE")
    bob.answer(invite, 180)
    scene.run()
    alice.inbox.clear()
    alice.cancel(sent)
    scene.run()
    assert alice.got() == ["200"]
    cancel = bob.take("CANCEL")
    assert cancel.branch == invite.branch
    bob.answer(cancel, 200)
    bob.answer(invite, 487)
    scene.run()
    final = alice.take("INVITE", 487)
    alice.ack(sent, final)
    scene.run(10_000)
    assert bob.got() == ["ACK"] and alice.got() == ["200"]


def test_a_cancel_before_any_answer_waits() -> None:
    """§9.1"""
    scene, alice, bob = pair()
    sent = alice.ask("INVITE", "sip:bob@example.com")
    scene.run()
    invite = bob.take("INVITE")
    alice.cancel(sent)
    scene.run(100)
    alice.take("CANCEL", 200)
    assert bob.count("CANCEL") == 0
    bob.answer(invite, 180)
    scene.run()
    bob.take("CANCEL")


def test_a_cancel_after_the_answer_changes_nothing() -> None:
    """§9.2: the INVITE has its final response."""
    scene, alice, bob = pair()
    sent = alice.ask("INVITE", "sip:bob@example.com")
    scene.run()
    bob.answer(bob.take("INVITE"), 200)
    scene.run()
    alice.cancel(sent)
    scene.run()
    assert alice.got() == ["200", "200"]
    assert not bob.inbox


def test_a_cancel_of_nothing_is_481_or_passed_on() -> None:
    """§16.10 passes it on statelessly; where it would match nothing it is 481 (§9.2)."""
    scene, alice, bob = pair()
    alice.ask("CANCEL", "sip:bob@example.com")
    scene.run()
    assert alice.got() == ["481"] or bob.got() == ["CANCEL"]


# A restart while the phone rings


def restarted() -> tuple[Scene, Speaker, Speaker, Sip, Sip]:
    """Alice has heard nothing of her INVITE, bob rings, and the server is a new one: her INVITE comes again."""
    scene, alice, bob = pair()
    sent = alice.ask("INVITE", "sip:bob@example.com")
    scene.run()
    first = bob.take("INVITE")
    bob.answer(first, 180, to=("10.9.9.9", 9))  # lost
    scene.server.crash(scene.now, 10)
    scene.run()
    alice.inbox.clear()
    alice.again(sent)
    scene.run()
    second = bob.take("INVITE")
    assert second.branch != first.branch
    bob.answer(second, 482, tag="other")  # §8.2.2.2: he has it, by the first
    scene.run()
    bob.take("ACK")
    assert alice.got() == []
    return scene, alice, bob, sent, first


def test_a_phone_that_has_the_invite_from_before_a_restart_is_waited_for() -> None:
    scene, alice, bob, sent, first = restarted()
    bob.answer(first, 180)
    bob.answer(first, 200, headers=[("Contact", f"<sip:bob@{literal(bob.address)}>")])
    scene.run()
    assert alice.got() == ["180", "200"]
    assert alice.take("INVITE", 200).all("via") == sent.all("via")
    bob.answer(first, 200)  # until the ACK is there
    scene.run()
    assert alice.got() == ["180", "200"]
    scene.run(300_000)
    assert alice.got() == ["180", "200"]


def test_a_phone_that_declines_after_a_restart_is_heard() -> None:
    scene, alice, bob, sent, first = restarted()
    bob.answer(first, 486)
    scene.run()
    final = alice.take("INVITE", 486)
    alice.ack(sent, final)
    scene.run(10_000)
    assert alice.got() == []


def test_a_call_is_cancelled_after_a_restart() -> None:
    scene, alice, bob, sent, first = restarted()
    alice.cancel(sent)
    scene.run()
    assert alice.got() == ["200", "487"]
    assert bob.take("CANCEL").branch == first.branch  # §9.2: of the INVITE that he rings for
    bob.answer(first, 487)
    scene.run()
    assert bob.take("ACK").branch == first.branch
    assert not bob.inbox


def test_a_phone_that_is_silent_after_a_restart_is_given_up() -> None:
    """§16.7: its 482 is passed on, once Timer C says that there is no answer."""
    scene, alice, _, _, _ = restarted()
    scene.run(180_000)
    assert alice.got() == []
    scene.run(2_000)
    assert alice.got()[0] == "482"


def test_a_482_after_a_start_is_passed_on_at_once() -> None:
    """§16.7 step 5, where the INVITE was not forwarded before."""
    scene, alice, bob = pair()
    scene.server.crash(scene.now, 10)
    scene.run()
    alice.ask("INVITE", "sip:bob@example.com")
    scene.run()
    bob.answer(bob.take("INVITE"), 482)
    scene.run()
    assert alice.got()[-1] == "482"


@pytest.mark.parametrize("early", [False, True], ids=["after its 482", "before its 482"])
def test_a_phone_that_is_known_to_ring_is_waited_for_until_timer_c(early: bool) -> None:
    scene, alice, bob = pair()
    sent = alice.ask("INVITE", "sip:bob@example.com")
    scene.run()
    first = bob.take("INVITE")
    scene.server.crash(scene.now, 10)
    scene.run()
    alice.inbox.clear()
    alice.again(sent)
    scene.run()
    for answer in (180, 482) if early else (482, 180):
        bob.answer(first if answer == 180 else bob.take("INVITE"), answer, tag=str(answer))
        scene.run()
    scene.run(60_000)
    bob.answer(first, 200, tag="180")
    scene.run()
    assert alice.got() == ["180", "200"]


def test_a_482_of_a_phone_with_two_contacts_is_passed_on() -> None:
    """§8.2.2.2: it has two copies from ourselves, whenever the server began."""
    scene = Scene()
    alice, bob = scene.peer("alice"), scene.peer("bob")
    bob.bind(contacts=[f"<sip:{user}@{literal(bob.address)}>" for user in ("bob", "desk")])
    scene.run()
    bob.take("REGISTER", 200)
    alice.ask("INVITE", "sip:bob@example.com")
    scene.run()
    bob.answer(bob.take("INVITE"), 486)
    bob.answer(bob.take("INVITE"), 482)
    scene.run()
    assert len(alice.got()) == 1


def test_a_482_is_no_riddle_for_an_old_server() -> None:
    """An INVITE is sent again for 64*T1 (§17.1.1.2)."""
    scene, alice, bob = pair()
    scene.run(33_000)
    alice.ask("INVITE", "sip:bob@example.com")
    scene.run()
    bob.answer(bob.take("INVITE"), 482)
    scene.run()
    assert alice.got() == ["482"]


def test_a_482_of_an_invite_by_another_proxy_is_passed_on() -> None:
    """That one may have been forked or looped on its way here."""
    scene, alice, bob = pair()
    other = "SIP/2.0/UDP 10.8.8.8;branch=z9hG4bKb"
    alice.ask("INVITE", "sip:bob@example.com", via=f"SIP/2.0/UDP {literal(alice.address)};branch=z9hG4bKa, {other}")
    scene.run()
    bob.answer(bob.take("INVITE"), 482)
    scene.run()
    assert alice.got() == ["482"]


def test_a_482_that_comes_after_the_answer_is_of_no_use() -> None:
    scene, alice, phones = forked(2)
    alice.ask("INVITE", "sip:bob@example.com")
    scene.run()
    phones[0].answer(phones[0].take("INVITE"), 200)
    phones[1].answer(phones[1].take("INVITE"), 482)
    scene.run(300_000)
    assert alice.got() == ["200"]
    phones[1].take("ACK")
