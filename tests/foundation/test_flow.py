"""Flows: what they say of themselves, what makes two the same, and their stored form."""

import sys

import pytest

from sipfast._flow import Flow


@pytest.mark.parametrize(
    "flow",
    [
        Flow("192.0.2.1", 5060),
        Flow("0.0.0.0", 0),
        Flow("2001:db8::1", 65535, local=300),
        Flow("192.0.2.1", 5061, transport="TLS", local=1, connection=2**32 - 1),
        Flow("fe80::1", 5060, scope=2**32 - 1),
        Flow("2001:db8::1", 5061, transport="WSS", connection=7, generation=65535, node=255, worker=63),
    ],
    ids=repr,
)
def test_the_stored_form_comes_back_as_the_same_flow(flow: Flow) -> None:
    again = Flow.unpack(flow.pack())
    assert again == flow and hash(again) == hash(flow)
    for name in ("host", "port", "transport_name", "local", "scope", "connection", "generation", "node", "worker"):
        assert getattr(again, name) == getattr(flow, name), name


def test_every_part_tells_two_flows_apart() -> None:
    flows = {
        Flow("192.0.2.1", 5060),
        Flow("192.0.2.2", 5060),
        Flow("192.0.2.1", 5061),
        Flow("192.0.2.1", 5060, local=1),
        Flow("192.0.2.1", 5060, transport="TCP"),
        Flow("fe80::1", 5060),
        Flow("fe80::1", 5060, scope=1),
        Flow("192.0.2.1", 5060, transport="TCP", connection=1),
        Flow("192.0.2.1", 5060, transport="TCP", connection=1, generation=1),
        Flow("192.0.2.1", 5060, transport="TCP", connection=1, worker=1),
        Flow("192.0.2.1", 5060, transport="TCP", connection=1, node=1),
        Flow("::192.0.2.1", 5060),
    }
    assert len(flows) == 12


def test_a_flow_takes_no_more_room_than_it_must() -> None:
    """A million bindings have one each: 15 bytes for a phone at an IPv4 address, 19 for one by a stream."""
    assert len(Flow("192.0.2.1", 5060).pack()) == 15
    assert len(Flow("192.0.2.1", 5060, transport="TCP", connection=1).pack()) == 19
    assert sys.getsizeof(Flow("192.0.2.1", 5060)) <= 80


def with_own(flow: Flow, own: bytes) -> bytes:
    packed = flow.pack()
    return b"\x02" + packed[1:] + own


def test_the_own_address_is_part_of_it() -> None:
    packed = with_own(Flow("192.0.2.1", 5060), bytes([198, 51, 100, 1]))
    assert Flow.unpack(packed).pack() == packed
    assert Flow.unpack(packed) != Flow("192.0.2.1", 5060)


@pytest.mark.parametrize(
    "packed",
    [
        b"",
        b"\x01",
        Flow("192.0.2.1", 5060).pack()[:-1],
        Flow("192.0.2.1", 5060).pack() + b"\0",
        b"\x03" + Flow("192.0.2.1", 5060).pack()[1:],
        b"\x02" + Flow("192.0.2.1", 5060).pack()[1:],
        b"\x01" + Flow("192.0.2.1", 5060, transport="TCP").pack()[1:],
        b"\x01\x02" + Flow("192.0.2.1", 5060).pack()[2:],
        b"\x03\x01" + Flow("192.0.2.1", 5060, transport="TCP").pack()[2:],
        with_own(Flow("2001:db8::1", 5060), bytes(4)),
        b"\x01\x06" + Flow("192.0.2.1", 5060).pack()[2:],
        b"\x01\x01\x05" + Flow("192.0.2.1", 5060).pack()[3:],
    ],
)
def test_what_pack_did_not_write_is_refused(packed: bytes) -> None:
    with pytest.raises(ValueError):
        Flow.unpack(packed)


@pytest.mark.parametrize(
    ("host", "port", "transport"),
    [("example.com", 5060, "UDP"), ("192.0.2.1", -1, "UDP"), ("192.0.2.1", 65536, "UDP"), ("192.0.2.1", 1, "SCTP")],
)
def test_what_is_no_flow_is_refused(host: str, port: int, transport: str) -> None:
    with pytest.raises(ValueError):
        Flow(host, port, transport=transport)
