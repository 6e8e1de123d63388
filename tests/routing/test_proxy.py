"""The stateful proxy of RFC 3261 §16, by what goes in and what comes out: validation, targets, forwarding, dialogs."""

from __future__ import annotations

import pytest
from net.calling import dialog, pair, token_of
from net.network import Line
from net.scene import SERVER, Scene, Speaker
from net.sipwire import Sip, literal, param, request, uri_of

from sipfast._flow import Flow
from sipfast.config import Config, Peer
from sipfast.routing.context import live_contexts

BOTH = 4  # a flow token for both sides


# §16.3 Request validation


def test_an_unknown_uri_scheme_is_416() -> None:
    """§16.3 step 2"""
    scene, alice, _ = pair()
    alice.ask("INVITE", "im:bob@example.com", to="<sip:bob@example.com>")
    scene.run()
    alice.take("INVITE", 416)


def test_max_forwards_zero_is_483() -> None:
    """§16.3 step 3"""
    scene, alice, bob = pair()
    alice.ask("INVITE", "sip:bob@example.com", forwards=0)
    scene.run()
    alice.take("INVITE", 483)
    assert not bob.inbox


@pytest.mark.parametrize(("given", "forwarded"), [(70, "69"), (1, "0"), (None, "70"), (255, "254")])
def test_max_forwards_counts_down_and_is_added(given: int | None, forwarded: str) -> None:
    """§16.6 step 3"""
    scene, alice, bob = pair()
    alice.ask("INVITE", "sip:bob@example.com", forwards=given)
    scene.run()
    assert bob.take("INVITE").lines("max-forwards") == [forwarded]


def returned(bob: Speaker, arrived: Sip, uri: str) -> None:
    """Bob is a proxy: he puts his Via on and sends the request back to the server with another Request-URI."""
    fields = [("Via", f"SIP/2.0/UDP {literal(bob.address)};branch={bob.token('z9hG4bK')}")]
    fields += [(name, value) for name, value in arrived.headers if name not in ("content-length", "record-route")]
    bob.say(request("INVITE", uri, fields))


def test_a_loop_is_482() -> None:
    """§16.3 step 4, RFC 5393 §4.2: the same request with the same Request-URI comes back."""
    scene, alice, bob = pair()
    alice.ask("INVITE", "sip:bob@example.com")
    scene.run()
    returned(bob, bob.take("INVITE"), "sip:bob@example.com")
    scene.run()
    bob.take("INVITE", 482)
    assert bob.count("INVITE") == 0


def test_a_spiral_is_no_loop() -> None:
    """§16.3 step 4: it comes back with another Request-URI, and goes on."""
    scene, alice, bob = pair()
    carol = scene.peer("carol")
    carol.bind()
    alice.ask("INVITE", "sip:bob@example.com")
    scene.run()
    returned(bob, bob.take("INVITE"), "sip:carol@example.com")
    scene.run()
    assert carol.take("INVITE").uri == f"sip:carol@{literal(carol.address)}"
    assert bob.got() == []


@pytest.mark.parametrize("tags", [["foo"], ["foo", "bar"], ["foo, bar"]])
def test_proxy_require_is_420_with_what_is_not_supported(tags: list[str]) -> None:
    """§16.3 step 5"""
    scene, alice, bob = pair()
    alice.ask("INVITE", "sip:bob@example.com", headers=[("Proxy-Require", tag) for tag in tags])
    scene.run()
    answer = alice.take("INVITE", 420)
    assert answer.all("unsupported") == (["foo"] if tags == ["foo"] else ["foo", "bar"])
    assert not bob.inbox


def test_require_is_not_the_proxys_business() -> None:
    """§16.3 step 5 speaks of Proxy-Require only; Require is for the user agent (§8.2.2.3)."""
    scene, alice, bob = pair()
    alice.ask("INVITE", "sip:bob@example.com", headers=[("Require", "foo")])
    scene.run()
    assert bob.take("INVITE").first("require") == "foo"


# §16.5 Targets


