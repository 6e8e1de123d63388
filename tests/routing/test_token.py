"""Flow tokens (RFC 5626 §5): what they carry, how long they are, and that nobody else can make one."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from compiled import looks
from hypothesis import given
from hypothesis import strategies as st

from sipfast._flow import Flow
from sipfast._listener import Listener
from sipfast.routing.token import Tokens

SECRET = bytes(range(16))
PATH, CALLER, CALLEE, BOTH = 1, 2, 3, 4
LONGEST = {4: 40, 6: 64}


def listener(host: str, sent_by: str) -> Listener:
    return Listener(transport="UDP", host=host, port=5060, sent_by=sent_by.encode())


LISTENERS = [
    listener("192.0.2.10", "192.0.2.10:5060"), listener("2001:db8::10", "[2001:db8::10]:5060"),
    listener("::", "[2001:db8::11]:5070"), listener("0.0.0.0", "192.0.2.11:5070"),
    listener("0.0.0.0", "sip.example.com:5080"),
]  # fmt: skip


def tokens(secret: bytes = SECRET, listeners: list[Listener] = LISTENERS) -> Any:
    return looks().TokenLook(Tokens(secret, listeners))


def via(flow: Flow, own: str) -> Flow:
    """The flow as it comes from a listener on all addresses, asked at one of them."""
    packed = flow.pack()
    address = Flow(own, 0).pack()[11:]
    return Flow.unpack(b"\x02" + packed[1:] + address)


v4 = st.builds(lambda ip, port: Flow(str(ip), port), st.ip_addresses(v=4), st.integers(0, 65535))
v6 = st.builds(lambda ip, port: Flow(str(ip), port, local=1), st.ip_addresses(v=6), st.integers(0, 65535))


@given(flow=v4 | v6, kind=st.sampled_from([PATH, CALLER, CALLEE]), digest=st.integers(0, 2**32 - 1))
def test_one_flow_comes_back(flow: Flow, kind: int, digest: int) -> None:
    token = tokens().make(kind, flow, digest=digest)
    assert token is not None and len(token) <= LONGEST[flow.family]
    assert tokens().parse(token) == (kind, digest, flow, None)


@given(flows=st.tuples(v4, v4) | st.tuples(v6, v6))
def test_two_flows_come_back(flows: tuple[Flow, Flow]) -> None:
    token = tokens().make(BOTH, *flows, digest=7)
    if token is None:  # two link-local peers, say: each side gets a value of its own
        assert any(flow.host.startswith("fe") for flow in flows)
        return
    assert len(token) <= LONGEST[flows[0].family]
    assert tokens().parse(token) == (BOTH, 7, *flows)


WITH_OWN = {
    "the public address": (via(Flow("203.0.113.1", 6000, local=3), "192.0.2.11"), 40),
    "another address": (via(Flow("203.0.113.1", 6000, local=3), "192.0.2.99"), 40),
    "the public address, IPv6": (via(Flow("2001:db8::1", 6000, local=2), "2001:db8::11"), 64),
    "another address, IPv6": (via(Flow("2001:db8::1", 6000, local=2), "2001:db8::99"), 64),
    "a listener known by name": (via(Flow("203.0.113.1", 6000, local=4), "192.0.2.99"), 40),
    "link-local": (Flow("fe80::1", 6000, local=1, scope=7), 64),
}


@pytest.mark.parametrize(("flow", "longest"), WITH_OWN.values(), ids=WITH_OWN)
def test_what_is_sent_leaves_from_the_address_that_was_asked(flow: Flow, longest: int) -> None:
    """RFC 3581 §4, on a machine with several addresses: a NAT lets nothing else in."""
    token = tokens().make(PATH, flow)
    assert token is not None and len(token) <= longest
    assert tokens().parse(token) == (PATH, 0, flow, None)


def test_two_flows_of_a_listener_on_all_addresses_are_one_token() -> None:
    caller = via(Flow("203.0.113.1", 6000, local=3), "192.0.2.99")
    for callee in (Flow("203.0.113.2", 5060, local=3), via(Flow("203.0.113.2", 5060, local=3), "192.0.2.99")):
        token = tokens().make(BOTH, caller, callee)
        assert token is not None and len(token) <= 40
        assert tokens().parse(token) == (BOTH, 0, caller, callee)
    elsewhere = via(Flow("203.0.113.2", 5060, local=3), "192.0.2.98")
    assert tokens().make(BOTH, caller, elsewhere) is None
    wide = via(Flow("2001:db8::1", 6000, local=2), "2001:db8::11")
    token = tokens().make(BOTH, wide, Flow("2001:db8::2", 5060, local=2))
    assert token is not None and len(token) <= 64


def test_it_is_one_word_of_a_user_part() -> None:
    """RFC 3261 §25.1: unreserved characters only, so nobody escapes it on the way."""
    for flow in (Flow("203.0.113.255", 65535), Flow("2001:db8::ffff", 65535, local=1)):
        token = tokens().make(BOTH, flow, flow, digest=0xFFFFFFFF)
        assert token is not None and token.startswith(b"f1")
        assert not set(token) - set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


@pytest.mark.parametrize("flow", [Flow("203.0.113.1", 6000), Flow("2001:db8::1", 6000, local=1)], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("form", [b"%%%02x", b"%%%02X"], ids=["lower case", "upper case"])
def test_an_escaped_character_is_the_character(flow: Flow, form: bytes) -> None:
    """RFC 3261 §19.1.4. Twinkle 1.10 writes %5a for each Z of a Route that it was given."""
    token = tokens().make(PATH, flow, digest=1)
    assert token is not None
    for i in range(len(token)):
        assert tokens().parse(token[:i] + form % token[i] + token[i + 1 :]) == (PATH, 1, flow, None)
    assert tokens().parse(b"".join(form % byte for byte in token)) == (PATH, 1, flow, None)
    for wrong in (token[:-1] + b"%", token[:-1] + b"%4", token[:-1] + b"%4g", b"%00" + token):
        assert tokens().parse(wrong) is None


def test_each_changed_bit_is_found() -> None:
    token = tokens().make(BOTH, Flow("203.0.113.1", 6000), Flow("203.0.113.2", 6000), digest=1)
    assert token is not None
    data = base64.urlsafe_b64decode(token[2:] + b"=" * (-len(token[2:]) % 4))
    for bit in range(8 * len(data)):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        assert tokens().parse(token[:2] + base64.urlsafe_b64encode(changed).rstrip(b"=")) is None, bit


@given(user=st.binary(max_size=70) | st.binary(max_size=68).map(lambda rest: b"f1" + rest))
def test_anything_else_is_a_user(user: bytes) -> None:
    assert tokens().parse(user) is None


def test_it_has_one_spelling() -> None:
    token = tokens().make(PATH, Flow("203.0.113.1", 6000))
    assert token is not None
    spellings = [token + b"A", token[:-1], token + b"=", token.swapcase(), b"F1" + token[2:], token.replace(b"_", b"/")]
    last = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    spellings += [token[:-1] + last[i : i + 1] for i in range(64)]
    assert [spelling for spelling in spellings if spelling != token and tokens().parse(spelling)] == []


def test_another_server_cannot_make_one() -> None:
    token = tokens(b"another secret..").make(PATH, Flow("203.0.113.1", 6000))
    assert token is not None and tokens().parse(token) is None


def test_it_outlives_a_change_of_the_listeners() -> None:
    token = tokens().make(PATH, Flow("2001:db8::1", 6000, local=2))
    assert token is not None
    assert tokens(listeners=LISTENERS[:2]).parse(token) == (PATH, 0, Flow("2001:db8::1", 6000, local=1), None)
    assert tokens(listeners=LISTENERS[:1]).parse(token) == (PATH, 0, None, None)


def test_digests_differ() -> None:
    aors = [b"sip:%d@example.com" % n for n in range(1000)]
    assert len({tokens().digest(aor) for aor in aors}) == 1000
    assert tokens().digest(aors[0]) != tokens(b"another secret..").digest(aors[0])
