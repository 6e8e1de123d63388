"""A server behind that does not answer: known in a few seconds, said once, probed until it is back; what waits for it goes
another way, and nobody is taken for absent because of it."""

from __future__ import annotations

import pytest
from net.phone import Call
from net.scene import SERVER, Scene
from net.sipwire import Address, Sip, literal
from net.stores import count_watches
from net.upstream import Upstream

from sipfast.config import Config, Redial, Timers
from sipfast.config import Upstream as Behind
from sipfast.errors import ConfigError

FIRST: Address = ("10.0.5.1", 5060)
SECOND: Address = ("10.0.5.2", 5070)
TIMEOUT, PROBE = 4_000, 5_000  # ms: the defaults


def behind(*addresses: Address, **more: float) -> Behind:
    uris = tuple(f"sip:{literal(address)}" for address in addresses)
    return Behind(uri=uris if len(uris) > 1 else uris[0], domains=("example.com",), **more)


class Stage:
    """Servers behind that share their bindings, and alice, who is registered with them."""

    def __init__(self, *addresses: Address, scene: Scene | None = None, config: Config | None = None) -> None:
        self.scene = scene or Scene(config or Config(upstream=(behind(*addresses),)))
        self.network = self.scene.network
        self.servers = [self.network.add(Upstream(f"up{i}", address)) for i, address in enumerate(addresses, 1)]
        for server in self.servers:
            server.bindings = self.servers[0].bindings
            server.record_route = True
        self.alice = self.scene.phone("alice")

    def kill(self, number: int) -> None:
        self.network.remove(self.servers[number])

    def call(self, to: str = "bob", expires: int | None = 3600) -> tuple[Call, int]:
        """A call that has come to its first end or was answered, and the ms that it took."""
        begun, call = self.scene.now, self.alice.call(to, expires)
        self.network.wait(lambda: call.over or call.was_answered)
        return call, self.scene.now - begun

    def known_down(self) -> None:
        """All servers are dead, and that is known."""
        for number in range(len(self.servers)):
            self.kill(number)
        self.call("nobody", expires=None)


def sent(stage: Stage, target: str, method: str) -> int:
    """How many requests of a method the server sent to somebody."""
    events = [event for event in stage.network.trace if event.source == "server" and event.target == target]
    return sum(event.data.startswith(method.encode() + b" ") for event in events)


def lines(caplog: pytest.LogCaptureFixture) -> list[tuple[str, object]]:
    """What was logged about upstreams."""
    found = [record for record in caplog.records if record.name == "sipfast.routing.upstream"]
    return [(record.message, record.__dict__["sip"]["upstream"]) for record in found]


def retry_after(call: Call) -> list[str]:
    assert call.final is not None
    return call.final.lines("retry-after")


# Down


def test_it_is_down_after_the_timeout_and_that_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage(FIRST)
    stage.kill(0)
    call, took = stage.call()
    assert call.status == 503 and retry_after(call) == ["5"], stage.network.ladder()
    assert TIMEOUT <= took < TIMEOUT + 100
    for _ in range(3):
        stage.call()
    stage.scene.run(60_000)
    assert lines(caplog) == [("upstream-down", "10.0.5.1:5060")]


def test_what_was_given_up_is_sent_no_more() -> None:
    """The caller has its 503: a server that comes back must not ring anybody for that call."""
    stage = Stage(FIRST)
    stage.kill(0)
    stage.call()
    stage.network.trace.clear()
    stage.scene.run(60_000)
    assert not sent(stage, literal(FIRST), "INVITE")


def test_then_nobody_waits_for_it() -> None:
    """RFC 3261 §21.5.4"""
    stage = Stage(FIRST)
    stage.known_down()
    stage.network.trace.clear()
    call, took = stage.call()
    assert call.status == 503 and retry_after(call) == ["5"] and took < 100
    assert not [event for event in stage.network.trace if event.data.startswith(b"INVITE") and event.target != "server"]


