"""The NAT boxes of the virtual network do what RFC 4787 says of such boxes: mapping, filtering, lifetime, hairpins."""

from __future__ import annotations

import pytest

from net.endpoint import Endpoint
from net.nat import Behaviour, Nat
from net.network import Network
from net.sipwire import Address

HOME = ("192.168.1.10", 5060)
FAR, FAR_TOO, FARTHER = ("10.0.0.1", 5060), ("10.0.0.1", 5070), ("10.0.0.2", 5060)


class Ear(Endpoint):
    """Keeps what comes, and from where."""

    def __init__(self, name: str, address: Address) -> None:
        super().__init__(name, address)
        self.got: list[tuple[bytes, Address]] = []

    def receive(self, data: bytes, source: Address, now: int) -> None:
        self.got.append((data, source))


class Town:
    """One phone in a home with one address, and three addresses that are far away."""

    def __init__(self, **kind: object) -> None:
        self.network = Network()
        self.nat = Nat("nat", "203.0.113.1", **kind)  # type: ignore[arg-type]
        self.phone = self.network.add(Ear("phone", HOME), behind=self.nat)
        self.far = {address: self.network.add(Ear(f"far{i}", address)) for i, address in enumerate((FAR, FAR_TOO, FARTHER))}

    def out(self, to: Address) -> Address:
        """Send something out; where it seems to come from."""
        self.phone.transmit(b"x", to)
        self.network.run(10)
        return self.far[to].got[-1][1]

    def comes_in(self, source: Address, to: Address) -> bool:
        before = len(self.phone.got)
        self.far[source].transmit(b"y", to)
        self.network.run(10)
        return len(self.phone.got) > before


@pytest.mark.parametrize(("mapping", "ports"), [("endpoint", 1), ("address", 2), ("port", 3)])
def test_the_outer_port_depends_on_the_mapping(mapping: Behaviour, ports: int) -> None:
    """RFC 4787 §4.1"""
    town = Town(mapping=mapping)
    first = [town.out(to) for to in (FAR, FAR_TOO, FARTHER)]
    assert len(set(first)) == ports and {host for host, _ in first} == {"203.0.113.1"}
    assert [town.out(to) for to in (FAR, FAR_TOO, FARTHER)] == first
    assert town.network.seen(town.phone, FAR) == first[0]


@pytest.mark.parametrize(
    ("filtering", "let_in"), [("endpoint", [FAR, FAR_TOO, FARTHER]), ("address", [FAR, FAR_TOO]), ("port", [FAR])]
)
def test_who_is_let_in_depends_on_the_filtering(filtering: Behaviour, let_in: list[Address]) -> None:
    """RFC 4787 §5"""
    town = Town(filtering=filtering)
    outer = town.out(FAR)
    assert [source for source in town.far if town.comes_in(source, outer)] == let_in
    assert [data for data, _ in town.phone.got] == [b"y"] * len(let_in)
    assert {event.fate for event in town.network.trace} == ({"", "filtered"} if len(let_in) < 3 else {""})


def test_nobody_reaches_a_private_address_or_a_port_that_is_nobodys() -> None:
    town = Town(filtering="endpoint")
    assert not town.comes_in(FAR, HOME)
    assert not town.comes_in(FAR, (town.nat.host, 5060))
    assert [event.fate for event in town.network.trace] == ["nobody there", "filtered"]


def test_a_mapping_lives_as_long_as_something_leaves_by_it() -> None:
    """RFC 4787 §4.3: what comes in does not make it live longer."""
    town = Town(lifetime=30_000)
    outer = town.out(FAR)
    for _ in range(3):
        town.network.run(25_000)
        assert town.out(FAR) == outer
    town.network.run(25_000)
    assert town.comes_in(FAR, outer)
    town.network.run(10_000)
    assert not town.comes_in(FAR, outer)
    assert town.out(FAR) != outer


@pytest.mark.parametrize("host", [None, "203.0.113.99"])
def test_a_rebinding_gives_another_way_and_closes_the_old_one(host: str | None) -> None:
    town = Town()
    before = town.out(FAR)
    town.nat.rebind(host)
    assert not town.comes_in(FAR, before)
    after = town.out(FAR)
    assert after != before and after[0] == (host or before[0])
    assert town.comes_in(FAR, after) and not town.comes_in(FAR, before)


@pytest.mark.parametrize("hairpin", [False, True])
def test_hairpins_only_where_the_box_makes_them(hairpin: bool) -> None:
    """RFC 4787 §6"""
    town = Town(filtering="endpoint", hairpin=hairpin)
    outer = town.out(FAR)
    other = town.network.add(Ear("other", ("192.168.1.11", 5060)), behind=town.nat)
    other.transmit(b"z", outer)
    town.network.run(10)
    assert town.phone.got == ([(b"z", town.network.seen(other, outer))] if hairpin else [])
    other.transmit(b"direct", HOME)  # within the home there is no box between them
    town.network.run(10)
    assert town.phone.got[-1] == (b"direct", other.address)


def test_two_homes_with_the_same_addresses_are_two() -> None:
    town = Town()
    second = Nat("second", "203.0.113.2")
    twin = town.network.add(Ear("twin", HOME), behind=second)
    outer = town.out(FAR)
    twin.transmit(b"x", FAR)
    town.network.run(10)
    seen = town.network.seen(twin, FAR)
    assert seen != outer and town.far[FAR].got[-1][1] == seen
    town.far[FAR].transmit(b"for the twin", seen)
    town.network.run(10)
    assert [data for data, _ in twin.got] == [b"for the twin"] and town.phone.got == []
    assert "twin" in town.network.ladder().splitlines()[0]
    assert town.network.home(twin) is second
    town.network.remove(twin)
    assert town.comes_in(FAR, outer)
