"""Which bindings are live, and by which flow each is reached."""

from __future__ import annotations

import pytest

from sipfast._flow import Flow
from sipfast.location import Location
from sipfast.records import Binding
from sipfast.store.memory import MemoryStore

NOW = 1_700_000_000_000
AOR = b"sip:b@example.org"
CAME = Flow("192.0.2.1", 6123, local=1)  # what most bindings below were registered by
CAME6 = Flow("2001:db8::1", 6123, local=2)
HOSTS = {"Proxy.Example.net": "203.0.113.9", "six.example.net": "2001:db8::9"}


def location(families: tuple[int, ...] = (4, 4, 6)) -> Location:
    return Location(MemoryStore(), families, HOSTS)


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
    assert place.live(AOR, NOW) == []
    low, old, new = binding("sip:1", q=100, updated=9), binding("sip:2", updated=1), binding("sip:3", updated=2)
    place.store.put_bindings(AOR, [low, old, new])
    assert place.live(AOR, NOW) == [new, old, low]
    assert place.live(b"sip:c@example.org", NOW) == []


def test_an_expired_binding_is_not_live() -> None:
    place = location()
    live, gone = binding("sip:1", expires=NOW + 1), binding("sip:2", expires=NOW)
    place.store.put_bindings(AOR, [live, gone])
    assert place.live(AOR, NOW) == [live]
    assert place.live(AOR, NOW + 1) == []
    assert place.store.bindings(AOR) == (live, gone), "looking removes nothing"


# Contact, flow of the REGISTER, Path, and the flow by which it is reached
WAYS: dict[str, tuple[str, Flow | None, str, Flow | None]] = {
    "its own address, and the port that it names": ("sip:b@192.0.2.1:5070", CAME, "", Flow("192.0.2.1", 5070, local=1)),
    "its own address, default port": ("sip:b@192.0.2.1", CAME, "", Flow("192.0.2.1", 5060, local=1)),
    "IPv6": ("sip:b@[2001:db8:0::1]:5070", CAME6, "", Flow("2001:db8::1", 5070, local=2)),
    "behind a NAT": ("sip:b@10.0.0.7:5060", CAME, "", CAME),
    "behind a NAT, IPv6": ("sip:b@[fd00::7]", CAME6, "", CAME6),
    "of the other family": ("sip:b@[2001:db8::1]", CAME, "", CAME),
    "a name": ("sip:b@phone.local:5060", CAME, "", CAME),
    "a name that is known": ("sip:b@proxy.example.net", CAME, "", CAME),
    "a name like an address": ("sip:b@192.0.2.1.example.net", CAME, "", CAME),
    "maddr is the host": ("sip:b@phone.local:5070;maddr=192.0.2.1", CAME, "", Flow("192.0.2.1", 5070, local=1)),
    "maddr elsewhere": ("sip:b@192.0.2.1;maddr=10.0.0.7", CAME, "", CAME),
    "a connection": ("sip:b@192.0.2.1:5060", Flow("192.0.2.1", 40000, transport="TCP"), "",
                     Flow("192.0.2.1", 40000, transport="TCP")),
    "sips over UDP": ("sips:b@192.0.2.1", CAME, "", None),
    "sips over TLS": ("sips:b@192.0.2.1", Flow("192.0.2.1", 40000, transport="TLS"), "",
                      Flow("192.0.2.1", 40000, transport="TLS")),
    "tel": ("tel:+12015550123", CAME, "", None),
    "mailto": ("mailto:b@example.org", CAME, "", None),
    "not a URI": ("b", CAME, "", None),
    "learned, an address": ("sip:b@192.0.2.7:5070", None, "", Flow("192.0.2.7", 5070)),
    "learned, IPv6": ("sip:b@[2001:db8::7]", None, "", Flow("2001:db8::7", 5060, local=2)),
    "learned, a known name": ("sip:b@PROXY.example.NET", None, "", Flow("203.0.113.9", 5060)),
    "learned, an unknown name": ("sip:b@phone.local", None, "", None),
    "Path": ("sip:b@192.0.2.1", CAME, "<sip:203.0.113.5:5080;lr>", Flow("203.0.113.5", 5080)),
    "the first of two": ("sip:b@192.0.2.1", CAME, "<sip:203.0.113.5;lr>, <sip:203.0.113.6;lr>", Flow("203.0.113.5", 5060)),
    "Path, a known name": ("sip:b@192.0.2.1", CAME, "<sip:six.example.net;lr>", Flow("2001:db8::9", 5060, local=2)),
    "Path, an unknown name": ("sip:b@10.0.0.7", CAME, "<sip:edge.example.com;lr>", CAME),
    "Path, an unknown name, nothing else": ("sip:b@192.0.2.1", None, "<sip:edge.example.com;lr>", None),
    "Path with a display name": ("sip:b@10.0.0.7", CAME, r'"\"<sip:1>" <sip:203.0.113.5>', Flow("203.0.113.5", 5060)),
    "Path of another kind of Contact": ("tel:+12015550123", CAME, "<sip:203.0.113.5>", Flow("203.0.113.5", 5060)),
}


@pytest.mark.parametrize(("contact", "flow", "path", "wanted"), WAYS.values(), ids=WAYS)
def test_the_way_to_a_binding(contact: str, flow: Flow | None, path: str, wanted: Flow | None) -> None:
    assert location().flow_for(binding(contact, flow=flow, path=path)) == wanted


def test_the_flow_of_a_listener_that_is_gone_is_that_of_the_first_of_its_family() -> None:
    """The store outlives the configuration."""
    behind_nat = binding("sip:b@10.0.0.7", flow=Flow("192.0.2.1", 6123, local=3))
    assert location((6, 4)).flow_for(behind_nat) == Flow("192.0.2.1", 6123, local=1)
    assert location((6,)).flow_for(behind_nat) is None
    assert location((6, 6, 6, 6, 4)).flow_for(behind_nat) == Flow("192.0.2.1", 6123, local=4)
    at_home = binding("sip:b@192.0.2.1", flow=Flow("192.0.2.1", 6123, local=3))
    assert location((6, 4)).flow_for(at_home) == Flow("192.0.2.1", 5060, local=1)


def test_a_flow_that_cannot_be_read_is_none() -> None:
    damaged = Binding(b"sip:b@192.0.2.1", NOW, b"c", 1, flow=b"?")
    assert location().flow_for(damaged) == Flow("192.0.2.1", 5060)


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
    "very long": ("sip:" + "x" * 70_000, None),
}


@pytest.mark.parametrize(("uri", "wanted"), RESOLVED.values(), ids=RESOLVED)
def test_resolving_a_uri(uri: str, wanted: Flow | None) -> None:
    assert location().resolve(uri.encode()) == wanted


def test_without_a_listener_of_the_family_there_is_no_way() -> None:
    assert location((4,)).resolve(b"sip:[2001:db8::1]") is None
    assert location((6,)).resolve(b"sip:192.0.2.1") is None
    assert location(()).resolve(b"sip:192.0.2.1") is None
