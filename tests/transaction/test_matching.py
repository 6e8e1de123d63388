"""Which requests belong together: RFC 3261 §17.2.3, for peers of today and of RFC 2543, and §8.2.2.2."""

from __future__ import annotations

import pytest
from transactions import UDP, World, reply, request

from sipfast.transaction.layer import ABSORBED, MERGED, NEW, UNMATCHED


def test_responses_go_to_the_flow_given():
    world = World()
    transaction, _ = world.serve()
    reply(transaction, 180, world.now, request("INVITE"))
    assert world.line.sent[0][2] is UDP


@pytest.mark.parametrize(
    ("other", "verdict"),
    [
        pytest.param({}, ABSORBED, id="same"),
        pytest.param({"branch": "z9hG4bKAbC"}, ABSORBED, id="branch-case"),  # §7.3.1: tokens have no case
        pytest.param({"sent_by": "HOST.example:5062"}, ABSORBED, id="sent-by-case"),
        pytest.param({"branch": "z9hG4bKabcd", "call_id": "c2"}, NEW, id="branch-longer"),
        pytest.param({"branch": "z9hG4bKabd", "call_id": "c2"}, NEW, id="branch"),
        pytest.param({"sent_by": "host.example:5063", "call_id": "c2"}, NEW, id="sent-by-port"),
        pytest.param({"sent_by": "host.example", "call_id": "c2"}, NEW, id="sent-by-no-port"),
        pytest.param({"sent_by": "other.example:5062", "call_id": "c2"}, NEW, id="sent-by-host"),
        pytest.param({"method": "BYE", "to_tag": "x"}, NEW, id="method"),
        pytest.param({"method": "ABC", "to_tag": "x"}, NEW, id="unknown-method"),
        # Neither Call-ID nor tags nor CSeq count where there is the cookie.
        pytest.param({"call_id": "c9", "from_tag": "q", "cseq": 99}, ABSORBED, id="all-else"),
    ],
)
def test_matching_by_branch(other: dict[str, str], verdict: int):
    # §17.2.3
    first = {"method": "MESSAGE", "branch": "z9hG4bKabc", "sent_by": "host.example:5062"}
    world = World()
    assert world.take(request(**first))[0] == NEW
    assert world.take(request(**(first | other)))[0] == verdict


def test_unknown_methods_are_told_apart_by_name():
    world = World()
    assert world.take(request("ABC", to_tag="t"))[0] == NEW
    assert world.take(request("ABD", to_tag="t"))[0] == NEW
    assert world.take(request("ABC", to_tag="t"))[0] == ABSORBED


@pytest.mark.parametrize("branch", [None, "1", "z9hG4b", "abcz9hG4bK"])
def test_rfc_2543_retransmission(branch: str | None):
    world = World()
    transaction, _ = world.serve(branch=branch)
    reply(transaction, 486, world.now, request("INVITE", branch))
    world.layer.shrink_finished()
    assert world.take(request("INVITE", branch))[0] == ABSORBED
    assert world.sent() == ["486", "486"]


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"uri": "sip:carol@example.com"}, id="request-uri"),
        pytest.param({"to_tag": "t2"}, id="to-tag"),
        pytest.param({"from_tag": "f2"}, id="from-tag"),
        pytest.param({"call_id": "c2"}, id="call-id"),
        pytest.param({"cseq": 8}, id="cseq"),
        pytest.param({"sent_by": "192.0.2.9"}, id="via"),
        pytest.param({"method": "BYE"}, id="method"),
    ],
)
def test_rfc_2543_other_transactions(other: dict[str, str]):
    # Each of the fields of §17.2.3 alone makes another transaction. To tags keep the merge check (§8.2.2.2) out of it.
    first = {"method": "INFO", "branch": None, "to_tag": "t1"}
    world = World()
    assert world.take(request(**first))[0] == NEW
    assert world.take(request(**(first | other)))[0] == NEW


