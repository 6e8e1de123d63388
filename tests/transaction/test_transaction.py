"""The transaction layer against RFC 3261 §17 and RFC 6026, on a virtual clock: timers, CANCEL, and that nothing is left.

The state machines' rows are in test_machines.py, matching in test_matching.py and test_branch.py.
"""

from __future__ import annotations

import gc
from random import Random

import pytest
from transactions import START, TCP, UDP, User, World, answer_to, reply, request, summary

from sipfast import config
from sipfast._flow import Flow
from sipfast._parser import Message, parse
from sipfast._writer import response
from sipfast.transaction import machines as _machines
from sipfast.transaction.client import ClientTransaction
from sipfast.transaction.layer import ABSORBED, NEW, UNMATCHED
from sipfast.transaction.server import ServerTransaction
from sipfast.transaction.transaction import live_objects


def test_a_terminated_server_transaction_sends_nothing():
    world = World()
    transaction, _ = world.serve()
    reply(transaction, 200, world.now, request("INVITE"))
    world.run_to(32_000)
    assert transaction.state_name == "Terminated"
    world.sent()
    assert transaction.respond(b"SIP/2.0 200 OK\r\n\r\n", 200, world.now) == 0
    assert transaction.retract(b"SIP/2.0 503 No\r\n\r\n", 503, world.now) == 0
    assert world.sent() == []


def test_an_invite_before_any_response_is_absorbed_silently():
    world = World()
    world.serve()
    assert world.take(request("INVITE"))[0] == ABSORBED
    assert world.sent() == []


# ---- timers

SEVEN = [0, 500, 1_500, 3_500, 7_500, 15_500, 31_500]  # §17.1.1.2: "the time required to send seven requests"
CAPPED = [0, 500, 1_500, 3_500, 7_500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500]


def test_timers_a_and_b_retransmit_an_invite_until_64_t1():
    world = World()
    transaction, user = world.start()
    world.run_to(60_000)
    assert world.schedule() == [(ms, "INVITE") for ms in SEVEN]
    assert (user.told, user.times) == (["failure 408"], [32_000])
    assert transaction.timed_out
    assert world.layer.counters()["retransmissions_sent"] == 6
    assert world.layer.counters()["timeouts"] == 1


def test_timers_e_and_f_cap_at_t2():
    world = World()
    _, user = world.start("OPTIONS")
    world.run_to(60_000)
    assert world.schedule() == [(ms, "OPTIONS") for ms in CAPPED]
    assert (user.told, user.times) == (["failure 408"], [32_000])


def test_timer_e_is_t2_once_a_provisional_response_has_come():
    world = World()
    _, user = world.start("OPTIONS")
    world.run_to(600)
    world.answer(answer_to(world.line.sent[0][1], 100))
    world.run_to(60_000)
    # 500 and 1,500 were scheduled before; then every T2 = 4 s
    expected = [0, 500, 1_500, *range(5_500, 32_000, 4_000)]
    assert world.schedule() == [(ms, "OPTIONS") for ms in expected]
    assert user.times[-1] == 32_000


def test_timers_g_and_h_retransmit_a_final_response():
    world = World()
    transaction, user = world.serve()
    reply(transaction, 486, world.now, request("INVITE"))
    world.run_to(60_000)
    assert world.schedule() == [(ms, "486") for ms in CAPPED]
    assert (user.told, user.times) == (["gone"], [32_000])
    assert transaction.timed_out


def test_a_2xx_is_not_retransmitted_by_the_transaction():
    # RFC 6026 §7.1
    world = World()
    transaction, _ = world.serve()
    reply(transaction, 200, world.now, request("INVITE"))
    world.run_to(60_000)
    assert world.schedule() == [(0, "200")]


def test_no_retransmission_on_a_reliable_flow():
    world = World(flow=TCP)
    world.start()
    world.start("OPTIONS")
    transaction, _ = world.serve(branch="z9hG4bKtcp")
    reply(transaction, 486, world.now, request("INVITE", "z9hG4bKtcp"))
    world.run_to(60_000)
    assert [word for _, word in world.schedule()] == ["INVITE", "OPTIONS", "486"]