def test_a_register_is_told_so_too() -> None:
    stage = Stage(FIRST)
    stage.known_down()
    bob = stage.scene.phone("bob", register=False)
    bob.register()
    stage.network.wait(lambda: bob.register_statuses, 100)
    assert bob.register_statuses == [503]
    (answer,) = stage.network.sent(stage.scene.server, "REGISTER", 503)
    assert answer.lines("retry-after") == ["5"]
    assert not stage.scene.store.is_known(b"sip:bob@example.com")


@pytest.mark.parametrize("known", [False, True], ids=["that is found out", "that is known"])
def test_a_dead_server_arms_nothing(known: bool) -> None:
    stage = Stage(FIRST)
    stage.kill(0)
    if known:
        stage.known_down()
    call, _ = stage.call("bob", expires=3600)
    assert call.status == 503 and call.final is not None
    assert not call.final.lines("call-info") and count_watches(stage.scene.store) == 0


def test_a_watch_outlives_a_dead_server() -> None:
    stage = Stage(FIRST)
    call, _ = stage.call()
    assert call.status == 480 and count_watches(stage.scene.store) == 1
    stage.known_down()
    assert stage.call()[0].status == 503
    assert count_watches(stage.scene.store) == 1
    stage.network.plug(stage.servers[0])
    stage.scene.run(PROBE)
    bob = stage.scene.phone("bob")
    stage.network.wait(lambda: stage.alice.calls[-1].was_answered)
    stage.scene.run()  # the ACK
    assert bob.calls and count_watches(stage.scene.store) == 0


def test_who_asks_for_no_redial_any_more_is_heard_once_it_is_up() -> None:
    """It alone knows who asks."""
    stage = Stage(FIRST)
    stage.call()
    stage.known_down()
    call, _ = stage.call(expires=0)
    assert call.status == 503 and count_watches(stage.scene.store) == 1
    stage.network.plug(stage.servers[0])
    stage.scene.run(PROBE)
    call, _ = stage.call(expires=0)
    assert call.status == 480 and count_watches(stage.scene.store) == 0


def test_a_100_is_an_answer() -> None:
    """The server works on it, for as long as Timer C allows."""
    stage = Stage(FIRST)
    peer = stage.scene.peer("silent", stage.servers[0].address)
    call = stage.alice.call("bob")
    stage.scene.run(50)
    peer.answer(peer.take("INVITE"), 100)
    peer.inbox.clear()
    stage.scene.run(20_000)
    assert not call.over and not peer.count("OPTIONS")


def test_a_server_that_drops_one_request_is_not_down(caplog: pytest.LogCaptureFixture) -> None:
    """It is asked before it is given up, so that nobody can bring it down by what it does not like."""
    stage = Stage(FIRST)
    stage.servers[0].deaf_to = frozenset({"INVITE"})
    call = stage.alice.call("bob")
    stage.scene.run(20_000)
    assert stage.servers[0].options and not call.over
    bob = stage.scene.phone("bob")
    assert bob.register_statuses == [200] and not lines(caplog)
    stage.network.wait(lambda: call.over)
    assert call.status == 408