def test_a_user_without_binding_is_480() -> None:
    scene, alice, _ = pair()
    alice.ask("INVITE", "sip:carol@example.com")
    scene.run()
    answer = alice.take("INVITE", 480)
    assert answer.to_tag
    assert not answer.lines("call-info")  # nobody asked for a redial


@pytest.mark.parametrize("method", ["INVITE", "MESSAGE", "OPTIONS", "REGISTER"])
def test_an_unknown_domain_is_not_relayed(method: str) -> None:
    scene, alice, _ = pair()
    elsewhere = scene.peer("elsewhere", ("10.0.9.9", 5060))
    uris = ("sip:x@10.0.9.9", "sip:x@other.example") if method != "REGISTER" else ("sip:10.0.9.9",)
    for uri in uris:
        alice.ask(method, uri)
        scene.run()
        alice.take(method, 403)
    assert not elsewhere.inbox


def test_the_domain_is_compared_without_case_and_port() -> None:
    scene, alice, bob = pair()
    alice.ask("INVITE", "sip:bob@EXAMPLE.com;user=phone")
    alice.ask("INVITE", "sip:bo%62@example.com")
    scene.run()
    assert bob.count("INVITE") == 2


def test_a_binding_that_ran_out_is_no_target() -> None:
    scene, alice, bob = pair()
    bob.bind(expires=60)
    scene.run(59_000)
    alice.ask("MESSAGE", "sip:bob@example.com")
    scene.run()
    assert bob.take("MESSAGE")
    scene.run(2_000)
    alice.ask("MESSAGE", "sip:bob@example.com")
    scene.run()
    alice.take("MESSAGE", 480)


# §16.6 Forwarding


def test_what_is_forwarded() -> None:
    """§16.6 steps 1, 2, 4 and 8; everything else stays as it was."""
    scene, alice, bob = pair()
    sent = alice.ask("INVITE", "sip:bob@example.com", headers=[("X-Odd", "a, b;c"), ("Subject", "hello")], body=b"v=0\r\n")
    scene.run()
    got = bob.take("INVITE")
    assert got.uri == f"sip:bob@{literal(bob.address)}"
    assert len(got.all("via")) == 2
    top, below = got.all("via")
    assert top.startswith("SIP/2.0/UDP 10.0.0.1:5060;")
    assert (param(top, "branch") or "").startswith("z9hG4bK")
    assert below == sent.all("via")[0]
    (ours,) = got.all("record-route")
    assert token_of(scene, ours)[0] == BOTH and token_of(scene, ours)[2:] == (Flow(*alice.address), Flow(*bob.address))
    for name in ("from", "to", "call-id", "cseq", "contact", "x-odd", "subject"):
        assert got.lines(name) == sent.lines(name)
    assert got.body == b"v=0\r\n"


@pytest.mark.parametrize("first", [True, False], ids=["above the Via", "below it"])
def test_record_route_goes_before_what_is_there(first: bool) -> None:
    """§16.6 step 4: "before any existing Record-Route header field values", wherever they stand in the message."""
    scene, alice, bob = pair()
    text = alice.text("INVITE", "sip:bob@example.com")
    theirs = b"Record-Route: <sip:10.0.7.7;lr>\r\n"
    place = text.index(b"Via:") if first else text.index(b"From:")
    alice.say(text[:place] + theirs + text[place:])
    scene.run()
    ours, other = bob.take("INVITE").all("record-route")
    assert token_of(scene, ours)[0] == BOTH and other == "<sip:10.0.7.7;lr>"


def test_an_unknown_method_is_forwarded() -> None:
    """§16.2: a proxy need not understand the method."""
    scene, alice, bob = pair()
    alice.ask("NEWMETHOD", "sip:bob@example.com")
    scene.run()
    arrived = bob.take("NEWMETHOD")
    bob.answer(arrived, 200)
    scene.run()
    assert alice.got() == ["200"]