LINGERS = [
    # machine, final status, then ACK?, ms unreliable, ms reliable
    pytest.param("client", "INVITE", 486, False, 32_000, 0, id="D"),
    pytest.param("server", "INVITE", 486, True, 5_000, 0, id="I"),
    pytest.param("server", "OPTIONS", 200, False, 32_000, 0, id="J"),
    pytest.param("client", "OPTIONS", 200, False, 5_000, 0, id="K"),
    pytest.param("server", "INVITE", 200, False, 32_000, 32_000, id="L"),
    pytest.param("client", "INVITE", 200, False, 32_000, 32_000, id="M"),
    pytest.param("server", "INVITE", 486, False, 32_000, 32_000, id="H"),
    pytest.param("client", "INVITE", 0, False, 32_000, 32_000, id="B"),
    pytest.param("client", "OPTIONS", 0, False, 32_000, 32_000, id="F"),
]


@pytest.mark.parametrize("flow", [UDP, TCP], ids=["unreliable", "reliable"])
@pytest.mark.parametrize(("side", "method", "status", "ack", "unreliable", "reliable"), LINGERS)
def test_life(side: str, method: str, status: int, ack: bool, unreliable: int, reliable: int, flow: Flow):
    world = World(flow=flow)
    transaction: ClientTransaction | ServerTransaction
    if side == "client":
        transaction, _ = world.start(method)
        if status:
            world.answer(answer_to(world.line.sent[0][1], status))
    else:
        transaction, _ = world.serve(method)
        reply(transaction, status, world.now, request(method))
    if ack:
        world.take(request("ACK"))
    end = reliable if flow is TCP else unreliable
    if end:
        world.run_to(end - 1)
        assert transaction.state_name != "Terminated"
    world.run_to(end)
    assert transaction.state_name == "Terminated"


@pytest.mark.parametrize(("t1", "d"), [(0.1, 32_000), (0.5, 32_000), (1.0, 64_000)])
def test_timer_d_is_at_least_32_s(t1: float, d: int):
    # §17.1.1.2: "the client transaction does not know the value of T1 in use by the server transaction"
    assert _machines.durations(round(t1 * 1000), 4_000, 5_000)["D"] == (d, 0)


def test_timers_follow_the_configuration():
    world = World(config.Timers(t1=0.1, t2=0.3, t4=1.0))
    _, user = world.start("OPTIONS")
    world.run_to(1_400)
    assert world.schedule() == [(ms, "OPTIONS") for ms in (0, 100, 300, 600, 900, 1_200)]
    world.answer(answer_to(world.line.sent[0][1], 200))
    world.run_to(2_399)
    assert world.layer.counters()["client_transactions"] == 1
    world.run_to(2_400)
    assert world.layer.counters()["client_transactions"] == 0
    assert user.told == ["200"]


def test_ack_goes_where_the_invite_went_and_is_built_of_it():
    # §17.1.1.3
    world = World()
    world.start()
    invite = world.line.sent.pop()[1]
    world.answer(answer_to(invite, 486, tag="theirs"))
    ((_, data, flow),) = world.line.sent
    ack = parse(data)
    assert flow is UDP
    assert ack.branch == parse(invite).branch
    assert ack.cseq == (7, "ACK")
    assert ack.uri == parse(invite).uri
    assert ack.to_tag == b"theirs"
    assert len(list(ack.values("Via"))) == 1


# ---- CANCEL at the server side (§9.2)


