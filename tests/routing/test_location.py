"""Which bindings are live, and by which flow each is reached."""

from __future__ import annotations

import pytest
from compiled import looks
from net.stores import MemoryStore

from sipfast._flow import Flow
from sipfast._parser import parse
from sipfast.config import Peer
from sipfast.routing.location import Location
from sipfast.store.records import Binding
from sipfast.trust.peers import Peers

NOW = 1_700_000_000_000
AOR = b"sip:b@example.org"
CAME = Flow("192.0.2.1", 6123, local=1)  # what most bindings below were registered by
CAME6 = Flow("2001:db8::1", 6123, local=2)
HOSTS = {"Proxy.Example.net": "203.0.113.9", "six.example.net": "2001:db8::9"}


def location(families: tuple[int, ...] = (4, 4, 6)) -> Location:
    peers = Peers(
        [
            Peer(addresses=("198.51.100.0/24", "2001:db8:1::/48"), rights=("path",)),
            Peer(addresses=("198.51.101.0/24",), rights=("relay", "refer", "identity")),
        ],
        HOSTS.values(),
    )
    return Location(MemoryStore(), families, HOSTS, peers)


def binding(contact: str, *, flow: Flow | None = CAME, path: str = "", **more: int) -> Binding:
    return Binding(
        contact.encode(),
        more.pop("expires", NOW + 1),
        b"c",
        1,
        flow=b"" if flow is None else flow.pack(),
        path=path.encode(),
        **more,
    )


def test_live_bindings_come_by_q_then_the_latest_first() -> None:
    place = location()
    assert looks().lookup(place, AOR, NOW) == []
    low, old, new = binding("sip:1", q=100, updated=9), binding("sip:2", updated=1), binding("sip:3", updated=2)
    place.store.put_bindings(AOR, [low, old, new])
    assert looks().lookup(place, AOR, NOW) == [new, old, low]
    assert looks().lookup(place, b"sip:c@example.org", NOW) == []


def test_an_expired_binding_is_not_live() -> None:
    place = location()
    live, gone = binding("sip:1", expires=NOW + 1), binding("sip:2", expires=NOW)
    place.store.put_bindings(AOR, [live, gone])
    assert looks().lookup(place, AOR, NOW) == [live]
    assert looks().lookup(place, AOR, NOW + 1) == []
    assert place.store.bindings(AOR) == (live, gone), "looking removes nothing"


# Contact, stored flow, Path, and the flow by which it is reached
WAYS: dict[str, tuple[str, Flow | None, str, Flow | None]] = {
    "by what is stored": ("sip:b@192.0.2.1:5070", CAME, "", CAME),
    "IPv6": ("sip:b@[2001:db8:0::1]:5070", CAME6, "", CAME6),
    "behind a NAT": ("sip:b@10.0.0.7:5060", CAME, "", CAME),
    "a name": ("sip:b@phone.local:5060", CAME, "", CAME),
    "a connection": (
        "sip:b@192.0.2.1:5060",
        Flow("192.0.2.1", 40000, transport="TCP"),
        "",
        Flow("192.0.2.1", 40000, transport="TCP"),
    ),
    "sips over UDP": ("sips:b@192.0.2.1", CAME, "", None),
    "sips over TLS": (
        "sips:b@192.0.2.1",
        Flow("192.0.2.1", 40000, transport="TLS"),
        "",
        Flow("192.0.2.1", 40000, transport="TLS"),
    ),
    "tel": ("tel:+12015550123", CAME, "", None),
    "mailto": ("mailto:b@example.org", CAME, "", None),
    "not a URI": ("b", CAME, "", None),
    "learned, an address": ("sip:b@192.0.2.7:5070", None, "", Flow("192.0.2.7", 5070)),
    "learned, IPv6": ("sip:b@[2001:db8::7]", None, "", Flow("2001:db8::7", 5060, local=2)),
    "learned, a known name": ("sip:b@PROXY.example.NET", None, "", Flow("203.0.113.9", 5060)),
    "learned, an unknown name": ("sip:b@phone.local", None, "", None),
    "learned, with a Path": ("sip:b@10.0.0.7", None, "<sip:203.0.113.5:5080;lr>", Flow("203.0.113.5", 5080)),
    "Path to where it came from": ("sip:b@10.0.0.7", CAME, "<sip:192.0.2.1:5080;lr>", Flow("192.0.2.1", 5080, local=1)),
    "Path to a peer": ("sip:b@10.0.0.7", CAME, "<sip:198.51.100.5:5080;lr>", Flow("198.51.100.5", 5080)),
    "Path to a peer, IPv6": ("sip:b@10.0.0.7", CAME, "<sip:[2001:db8:1::5];lr>", Flow("2001:db8:1::5", 5060, local=2)),
    "Path to a peer without the right": ("sip:b@10.0.0.7", CAME, "<sip:198.51.101.5:5080;lr>", CAME),
    "Path to a stranger": ("sip:b@192.0.2.1", CAME, "<sip:203.0.113.5:5080;lr>", CAME),
    "the first of two": ("sip:b@10.0.0.7", CAME, "<sip:198.51.100.5;lr>, <sip:203.0.113.6;lr>", Flow("198.51.100.5", 5060)),
    "Path, a known name of the upstream": (
        "sip:b@10.0.0.7",
        CAME,
        "<sip:six.example.net;lr>",
        Flow("2001:db8::9", 5060, local=2),
    ),
    "Path, an unknown name": ("sip:b@10.0.0.7", CAME, "<sip:edge.example.com;lr>", CAME),
    "Path, an unknown name, nothing else": ("sip:b@192.0.2.1", None, "<sip:edge.example.com;lr>", None),
    "Path with a display name": ("sip:b@10.0.0.7", CAME, r'"\"<sip:1>" <sip:198.51.100.5>', Flow("198.51.100.5", 5060)),
    "Path of another kind of Contact": ("tel:+12015550123", CAME, "<sip:198.51.100.5>", Flow("198.51.100.5", 5060)),
}