def test_a_response_is_forwarded_without_our_via() -> None:
    """§16.7 steps 3 and 9: the topmost Via goes, nothing else changes."""
    scene, alice, bob = pair()
    sent = alice.ask("INVITE", "sip:bob@example.com")
    scene.run()
    extra = [("X-Odd", "kept"), ("Contact", "<sip:bob@10.0.1.2:5060>"), ("Content-Type", "application/sdp")]
    arrived = bob.take("INVITE")
    bob.answer(arrived, 183, headers=extra, body=b"v=0\r\n")
    scene.run()
    answer = alice.take("INVITE", 183)
    assert answer.all("via") == sent.all("via")
    assert answer.all("record-route") == arrived.all("record-route")
    assert [answer.first(name) for name in ("x-odd", "contact")] == ["kept", "<sip:bob@10.0.1.2:5060>"]
    assert (answer.body, answer.to_tag) == (b"v=0\r\n", "tag-bob")


def test_response_goes_back_to_where_the_request_came_from() -> None:
    """RFC 3581 §4 and RFC 3261 §18.2.1: rport and received are filled in."""
    scene, _, bob = pair()
    nat = scene.peer("nat", ("10.7.7.7", 40_000))
    nat.ask("INVITE", "sip:bob@example.com", via="SIP/2.0/UDP 192.168.0.5:5060;branch=z9hG4bKnat;rport")
    scene.run()
    arrived = bob.take("INVITE")
    below = arrived.all("via")[1]
    assert (param(below, "received"), param(below, "rport")) == ("10.7.7.7", "40000")
    bob.answer(arrived, 486)
    scene.run()
    answer = nat.take("INVITE", 486)
    assert param(answer.first("via"), "rport") == "40000"


def test_without_rport_the_sent_by_port_is_used() -> None:
    """RFC 3261 §18.2.2: received's address, sent-by's port."""
    scene, _, bob = pair()
    odd = scene.peer("odd", ("10.7.7.7", 40_000))
    home = scene.peer("home", ("10.7.7.7", 5099))
    odd.ask("INVITE", "sip:bob@example.com", via="SIP/2.0/UDP client.invalid:5099;branch=z9hG4bKx")
    scene.run()
    bob.answer(bob.take("INVITE"), 486)
    scene.run()
    assert param(home.take("INVITE", 486).first("via"), "received") == "10.7.7.7"
    assert not odd.inbox


def test_a_via_of_several_values_on_one_line() -> None:
    """§7.3.1: only the topmost value of the line is ours to remove."""
    scene, alice, bob = pair()
    alice.ask(
        "INVITE", "sip:bob@example.com",
        via=f"SIP/2.0/UDP {literal(alice.address)};branch=z9hG4bKa, SIP/2.0/UDP 10.8.8.8;branch=z9hG4bKb",
    )  # fmt: skip
    scene.run()
    arrived = bob.take("INVITE")
    assert [param(via, "branch") for via in arrived.all("via")][1:] == ["z9hG4bKa", "z9hG4bKb"]
    bob.answer(arrived, 486)
    scene.run()
    assert [param(via, "branch") for via in alice.take("INVITE", 486).all("via")] == ["z9hG4bKa", "z9hG4bKb"]


def test_compact_forms() -> None:
    scene, alice, bob = pair()
    alice.say(
        f"INVITE sip:bob@example.com SIP/2.0\r\nv: SIP/2.0/UDP {literal(alice.address)};branch=z9hG4bKc\r\n"
        "f: <sip:alice@example.com>;tag=1\r\nt: <sip:bob@example.com>\r\ni: c1\r\nCSeq: 1 INVITE\r\n"
        "m: <sip:alice@10.0.1.1>\r\nl: 0\r\n\r\n".encode()
    )
    scene.run()
    arrived = bob.take("INVITE")
    bob.answer(arrived, 486)
    scene.run()
    assert alice.take("INVITE", 486).branch == "z9hG4bKc"


# §16.4, §16.12 Inside a dialog