def test_one_lost_answer_is_not_the_end(caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage(FIRST)
    stage.kill(0)
    call = stage.alice.call("bob")
    stage.scene.run(3_000)
    stage.network.plug(stage.servers[0])
    stage.network.wait(lambda: call.over)
    assert call.status == 480 and not lines(caplog)


def test_a_probe_that_cannot_be_delivered_settles_it() -> None:
    """RFC 3261 §18.4; the INVITE itself would be sent again much later here."""
    stage = Stage(FIRST, config=Config(upstream=(behind(FIRST),), timers=Timers(t1=4.0)))
    stage.kill(0)
    stage.network.after(TIMEOUT // 4, setattr, stage.network, "icmp", True)
    call, took = stage.call()
    assert call.status == 503 and took < TIMEOUT // 2 + 100


def test_the_timeout_is_configurable() -> None:
    stage = Stage(FIRST, config=Config(upstream=(behind(FIRST, timeout=1.0, probe_interval=29.5),)))
    stage.kill(0)
    call, took = stage.call()
    assert call.status == 503 and 1_000 <= took < 1_100 and retry_after(call) == ["30"]


def test_where_transactions_end_before_the_timeout() -> None:
    """64 * T1 may be the shorter one."""
    stage = Stage(FIRST, config=Config(upstream=(behind(FIRST),), timers=Timers(t1=0.02)))
    stage.scene.run(1_000)  # nothing of the registration is under way any more
    stage.kill(0)
    call, took = stage.call()
    assert call.status == 503 and 1_280 <= took < 1_400


# Calls to known bindings go on


@pytest.mark.parametrize("known", [False, True], ids=["that is found out", "that is known"])
def test_a_call_to_a_known_phone_goes_on(known: bool) -> None:
    stage = Stage(FIRST)
    bob = stage.scene.phone("bob")
    stage.alice.talk_time = 3_000
    stage.kill(0)
    if known:
        stage.known_down()
    call, took = stage.call()
    assert call.was_answered and took < (2_100 if known else TIMEOUT + 2_100), stage.network.ladder()
    stage.network.wait(lambda: call.over)
    stage.scene.run(1_000)
    assert [other.state for other in bob.calls] == ["ended"]


def test_a_message_to_a_known_phone_too() -> None:
    stage = Stage(FIRST)
    bob, alice = stage.scene.peer("bob"), stage.scene.peer("alice2")
    bob.bind()
    stage.scene.run()
    stage.known_down()
    alice.ask("MESSAGE", "sip:bob@example.com")
    stage.scene.run()
    bob.answer(bob.take("MESSAGE"), 200)
    stage.scene.run()
    assert alice.got() == ["200"]


@pytest.mark.parametrize("method", ["SUBSCRIBE", "PUBLISH"])
def test_what_the_server_itself_would_answer_waits(method: str) -> None:
    stage = Stage(FIRST)
    bob, alice = stage.scene.peer("bob"), stage.scene.peer("alice2")
    bob.bind()
    stage.scene.run()
    stage.known_down()
    alice.ask(method, "sip:bob@example.com")
    stage.scene.run()
    assert alice.take(method, 503).lines("retry-after") == ["5"] and not bob.count(method)


def test_a_phone_that_declines_is_no_absence() -> None:
    """Its own 480, not the server's."""
    stage = Stage(FIRST)
    bob = stage.scene.phone("bob")
    stage.known_down()
    bob.on_invite = "480"
    call, _ = stage.call()
    assert call.status == 480 and count_watches(stage.scene.store) == 0


# Back


def test_a_probe_finds_it_back(caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage(FIRST)
    stage.known_down()
    stage.scene.run(30_000)
    stage.network.plug(stage.servers[0])
    stage.scene.run(PROBE)
    assert lines(caplog) == [("upstream-down", "10.0.5.1:5060"), ("upstream-up", "10.0.5.1:5060")]
    (record,) = [record for record in caplog.records if record.message == "upstream-up"]
    assert 30 <= record.__dict__["sip"]["down_for"] <= 35
    call, took = stage.call()
    assert call.status == 480 and took < 100
    stage.network.trace.clear()
    stage.scene.run(60_000)
    assert not sent(stage, "up1", "OPTIONS"), "and asks no more"


def test_what_a_probe_is() -> None:
    """RFC 3261 §11.1"""
    stage = Stage(FIRST)
    stage.known_down()
    stage.network.plug(stage.servers[0])
    stage.scene.run(PROBE)
    probe = stage.servers[0].options[0]
    assert probe.uri == "sip:10.0.5.1:5060" and not probe.to_tag and probe.from_tag
    assert probe.all("via")[0].startswith(f"SIP/2.0/UDP {literal(SERVER)};")
    assert probe.lines("max-forwards") == ["70"] and probe.lines("contact") == [f"<sip:{literal(SERVER)}>"]


@pytest.mark.parametrize(("status", "up"), [(200, True), (404, True), (483, True), (500, True), (503, False)])
def test_any_answer_to_a_probe_but_503_brings_it_back(status: int, up: bool) -> None:
    """§21.5.4: a 503 says that it serves nobody now."""
    stage = Stage(FIRST)
    stage.known_down()
    stage.servers[0].options_status = status
    stage.scene.run(1_000)
    stage.network.plug(stage.servers[0])
    stage.scene.run(PROBE)
    assert stage.servers[0].options
    assert stage.call()[0].status == (480 if up else 503)
    if not up:
        stage.servers[0].options_status = 200
        stage.scene.run(PROBE)
        assert stage.call()[0].status == 480


def test_a_request_of_its_own_brings_it_back(caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage(FIRST, config=Config(upstream=(behind(FIRST, probe_interval=3600.0),)))
    stage.known_down()
    stage.scene.run(40_000)  # no probe is out
    peer = stage.scene.peer("upstream", FIRST)
    peer.ask("OPTIONS", f"sip:{literal(SERVER)}")
    stage.scene.run(50)
    assert lines(caplog)[-1] == ("upstream-up", "10.0.5.1:5060")


def test_probes_are_few() -> None:
    """One OPTIONS every interval, and its retransmissions."""
    stage = Stage(FIRST)
    stage.known_down()
    stage.network.trace.clear()
    stage.scene.run(60_000)
    calls = {Sip(event.data).call_id for event in stage.network.trace if event.data.startswith(b"OPTIONS")}
    assert len(calls) in (11, 12, 13)
    assert len(stage.network.trace) <= 13 * 4


def test_a_late_answer_counts_and_the_call_that_was_given_up_is_cancelled() -> None:
    """§9.1: an INVITE that got no 1xx is cancelled when one comes."""
    stage = Stage(FIRST, SECOND)
    stage.scene.phone("bob")
    peer = stage.scene.peer("slow", FIRST)
    call = stage.alice.call("bob")
    stage.scene.run(TIMEOUT + 100)
    invite = peer.take("INVITE")
    peer.answer(invite, 180)
    stage.scene.run(50)
    assert peer.take("CANCEL").branch == invite.branch
    peer.answer(invite, 487)
    stage.network.wait(lambda: call.was_answered)
    assert peer.count("ACK") == 1


def test_a_late_200_is_not_lost() -> None:
    """§16.7 step 5: every 2xx to INVITE goes up."""
    stage = Stage(FIRST, SECOND)
    bob = stage.scene.phone("bob", on_invite="ring")
    peer = stage.scene.peer("slow", FIRST)
    call = stage.alice.call("bob")
    stage.scene.run(TIMEOUT + 100)
    assert [other.state for other in bob.calls] == ["ringing"]
    peer.answer(peer.take("INVITE"), 200, headers=[("Contact", f"<sip:bob@{literal(FIRST)}>")])
    stage.scene.run(100)
    assert call.was_answered and bob.calls[0].status == 487  # §16.7 step 10


# Several addresses


def test_the_first_one_that_is_up_gets_the_requests() -> None:
    stage = Stage(FIRST, SECOND)
    assert [len(server.registers) for server in stage.servers] == [1, 0]


def test_an_invite_fails_over_while_it_waits(caplog: pytest.LogCaptureFixture) -> None:
    """RFC 3263 §4.3: a new transaction, with a new branch, to the next address."""
    stage = Stage(FIRST, SECOND)
    bob = stage.scene.phone("bob")
    stage.kill(0)
    call, took = stage.call()
    assert call.was_answered and took < TIMEOUT + 2_100
    invites = [event for event in stage.network.trace if event.data.startswith(b"INVITE")]
    first, second = (
        {Sip(event.data).branch for event in invites if event.target == target} for target in (literal(FIRST), "up2")
    )
    assert len(first) == len(second) == 1 and first != second
    assert len(bob.calls) == 1 and lines(caplog) == [("upstream-down", "10.0.5.1:5060")]
    assert stage.call("nobody")[1] < 100, "the next one does not wait"


def test_a_register_fails_over_while_it_waits() -> None:
    stage = Stage(FIRST, SECOND)
    stage.kill(0)
    bob = stage.scene.phone("bob", register=False)
    bob.register()
    stage.network.wait(lambda: bob.registered)
    assert bob.register_statuses == [200]
    (register,) = stage.servers[1].registers
    assert len(register.all("path")) == 1 and len(register.all("via")) == 2
    assert stage.scene.store.bindings(b"sip:bob@example.com")
    stage.network.trace.clear()
    stage.scene.run(60_000)
    assert not sent(stage, literal(FIRST), "REGISTER"), "what was given up is sent no more"


def test_all_that_wait_fail_over_at_once() -> None:
    stage = Stage(FIRST, SECOND)
    stage.kill(0)
    stage.alice.call("one", 0)
    stage.scene.run(3_000)
    call, took = stage.call("two", 0)
    assert call.status == 480 and took < 1_100


def test_requests_stay_with_the_second_when_the_first_is_back() -> None:
    """A registrar of its own would have lost what registered meanwhile."""
    stage = Stage(FIRST, SECOND)
    stage.kill(0)
    stage.call()
    stage.network.plug(stage.servers[0])
    stage.scene.run(PROBE + 1_000)
    before = len(stage.servers[0].registers)
    stage.alice.register()
    stage.scene.run(1_000)
    assert (len(stage.servers[0].registers) - before, len(stage.servers[1].registers)) == (0, 1)
    stage.kill(1)
    assert stage.call()[0].status == 480, "until that one fails, too"


def test_both_down() -> None:
    stage = Stage(FIRST, SECOND)
    bob = stage.scene.phone("bob")
    stage.known_down()
    call, took = stage.call("carol")
    assert call.status == 503 and took < 100 and retry_after(call) == ["5"]
    assert count_watches(stage.scene.store) == 0
    call, took = stage.call("bob")
    assert call.was_answered and took < 2_100 and len(bob.calls) == 1


def test_either_one_brings_the_domain_back() -> None:
    stage = Stage(FIRST, SECOND)
    stage.known_down()
    stage.network.plug(stage.servers[1])
    stage.scene.run(PROBE)
    assert stage.call()[0].status == 480


def test_a_503_is_tried_at_the_next_address(caplog: pytest.LogCaptureFixture) -> None:
    """RFC 3261 §21.5.4, RFC 3263 §4.3. One request's 503 does not mean that the server is down."""
    stage = Stage(FIRST, SECOND)
    stage.servers[0].unbound_status = 503
    call, took = stage.call()
    assert call.status == 480 and took < 100 and not lines(caplog)
    stage.servers[1].unbound_status = 503
    call, _ = stage.call("carol")
    assert call.status == 500, "§16.7 step 6"
    assert not retry_after(call)


def test_requests_from_each_address_are_known_as_the_upstreams() -> None:
    """Only what comes from there may leave for an address that nobody has registered."""
    stage = Stage(FIRST, SECOND)
    elsewhere = stage.scene.peer("elsewhere")
    for number, address in enumerate((FIRST, SECOND)):
        stage.kill(number)
        peer = stage.scene.peer(f"peer{number}", address)
        peer.ask("MESSAGE", f"sip:x@{literal(elsewhere.address)}")
        stage.scene.run(50)
        elsewhere.answer(elsewhere.take("MESSAGE"), 200)
        stage.scene.run(50)
        assert peer.got() == ["200"]
    stranger = stage.scene.peer("stranger", ("10.0.5.3", 5060))
    stranger.ask("MESSAGE", f"sip:x@{literal(elsewhere.address)}")
    stage.scene.run(50)
    stranger.take("MESSAGE", 403)


def test_a_name_with_several_addresses() -> None:
    config = Config(upstream=(Behind(uri="sip:pbx.example:5070", domains=("example.com",)),))
    addresses = [("10.0.5.1", 5070), ("10.0.5.2", 5070)]
    scene = Scene(config, hosts={"pbx.example": ["10.0.5.1", "10.0.5.2"]})
    stage = Stage(*addresses, scene=scene)
    stage.kill(0)
    assert stage.call()[0].status == 480
    assert len(stage.servers[0].registers) == 1


def test_a_name_in_a_route_means_an_address_that_is_up() -> None:
    """RFC 3263 §4.3: a dialog that was recorded by name outlives one of the servers."""
    config = Config(upstream=(Behind(uri="sip:pbx.example", domains=("example.com",)),))
    addresses = [("10.0.5.1", 5060), ("10.0.5.2", 5060)]
    stage = Stage(*addresses, scene=Scene(config, hosts={"pbx.example": ["10.0.5.1", "10.0.5.2"]}))
    for server in stage.servers:
        server.goes_by = "pbx.example"
    bob = stage.scene.phone("bob")
    call, _ = stage.call()
    assert any("pbx.example" in route for route in call.routes)
    stage.kill(0)
    stage.call("nobody", expires=None)
    stage.alice.hang_up(call)
    stage.scene.run(100)
    assert bob.calls[0].state == "ended", stage.network.ladder()


def test_a_request_that_was_cancelled_goes_nowhere_else() -> None:
    """§16.10: its caller has given it up."""
    stage = Stage(FIRST, SECOND)
    bob = stage.scene.phone("bob")
    stage.kill(0)
    call = stage.alice.call("bob")
    stage.scene.run(1_000)
    stage.alice.hang_up(call)
    stage.network.wait(lambda: call.over)
    assert call.status == 487 and not bob.calls


def test_an_in_dialog_request_by_a_dead_server_is_told_so() -> None:
    """Its Route names that server: none stands in for it, and nobody waits 32 s."""
    stage = Stage(FIRST)
    stage.scene.phone("bob")
    call, _ = stage.call()
    stage.known_down()
    stage.network.trace.clear()
    stage.alice.hang_up(call)
    stage.scene.run(100)
    (answer,) = stage.network.sent(stage.scene.server, "BYE", 503)
    assert answer.lines("retry-after") == ["5"]


def test_an_address_that_two_domains_share_is_one() -> None:
    config = Config(
        upstream=(
            Behind(uri=f"sip:{literal(FIRST)}", domains=("example.com",)),
            Behind(uri=f"sip:{literal(FIRST)}", domains=("b.example",)),
        )
    )
    stage = Stage(FIRST, config=config)
    stage.known_down()
    call, took = stage.call("sip:x@b.example")
    assert call.status == 503 and took < 100
    assert stage.scene.server.counters["upstream_failures"] == 1


def test_an_address_of_a_family_that_is_not_listened_on_is_one_line() -> None:
    with pytest.raises(ConfigError, match=r"^upstream sip:\[2001:db8::1\]: "):
        Scene(Config(upstream=(Behind(uri="sip:[2001:db8::1]"),)))


def test_a_recall_during_an_outage_keeps_the_watch() -> None:
    """Bob is known and alice calls him straight: the redial does not need the server that is down."""
    stage = Stage(FIRST, config=Config(upstream=(behind(FIRST),), redial=Redial(guard=8.0)))
    stage.call()
    stage.scene.phone("bob")
    stage.known_down()
    stage.network.wait(lambda: stage.alice.calls[-1].recalled and stage.alice.calls[-1].was_answered)
    stage.scene.run()  # the ACK
    assert count_watches(stage.scene.store) == 0


def test_nothing_is_left_behind() -> None:
    stage = Stage(FIRST, SECOND)
    stage.known_down()
    for server in stage.servers:
        stage.network.plug(server)
    stage.alice.forget_timers()
    stage.scene.run(120_000)
    counters = stage.scene.server.counters
    assert counters["client_transactions"] == counters["server_transactions"] == 0
