"""What could not be delivered (RFC 3261 §17.1.4, §18.4) reaches its client transaction at once; what is forged, none."""

from __future__ import annotations

import pytest
from compiled import looks
from transactions import TCP, UDP, World, answer_to, request

from sipfast._flow import Flow
from sipfast.transaction.client import UNREACHABLE, ClientTransaction

QUOTED = 520  # bytes of a datagram that an ICMP error brings back (RFC 1812 §4.3.2.3: 576 with all headers)
ELSEWHERE = Flow("192.0.2.1", 5061)


class Play:
    """A request of ours on its way, and what was sent of it."""

    def __init__(self, method: str = "INVITE", **world: object) -> None:
        self.world = World(**world)
        self.transaction, self.user = self.world.start(method)
        self.request = self.world.line.sent[0][1]

    def fail(self, data: bytes = b"", flow: Flow = UDP) -> bool:
        return looks().undelivered(self.world.layer, data or self.request, flow, self.world.now)

    def answer(self, status: int) -> None:
        assert self.world.answer(answer_to(self.request, status))

    def last_sent(self) -> bytes:
        return self.world.line.sent[-1][1]


@pytest.mark.parametrize("status", [None, 100, 180], ids=["no answer", "100", "180"])
@pytest.mark.parametrize("method", ["INVITE", "OPTIONS", "REFER", "PING"])
def test_the_user_hears_at_once_and_nothing_is_sent_again(method: str, status: int | None):
    play = Play(method)
    if status:
        play.answer(status)
    play.user.told.clear()
    play.world.sent()
    assert play.fail()
    assert play.user.told == ["unreachable"]
    assert play.user.times[-1] == 0
    assert play.transaction.state_name == "Terminated"
    play.world.run_to(40_000)
    assert play.world.sent() == []
    assert play.user.told == ["unreachable"]
    assert (play.world.layer.clients, play.world.wheel.count, play.world.layer.unreachable) == (0, 0, 1)
    assert not play.fail()


def test_unreachable_is_no_status_code():
    assert not 100 <= UNREACHABLE <= 999


@pytest.mark.parametrize("method", ["INVITE", "OPTIONS"])
def test_what_is_quoted_may_be_cut_anywhere_behind_the_branch(method: str):
    whole = Play(method).request
    end = whole.index(b"branch=") + 7 + 47
    for size in range(len(whole) + 1):
        play = Play(method)
        assert play.fail(play.request[:size] or b"\0") is (size >= end), size
        assert play.user.told == (["unreachable"] if size >= end else [])


def test_a_copy_that_is_sent_again_is_as_good_as_the_first():
    play = Play()
    play.world.run_to(3600)
    assert play.fail(play.last_sent()[:QUOTED])
    assert play.user.told == ["unreachable"]


def forged(request: bytes) -> dict[str, bytes]:
    branch = request.index(b"branch=") + 7
    out = {
        f"digit {at}": request[: branch + at]
        + (b"1" if request[branch + at : branch + at + 1] == b"0" else b"0")
        + request[branch + at + 1 :]
        for at in range(47)
    }
    via = request.index(b"\r\nVia")
    out |= {
        "another branch": request.replace(b"z9hG4bKsf", b"z9hG4bKxx"),
        "another method": b"OPTIONS" + request[6:],
        "an ACK": b"ACK" + request[6:],
        "a CANCEL that was never sent": b"CANCEL" + request[6:],
        "a response": b"SIP/2.0 200 OK" + request[via:],
        "the branch in the second Via": request[:via] + b"\r\nVia: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK1" + request[via:],
        "the branch in the Request-URI": b"INVITE sip:x;branch=" + request[branch : branch + 47] + b" SIP/2.0\r\n\r\n",
        "no line": request[branch - 7 : branch + 47],
        "zeros": bytes(200),
        "spaces": b" " * 200,
        "longer": request[: branch + 47] + b"0" + request[branch + 47 :],
    }
    return out


@pytest.mark.parametrize("kind", forged(Play().request))
def test_what_does_not_quote_our_branch_is_ignored(kind: str):
    play = Play()
    assert not play.fail(forged(play.request)[kind])
    assert play.user.told == []
    assert play.transaction.state_name == "Calling"
    play.answer(200)
    assert play.user.told == ["200"]


@pytest.mark.parametrize(
    "flow",
    [
        ELSEWHERE, Flow("192.0.2.2", 5060), Flow("2001:db8::1", 5060), TCP,
        Flow("::ffff:192.0.2.1", 5060),
    ],
    ids=repr,
)  # fmt: skip
def test_the_right_branch_by_another_way_is_ignored(flow: Flow):
    """Who was on the way of one branch of a fork cannot end another one."""
    play = Play()
    assert not play.fail(flow=flow)
    assert play.user.told == []


def test_a_listener_of_our_own_is_no_part_of_the_way():
    assert Play().fail(flow=Flow("192.0.2.1", 5060, local=3))


@pytest.mark.parametrize(
    ("method", "final", "state"),
    [("INVITE", 200, "Accepted"), ("INVITE", 486, "Completed"), ("OPTIONS", 200, "Completed")],
)
def test_a_copy_that_fails_after_the_final_response_harms_nothing(method: str, final: int, state: str):
    play = Play(method)
    play.answer(final)
    sent = len(play.world.line.sent)
    assert not play.fail()
    assert not play.fail(play.last_sent())  # the ACK to a 486
    assert play.transaction.state_name == state
    assert play.user.told == [str(final)]
    if final == 486:
        play.answer(486)  # a copy is acknowledged as ever (§17.1.1.2)
        assert len(play.world.line.sent) == sent + 1
    assert play.world.layer.unreachable == 0


def test_who_has_rung_and_is_not_there_for_the_cancel_will_not_answer():
    play = Play()
    play.answer(180)
    play.transaction.cancel(play.world.now)
    cancel = play.last_sent()
    assert cancel.startswith(b"CANCEL ")
    assert not play.fail(cancel, ELSEWHERE)
    assert play.fail(cancel[:QUOTED])
    assert play.user.told == ["180", "unreachable"]
    assert play.world.layer.clients == 0
    assert not play.fail(cancel)


def test_a_cancel_that_was_too_late_takes_nothing_away():
    play = Play()
    play.answer(180)
    play.transaction.cancel(play.world.now)
    cancel = play.last_sent()
    play.answer(200)
    assert play.fail(cancel)
    assert play.user.told == ["180", "200"]
    assert play.transaction.state_name == "Accepted"


def test_an_invite_that_fails_leaves_its_cancel_to_end_by_itself():
    play = Play()
    play.answer(180)
    play.transaction.cancel(play.world.now)
    assert play.fail()
    assert play.user.told == ["180", "unreachable"]
    play.world.run_to(64_000)
    assert (play.world.layer.clients, play.world.wheel.count) == (0, 0)


def test_a_slot_that_is_used_again_is_not_found_by_the_old_branch():
    play = Play("OPTIONS")
    old = play.request
    assert play.fail()
    transaction, user = play.world.start("OPTIONS")
    assert isinstance(transaction, ClientTransaction)
    assert not play.fail(old)
    assert user.told == []


def test_the_worker_that_has_sent_it_is_known():
    play = Play(worker=5)
    assert looks().sender_of(play.world.layer, play.request[:QUOTED]) == 5
    assert looks().sender_of(World(worker=1).layer, play.request) == 5
    assert looks().sender_of(play.world.layer, forged(play.request)["digit 30"]) is None
    assert looks().sender_of(play.world.layer, request("INVITE")) is None