def test_a_bye_goes_by_the_route_set() -> None:
    scene, alice, bob = pair()
    _, _, ok = dialog(scene, alice, bob)
    alice.ask(
        "BYE", uri_of(ok.first("contact")), to=ok.first("to"), sender=ok.first("from"), call_id=ok.call_id, cseq=2,
        route=ok.all("record-route")[::-1], contact="",
    )  # fmt: skip
    scene.run()
    bye = bob.take("BYE")
    assert bye.lines("route") == [] and bye.uri == uri_of(ok.first("contact"))
    bob.answer(bye, 200)
    scene.run()
    assert alice.got() == ["200"]


def test_an_answered_bye_keeps_nothing_of_the_proxy() -> None:
    """Its transactions absorb retransmissions for half a minute, alone; only an INVITE has more 2xx to pass on."""

    scene, alice, bob = pair()
    before = live_contexts()
    _, _, ok = dialog(scene, alice, bob)
    alice.ask(
        "BYE", uri_of(ok.first("contact")), to=ok.first("to"), sender=ok.first("from"), call_id=ok.call_id, cseq=2,
        route=ok.all("record-route")[::-1], contact="",
    )  # fmt: skip
    scene.run()
    assert live_contexts() == before + 2
    bob.answer(bob.take("BYE"), 200)
    scene.run()
    assert alice.got() == ["200"]
    assert live_contexts() == before + 1, "the INVITE's"
    scene.run(70_000)
    assert live_contexts() == before, "nothing needs the garbage collector"


def test_the_end_of_the_engine_lets_go_of_every_context() -> None:
    before = live_contexts()
    scene, alice, bob = pair()
    dialog(scene, alice, bob)
    assert live_contexts() == before + 1
    scene.server.engine.close()
    assert live_contexts() == before


def test_the_callee_may_end_the_call() -> None:
    scene, alice, bob = pair()
    _, arrived, ok = dialog(scene, alice, bob)
    bob.ask(
        "BYE", uri_of(arrived.first("contact")), to=ok.first("from"), sender=ok.first("to"), call_id=ok.call_id,
        route=arrived.all("record-route"), contact="",
    )  # fmt: skip
    scene.run()
    bye = alice.take("BYE")
    alice.answer(bye, 200)
    scene.run()
    assert bob.got() == ["200"]


def test_a_strict_router_puts_our_uri_into_the_request_uri() -> None:
    """§16.4: the Request-URI is the value that we put into Record-Route; the last Route value is the real target."""
    scene, alice, bob = pair()
    _, _, ok = dialog(scene, alice, bob)
    alice.ask(
        "BYE", uri_of(ok.all("record-route")[0]), to=ok.first("to"), sender=ok.first("from"), call_id=ok.call_id,
        cseq=2, route=[ok.first("contact")], contact="",
    )  # fmt: skip
    scene.run()
    bye = bob.take("BYE")
    assert bye.uri == uri_of(ok.first("contact")) and not bye.lines("route")


def with_hop() -> tuple[Scene, Speaker, Speaker, Speaker]:
    """As `pair`, and a proxy that the server knows."""
    scene, alice, bob = pair(Config(peer=(Peer(addresses=("10.9.0.0/16",), rights=("relay",)),)))
    return scene, alice, bob, scene.peer("hop", ("10.9.0.1", 5060))


def test_further_routes_are_followed() -> None:
    """§16.6 step 6 and §16.12.1: a loose router next."""
    scene, alice, bob, hop = with_hop()
    _, _, ok = dialog(scene, alice, bob)
    next_route = f"<sip:{literal(hop.address)};lr>"
    alice.ask(
        "BYE", "sip:bob@10.200.0.1", to=ok.first("to"), sender=ok.first("from"), call_id=ok.call_id, cseq=2,
        route=[*ok.all("record-route"), next_route], contact="",
    )  # fmt: skip
    scene.run()
    bye = hop.take("BYE")
    assert bye.all("route") == [next_route] and bye.uri == "sip:bob@10.200.0.1"