@pytest.mark.parametrize(("contact", "flow", "path", "wanted"), WAYS.values(), ids=WAYS)
def test_the_way_to_a_binding(contact: str, flow: Flow | None, path: str, wanted: Flow | None) -> None:
    assert looks().flow_of(location(), binding(contact, flow=flow, path=path)) == wanted


# Contact, whether Via has rport, and the flow that is stored
STORED: dict[str, tuple[str, bool, Flow]] = {
    "its own address with rport": ("sip:b@192.0.2.1:5070", True, CAME),
    "its own address": ("sip:b@192.0.2.1:5070", False, Flow("192.0.2.1", 5070, local=1)),
    "its own address, default port": ("sip:b@192.0.2.1", False, Flow("192.0.2.1", 5060, local=1)),
    "maddr is the host": ("sip:b@phone.local:5070;maddr=192.0.2.1", False, Flow("192.0.2.1", 5070, local=1)),
    "maddr elsewhere": ("sip:b@192.0.2.1;maddr=10.0.0.7", False, CAME),
    "behind a NAT": ("sip:b@10.0.0.7:5060", False, CAME),
    "of the other family": ("sip:b@[2001:db8::1]", False, CAME),
    "a name": ("sip:b@bobs-pc.local:5060", False, CAME),
    "a name like an address": ("sip:b@192.0.2.1.example.net", False, CAME),
    "an unknown host": ("sip:b@203.0.113.7:5070", False, CAME),
    "a peer": ("sip:b@198.51.100.7:5070", True, Flow("198.51.100.7", 5070)),
    "the upstream by name": ("sip:b@proxy.example.net", True, Flow("203.0.113.9", 5060)),
}


@pytest.mark.parametrize(("contact", "rport", "wanted"), STORED.values(), ids=STORED)
def test_the_flow_that_a_register_stores(contact: str, rport: bool, wanted: Flow) -> None:
    register = parse(
        b"REGISTER sip:example.org SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:6123;branch=z9hG4bK1%b\r\n"
        b"From: <sip:b@example.org>;tag=1\r\nTo: <sip:b@example.org>\r\nCall-ID: c\r\nCSeq: 1 REGISTER\r\n"
        b"Contact: <%b>\r\n\r\n" % (b";rport" * rport, contact.encode())
    )
    assert looks().way(location(), register, CAME, contact.encode()) == wanted


def test_the_flow_of_a_listener_that_is_gone_is_that_of_the_first_of_its_family() -> None:
    """The store outlives the configuration."""
    behind_nat = binding("sip:b@10.0.0.7", flow=Flow("192.0.2.1", 6123, local=3))
    assert looks().flow_of(location((6, 4)), behind_nat) == Flow("192.0.2.1", 6123, local=1)
    assert looks().flow_of(location((6,)), behind_nat) is None
    assert looks().flow_of(location((6, 6, 6, 6, 4)), behind_nat) == Flow("192.0.2.1", 6123, local=4)


def test_a_flow_that_cannot_be_read_is_none() -> None:
    damaged = Binding(b"sip:b@192.0.2.1", NOW, b"c", 1, flow=b"?")
    assert looks().flow_of(location(), damaged) == Flow("192.0.2.1", 5060)


RESOLVED: dict[str, tuple[str, Flow | None]] = {
    "an address": ("sip:192.0.2.1", Flow("192.0.2.1", 5060)),
    "a port": ("sip:a@192.0.2.1:5070;lr", Flow("192.0.2.1", 5070)),
    "IPv6": ("sip:[2001:db8::1]:5070", Flow("2001:db8::1", 5070, local=2)),
    "a known name in any case": ("sip:proxy.EXAMPLE.net:5070", Flow("203.0.113.9", 5070)),
    "maddr": ("sip:phone.local;maddr=proxy.example.net", Flow("203.0.113.9", 5060)),
    "an unknown name": ("sip:phone.local", None),
    "sips": ("sips:192.0.2.1", None),
    "tel": ("tel:+12015550123", None),
    "no URI": ("192.0.2.1", None),
    "empty": ("", None),
    "not an address": ("sip:192.0.2.256", None),
    "zeros": ("sip:10.0.0.0", Flow("10.0.0.0", 5060)),
    "a leading zero": ("sip:192.0.02.1", None),
    "three numbers": ("sip:192.0.2", None),
    "five numbers": ("sip:192.0.2.1.1", None),
    "four digits": ("sip:192.0.2.1000", None),
    "a number and a letter": ("sip:192.0.2.1a", None),
    "an IPv4 address as IPv6": ("sip:[::ffff:192.0.2.1]", Flow("::ffff:192.0.2.1", 5060, local=2)),
    "very long": ("sip:" + "x" * 70_000, None),
}


@pytest.mark.parametrize(("uri", "wanted"), RESOLVED.values(), ids=RESOLVED)
def test_resolving_a_uri(uri: str, wanted: Flow | None) -> None:
    assert location().resolve(uri.encode()) == wanted


def test_without_a_listener_of_the_family_there_is_no_way() -> None:
    assert location((4,)).resolve(b"sip:[2001:db8::1]") is None
    assert location((6,)).resolve(b"sip:192.0.2.1") is None
    assert location(()).resolve(b"sip:192.0.2.1") is None