def test_cancel_is_answered_with_the_to_tag_of_the_invite():
    world = World()
    transaction, user = world.serve()
    assert world.take(request("CANCEL")) == (ABSORBED, None)
    ((_, data, _),) = world.line.sent
    answer = parse(data)
    assert (answer.status, answer.cseq) == (200, (7, "CANCEL"))
    assert answer.to_tag == transaction.to_tag
    assert user.told == ["cancel CANCEL"]
    assert transaction.state_name == "Proceeding"  # the 487 is the user's
    # A retransmitted CANCEL gets its answer again, and the user hears of it once.
    assert world.take(request("CANCEL"))[0] == ABSORBED
    assert world.sent() == ["200", "200"]
    assert user.told == ["cancel CANCEL"]


@pytest.mark.parametrize("status", [200, 486])
def test_cancel_after_the_final_response_changes_nothing(status: int):
    world = World()
    transaction, user = world.serve()
    tag = transaction.to_tag
    reply(transaction, status, world.now, request("INVITE"))
    world.layer.shrink_finished()
    world.sent()
    assert world.take(request("CANCEL"))[0] == ABSORBED
    ((_, data, _),) = world.line.sent
    assert parse(data).status == 200
    assert parse(data).to_tag == tag
    assert user.told == []


def test_cancel_of_another_method_is_answered_and_has_no_effect():
    world = World()
    transaction, user = world.serve("OPTIONS")
    assert world.take(request("CANCEL"))[0] == ABSORBED
    assert world.sent() == ["200"]
    assert user.told == []
    assert transaction.state_name == "Trying"


def test_cancel_without_transaction():
    world = World()
    world.serve()
    assert world.take(request("CANCEL", "z9hG4bKother")) == (UNMATCHED, None)
    assert world.sent() == []


# ---- CANCEL at the client side (§9.1)


def test_cancel_waits_for_a_provisional_response():
    world = World()
    transaction, _ = world.start()
    invite = world.line.sent[0][1]
    transaction.cancel(world.now)
    world.run_to(500)
    assert world.sent() == ["INVITE", "INVITE"]
    world.answer(answer_to(invite, 100))
    assert [summary(data) for _, data, _ in world.line.sent] == ["CANCEL"]
    cancel = parse(world.line.sent[0][1])
    assert cancel.branch == parse(invite).branch
    assert cancel.cseq == (7, "CANCEL")
    world.answer(answer_to(invite, 180))
    transaction.cancel(world.now)
    assert world.sent() == ["CANCEL"]  # once


def test_a_cancel_is_a_transaction_of_its_own():
    world = World()
    transaction, user = world.start()
    invite = world.line.sent[0][1]
    world.answer(answer_to(invite, 180))
    transaction.cancel(world.now)
    world.line.sent.clear()
    world.run_to(500)
    assert world.schedule() == [(500, "CANCEL")]
    assert world.answer(answer_to(invite, 200, "CANCEL"))
    assert transaction.state_name == "Proceeding"
    world.sent()
    assert world.answer(answer_to(invite, 487))
    assert transaction.state_name == "Completed"
    assert world.sent() == ["ACK"]
    assert user.told == ["180", "487"]
    world.run_to(60_000)
    assert world.layer.counters()["client_transactions"] == 0


def test_a_cancel_may_outlive_its_invite():
    world = World(flow=TCP)
    transaction, _ = world.start()
    invite = world.line.sent[0][1]
    world.answer(answer_to(invite, 180))
    transaction.cancel(world.now)
    world.answer(answer_to(invite, 487))
    world.run_to(1)
    assert transaction.state_name == "Terminated"
    world.start("OPTIONS")  # must not take the slot that the CANCEL still needs
    assert world.answer(answer_to(invite, 200, "CANCEL"))
    world.run_to(40_000)
    assert world.layer.counters()["client_transactions"] == 0


@pytest.mark.parametrize("wanted", [True, False], ids=["wanted-before", "wanted-after"])
@pytest.mark.parametrize("status", [200, 486])
def test_no_cancel_after_a_final_response(status: int, wanted: bool):
    world = World()
    transaction, user = world.start()
    invite = world.line.sent[0][1]
    if wanted:
        transaction.cancel(world.now)
    world.answer(answer_to(invite, status))
    transaction.cancel(world.now)
    world.answer(answer_to(invite, 180))
    world.run_to(60_000)
    assert "CANCEL" not in world.sent()
    assert user.told == [str(status)]