def test_a_further_route_to_somebody_unknown_goes_by_the_token() -> None:
    """RFC 5626 §5.3.1: whoever sent us the route set is where the flow leads, and passes it on."""
    scene, alice, bob = pair()
    _, _, ok = dialog(scene, alice, bob)
    hop = scene.peer("hop")
    next_route = f"<sip:{literal(hop.address)};lr>"
    alice.ask(
        "BYE", "sip:bob@10.200.0.1", to=ok.first("to"), sender=ok.first("from"), call_id=ok.call_id, cseq=2,
        route=[*ok.all("record-route"), next_route], contact="",
    )  # fmt: skip
    scene.run()
    assert bob.take("BYE").all("route") == [next_route] and not hop.inbox


def test_a_strict_router_next() -> None:
    """§16.6 step 6: without lr, its URI goes into the Request-URI, and that to the end of Route."""
    scene, alice, bob, hop = with_hop()
    _, _, ok = dialog(scene, alice, bob)
    alice.ask(
        "BYE", "sip:bob@10.200.0.1", to=ok.first("to"), sender=ok.first("from"), call_id=ok.call_id, cseq=2,
        route=[*ok.all("record-route"), f"<sip:{literal(hop.address)}>"], contact="",
    )  # fmt: skip
    scene.run()
    bye = hop.take("BYE")
    assert bye.all("route") == ["<sip:bob@10.200.0.1>"] and bye.uri == f"sip:{literal(hop.address)}"


def test_several_routes_on_one_line() -> None:
    scene, alice, bob, hop = with_hop()
    _, _, ok = dialog(scene, alice, bob)
    next_route = f"<sip:{literal(hop.address)};lr>"
    alice.ask(
        "BYE", "sip:bob@10.200.0.1", to=ok.first("to"), sender=ok.first("from"), call_id=ok.call_id, cseq=2,
        route=[f"{ok.first('record-route')}, {next_route}"], contact="",
    )  # fmt: skip
    scene.run()
    assert hop.take("BYE").all("route") == [next_route]


def test_a_preloaded_route_to_us_is_taken_off() -> None:
    """§16.4: phones are often told to route everything by us."""
    scene, alice, bob = pair()
    alice.ask("INVITE", "sip:bob@example.com", route=["<sip:10.0.0.1:5060;lr>"])
    scene.run()
    assert bob.take("INVITE").lines("route") == []


def test_an_ack_is_never_answered() -> None:
    """§17: there are no responses to ACK, whatever is wrong with it."""
    scene, alice, bob = pair()
    for uri in ("sip:bob@other.example", "sip:carol@example.com", "im:x"):
        alice.ask("ACK", uri, to="<sip:carol@example.com>;tag=1")
    alice.ask("ACK", "sip:bob@example.com", forwards=0)
    scene.run(10_000)
    assert not alice.inbox
    assert bob.got() in ([], ["ACK"])


# Responses that belong to nothing


def test_strange_responses_are_dropped() -> None:
    """§18.1.2: a topmost Via that is not ours; RFC 6026 §8.9: a branch that no transaction has."""
    scene, alice, bob = pair()
    invite = alice.ask("INVITE", "sip:bob@example.com")
    scene.run()
    arrived = bob.take("INVITE")
    alice.inbox.clear()
    bob.answer(invite, 200, to=SERVER)
    forged = Sip(arrived.raw.replace(arrived.branch.encode(), b"z9hG4bKforged"))
    bob.answer(forged, 180, to=SERVER)
    bob.answer(forged, 486, to=SERVER)
    scene.run(100)
    assert alice.got() == []
    bob.answer(arrived, 486)
    scene.run(100)
    assert alice.got()[:1] == ["486"]


@pytest.mark.parametrize("seed", range(30))
def test_phones_talk_over_rough_lines(seed: int) -> None:
    scene = Scene(seed=seed, line=Line(latency=(1, 40), loss=0.15, reorder=0.1, duplicate=0.1))
    alice, bob = scene.phone("alice", talk_time=3_000), scene.phone("bob")
    call = alice.call("bob")
    scene.network.wait(lambda: call.over, 120_000)
    scene.run(100_000)
    assert call.was_answered, scene.network.ladder()
    assert [other.state for other in bob.calls] == ["ended"]