def test_rfc_2543_request_uri_by_its_own_rules():
    # "Matching is done based on the matching rules defined for each of those header fields."
    world = World()
    world.serve(branch=None, uri="sip:bob@example.com")
    assert world.take(request("INVITE", None, uri="sip:bob@EXAMPLE.com"))[0] == ABSORBED


def test_rfc_2543_ack_needs_the_to_tag_of_the_response():
    world = World()
    transaction, _ = world.serve(branch=None)
    reply(transaction, 486, world.now, request("INVITE", None), b"mine")
    world.layer.shrink_finished()
    assert world.take(request("ACK", None, to_tag="another"))[0] == UNMATCHED
    assert transaction.state_name == "Completed"
    assert world.take(request("ACK", None, to_tag="mine"))[0] == ABSORBED
    assert transaction.state_name == "Confirmed"
    assert world.take(request("ACK", None, to_tag="mine"))[0] == ABSORBED  # "a retransmission of that previous ACK"
    assert world.take(request("ACK", None, to_tag="another"))[0] == UNMATCHED


def test_rfc_2543_ack_to_a_2xx_is_passed_on():
    # RFC 6026 §6
    world = World()
    transaction, _ = world.serve(branch=None)
    reply(transaction, 200, world.now, request("INVITE", None))
    assert world.take(request("ACK", None, to_tag="theirs"))[0] == UNMATCHED
    assert transaction.state_name == "Accepted"


def test_rfc_2543_cancel():
    world = World()
    _, user = world.serve(branch=None)
    assert world.take(request("CANCEL", None))[0] == ABSORBED
    assert user.told == ["cancel CANCEL"]


def test_ack_without_transaction():
    world = World()
    assert world.take(request("ACK", "z9hG4bKnew", to_tag="t"))[0] == UNMATCHED


# ---- merged requests (§8.2.2.2)


def test_merged_request_is_answered_482():
    world = World()
    world.serve()
    assert world.take(request("INVITE", "z9hG4bK2")) == (MERGED, None)
    assert world.sent() == ["482"]
    assert world.layer.counters()["merged"] == 1
    # Through a transaction: it is retransmitted till its ACK comes.
    assert world.take(request("INVITE", "z9hG4bK2"))[0] == ABSORBED
    assert world.sent() == ["482"]
    assert world.take(request("ACK", "z9hG4bK2", to_tag="x"))[0] == ABSORBED
    world.run_to(1_000)
    assert world.sent() == []


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"to_tag": "t"}, id="in-dialog"),
        pytest.param({"uri": "sip:bob@192.0.2.7"}, id="spiral"),
        pytest.param({"from_tag": "f2"}, id="from-tag"),
        pytest.param({"call_id": "c2"}, id="call-id"),
        pytest.param({"cseq": 8}, id="cseq"),
        pytest.param({"method": "MESSAGE"}, id="method"),
    ],
)
def test_not_merged(other: dict[str, str]):
    first = {"method": "INVITE", "branch": "z9hG4bK1"}
    world = World()
    assert world.take(request(**first))[0] == NEW
    assert world.take(request(**(first | {"branch": "z9hG4bK2"} | other)))[0] == NEW


def test_a_request_that_we_forwarded_ourselves_is_not_merged():
    world = World()
    world.serve()
    below = f"Via: SIP/2.0/UDP 192.0.2.20;branch={world.layer.branch().decode()}\r\n"
    assert world.take(request("INVITE", "z9hG4bK2", below=below))[0] == NEW
    forged = f"Via: SIP/2.0/UDP 192.0.2.20;branch=z9hG4bKsf{'0' * 38}\r\n"
    assert world.take(request("INVITE", "z9hG4bK3", below=forged))[0] == MERGED


def test_merges_are_checked_against_ongoing_transactions_only():
    world = World()
    transaction, _ = world.serve("MESSAGE")
    reply(transaction, 200, world.now, request("MESSAGE"))
    world.run_to(31_999)
    assert world.take(request("MESSAGE", "z9hG4bK2"))[0] == MERGED
    world.run_to(32_000)
    assert world.take(request("MESSAGE", "z9hG4bK3"))[0] == NEW