def test_no_cancel_for_other_methods():
    world = World()
    transaction, _ = world.start("OPTIONS")
    world.answer(answer_to(world.line.sent[0][1], 100))
    transaction.cancel(world.now)
    assert world.sent() == ["OPTIONS"]


def test_a_2xx_that_crosses_the_cancel_is_passed_on():
    world = World()
    transaction, user = world.start()
    invite = world.line.sent[0][1]
    world.answer(answer_to(invite, 180))
    transaction.cancel(world.now)
    world.run_to(20_000)
    world.answer(answer_to(invite, 200))
    world.run_to(51_999)  # timer M runs from the 2xx, nothing is left of the CANCEL's 64*T1
    assert transaction.state_name == "Accepted"
    world.run_to(52_000)
    assert user.told == ["180", "200"]


# ---- retract, shrink


@pytest.mark.parametrize(("method", "status"), [("INVITE", 480), ("INVITE", 200), ("MESSAGE", 200)])
def test_retract_gives_another_answer(method: str, status: int):
    world = World()
    transaction, user = world.serve(method)
    reply(transaction, status, world.now, request(method))
    world.run_to(1_000)  # timer G has doubled meanwhile
    world.line.sent.clear()
    transaction.retract(response(parse(request(method)), 503, UDP, to_tag=b"x"), 503, world.now)
    assert transaction.state_name == "Completed"
    world.run_to(32_999)
    assert user.told == []  # nothing is left of the first answer's timers
    world.run_to(60_000)
    expected = [1_000 + ms for ms in CAPPED] if method == "INVITE" else [1_000]
    assert world.schedule() == [(ms, "503") for ms in expected]
    assert (user.told, user.times) == (["gone"], [33_000])


def test_a_retransmission_gets_the_answer_that_was_given_instead():
    world = World()
    transaction, _ = world.serve("MESSAGE")
    reply(transaction, 200, world.now, request("MESSAGE"))
    world.sent()
    transaction.retract(response(parse(request("MESSAGE")), 503, UDP, to_tag=b"x"), 503, world.now)
    assert world.take(request("MESSAGE"))[0] == ABSORBED
    assert world.sent() == ["503", "503"]


def test_settle_drops_the_request():
    world = World()
    transaction, _ = world.serve()
    reply(transaction, 200, world.now, request("INVITE"))
    assert transaction.request is not None  # it may still be taken back
    world.layer.shrink_finished()
    assert transaction.request is None


def test_without_settle_it_happens_by_itself():
    world = World()
    transaction, _ = world.serve()
    reply(transaction, 200, world.now, request("INVITE"))
    world.run_to(1_000)
    world.serve(branch="z9hG4bK2", call_id="c2")
    assert transaction.request is None


def test_a_client_transaction_drops_its_request_after_the_final_response():
    world = World()
    seen = []

    class Curious(User):
        def on_response(self, transaction: ClientTransaction, response: Message, now: int) -> int:
            assert transaction.request is not None
            seen.append(transaction.request.data)
            return 0

    for method, status in (("INVITE", 486), ("INVITE", 200), ("OPTIONS", 200)):
        branch = world.layer.branch()
        data = request(method, branch.decode())
        transaction = world.layer.send_request(data, branch, UDP, Curious(), world.now)
        world.answer(answer_to(data, status))
        assert seen.pop() == data
        assert transaction.request is None


# ---- nothing is left


def live() -> int:
    gc.collect()
    return live_objects()


def test_ten_thousand_come_and_go():
    before = live()
    world = World()
    for number in range(10_000):
        world.now += 3
        branch = f"z9hG4bK{number}"
        method = ("INVITE", "MESSAGE")[number & 1]
        invite = request(method, branch, call_id=f"c{number}")
        verdict, server = world.take(invite)
        assert verdict == NEW
        assert server is not None
        client, user = world.start(method)
        server.handler = user  # the usual cycle: user and transactions know each other
        user.transactions = (server, client)  # type: ignore[attr-defined]
        ours = world.line.sent[-1][1]
        kind = number % 7
        if kind > 0:
            world.answer(answer_to(ours, 180))
            reply(server, 180, world.now, invite)
        if kind == 1:
            client.cancel(world.now)
        if kind > 1:
            final = (200, 486)[kind & 1]
            world.answer(answer_to(ours, final))
            reply(server, final, world.now, invite)
        if kind == 5:
            world.take(request("ACK", branch, call_id=f"c{number}"))
        if kind < 2:
            reply(server, 500, world.now, invite)
        world.wheel.advance(world.now)
        world.line.sent.clear()
    del server, client, user
    assert live() > before
    # An INVITE that rings and is never answered nor cancelled waits for its user (timer C is the proxy's).
    world.run_to(200_000)
    assert world.layer.counters()["server_transactions"] == 0
    assert world.layer.counters()["client_transactions"] == 0
    assert world.wheel.count == 0
    assert live() == before


@pytest.mark.parametrize("seed", range(20))
def test_whatever_happens_nothing_is_left(seed: int):
    # Messages, answers, cancels, losses of the transport and time, in any order.
    chance = Random(seed)
    before = live()
    world = World(flow=chance.choice([UDP, TCP]))
    servers, clients = [], []

    def step() -> None:
        branch = chance.choice([f"z9hG4bK{chance.randrange(6)}", None])
        method = chance.choice(["INVITE", "ACK", "CANCEL", "MESSAGE", "BYE"])
        call_id = f"c{chance.randrange(4)}"
        _, transaction = world.take(request(method, branch, call_id=call_id, to_tag=chance.choice(["", "t"])))
        if transaction is not None:
            transaction.handler = User()
            servers.append((transaction, request(method, branch, call_id=call_id)))

    def answer() -> None:
        if servers:
            transaction, data = chance.choice(servers)
            status = chance.choice([100, 180, 200, 302, 486, 603])
            made = response(parse(data), status, world.flow, to_tag=b"x")
            chance.choice([transaction.respond, transaction.respond, transaction.retract])(made, status, world.now)

    def ask() -> None:
        world.line.broken = chance.random() < 0.1
        clients.append((*world.start(chance.choice(["INVITE", "OPTIONS"])), world.layer.branch(1)))
        world.line.broken = False

    def hear() -> None:
        sent = [data for _, data, _ in world.line.sent if not data.startswith(b"SIP/2.0")]
        if sent:
            world.answer(answer_to(chance.choice(sent), chance.choice([100, 180, 200, 404, 487])))

    def cancel() -> None:
        if clients:
            chance.choice(clients)[0].cancel(world.now)

    def wait() -> None:
        world.run_to(world.now - START + chance.choice([0, 1, 400, 5_000, 33_000]))

    def release() -> None:
        if clients:
            world.layer.release_branch(chance.choice(clients)[2])

    for _ in range(400):
        chance.choice([step, step, answer, answer, ask, hear, hear, cancel, wait, release, world.layer.shrink_finished])()
    for _ in range(2):  # the users give what is still owed, then everything runs out
        for given in servers:
            reply(given[0], 500, world.now, given[1])
        for asked in clients:
            if asked[0].provisional:
                asked[0].cancel(world.now)
        world.run_to(world.now - START + 100_000)
    counters = world.layer.counters()
    assert (counters["server_transactions"], counters["client_transactions"], world.wheel.count) == (0, 0, 0)
    given = asked = None
    servers.clear()
    clients.clear()
    world.layer.shrink_finished()
    assert live() == before


def test_close_ends_everything():
    before = live()
    world = World()
    world.serve()
    transaction, _ = world.start()
    world.answer(answer_to(world.line.sent[0][1], 180))
    transaction.cancel(world.now)
    del transaction
    assert live() == before + 3
    world.layer.close()
    assert live() == before
    assert world.wheel.count == 0
