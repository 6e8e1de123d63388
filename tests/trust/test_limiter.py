"""How much each source may send: who has a bucket of his own, who shares one, and who is banned."""

from __future__ import annotations

import msgspec
import pytest

from sipfast._flow import Flow
from sipfast.config import Peer, Rates
from sipfast.trust.limiter import Limiter
from sipfast.trust.peers import Peers
from sipfast.trust.proven import Proven

SECRET = 0x0123456789ABCDEF
NOW = 1_700_000_000_000
HOUR = 3_600_000
RATES = Rates(
    source=100, source_new=10, binding=20, binding_new=5, phone=50, phone_new=4, strangers_new=1000, ban_after=0, ban_time=60
)
BURST = 5  # seconds of a source's rate that may come at once
TOGETHER = 1  # of all strangers'
ADMITTED, DROPPED, OVER = 0, 1, 2
INVITE = b"INVITE sip:bob@example.test SIP/2.0\r\n"
OPTIONS = b"OPTIONS sip:example.test SIP/2.0\r\n"
STRANGER = Flow("192.0.2.1", 5060)
NO_STATE = [
    b"REGISTER sip:example.test SIP/2.0\r\n",
    b"ACK sip:bob@example.test SIP/2.0\r\n",
    b"CANCEL sip:bob@example.test SIP/2.0\r\n",
    b"SIP/2.0 200 OK\r\n",
    b"\r\n\r\n",
]


def limiter(rates: Rates = RATES, **more: object) -> Limiter:
    return Limiter(rates, SECRET, **more)  # type: ignore[arg-type]


def admitted(them: Limiter, data: bytes, flow: Flow, count: int, now: int = NOW) -> int:
    return sum(them.admits(data, flow, now) == ADMITTED for _ in range(count))


# Buckets of an address


def test_an_address_may_send_its_rate_and_five_seconds_of_it_at_once() -> None:
    them = limiter()
    assert admitted(them, NO_STATE[0], STRANGER, 10_000) == 100 * BURST
    assert admitted(them, NO_STATE[0], STRANGER, 10_000, NOW + 1000) == 100
    assert admitted(them, NO_STATE[0], STRANGER, 10_000, NOW + HOUR) == 100 * BURST


@pytest.mark.parametrize(
    "data", [INVITE, OPTIONS, b"MESSAGE sip:a@b", b"REFER sip:a@b", b"SUBSCRIBE sip:a@b", b"BYE sip:a@b", b"PINGPONG"]
)
def test_what_makes_state_has_a_smaller_bucket(data: bytes) -> None:
    assert admitted(limiter(), data, STRANGER, 10_000) == 10 * BURST


@pytest.mark.parametrize("data", NO_STATE)
def test_what_makes_none_has_the_large_one(data: bytes) -> None:
    assert admitted(limiter(), data, STRANGER, 10_000) == 100 * BURST


@pytest.mark.parametrize(("size", "counts"), [(4095, 1), (4096, 2), (60_000, 15)])
def test_a_large_message_counts_for_several_where_it_is_kept(size: int, counts: int) -> None:
    them = limiter()
    # What is begun may cost more than is left: it is paid for later.
    assert admitted(them, INVITE.ljust(size, b"x"), STRANGER, 1000) == -(-10 * BURST // counts)
    assert admitted(them, NO_STATE[0].ljust(size, b"x"), STRANGER, 50) == 50


def test_what_is_over_is_looked_at_where_a_dialog_may_go_on_by_it() -> None:
    them = limiter()
    admitted(them, INVITE, STRANGER, 50)
    assert them.admits(INVITE, STRANGER, NOW) == OVER
    admitted(them, NO_STATE[0], STRANGER, 500)
    assert them.admits(NO_STATE[0], STRANGER, NOW) == DROPPED


def test_ports_of_an_address_share_a_bucket_and_so_do_the_addresses_of_an_ipv6_subnet() -> None:
    them = limiter()
    ports = [Flow("192.0.2.1", 1024 + i) for i in range(100)]
    assert sum(admitted(them, NO_STATE[0], flow, 100) for flow in ports) == 100 * BURST
    subnet = [Flow(f"2001:db8::{i:x}", 5060) for i in range(1, 101)]
    assert sum(admitted(them, NO_STATE[0], flow, 100) for flow in subnet) == 100 * BURST
    assert admitted(them, NO_STATE[0], Flow("2001:db8:0:1::1", 5060), 10_000) == 100 * BURST


def test_peers_are_exempt() -> None:
    them = limiter(peers=Peers([Peer(addresses=("192.0.2.0/24",))]))
    assert admitted(them, INVITE, STRANGER, 10_000) == 10_000


def test_switched_off_everything_is_admitted() -> None:
    assert admitted(limiter(Rates(enabled=False)), INVITE, STRANGER, 100_000) == 100_000


# Registered flows


def test_a_registered_flow_has_a_bucket_of_its_own() -> None:
    them = limiter()
    phone = Flow("192.0.2.1", 40_000)
    them.note_registered(phone, NOW)
    admitted(them, NO_STATE[0], STRANGER, 10_000)
    admitted(them, INVITE, STRANGER, 10_000)
    assert admitted(them, NO_STATE[0], phone, 10_000) == 50 * BURST
    assert admitted(them, INVITE, phone, 10_000, NOW + 1000) == 4 * BURST


def test_so_has_one_by_which_a_password_was_shown() -> None:
    them = limiter(proven=Proven(SECRET))
    caller = Flow("192.0.2.1", 40_000)
    them.note_authenticated(caller, NOW)
    admitted(them, INVITE, STRANGER, 10_000)
    assert admitted(them, INVITE, caller, 10_000) == 4 * BURST
    assert admitted(them, NO_STATE[0], caller, 10_000, NOW + 10_000) == 50 * BURST
    assert not them.ban_address("192.0.2.1", NOW + 60_000, NOW), "somebody lives there"


def test_an_office_of_500_phones_behind_one_address_is_no_flood() -> None:
    them = limiter()
    phones = [Flow("192.0.2.1", 20_000 + i) for i in range(500)]
    for phone in phones:
        them.note_registered(phone, NOW)
    assert all(admitted(them, INVITE, phone, 20) == 20 for phone in phones)


def test_the_office_comes_back_after_a_power_cut_with_new_ports() -> None:
    them = limiter()
    for i in range(500):
        them.note_registered(Flow("192.0.2.1", 20_000 + i), NOW)
    later = NOW + HOUR
    back = [Flow("192.0.2.1", 40_000 + i) for i in range(500)]
    assert all(admitted(them, NO_STATE[0], flow, 20, later) == 20 for flow in back)
    assert all(admitted(them, INVITE, flow, 2, later) == 2 for flow in back)


def test_a_flow_counts_as_registered_once_it_is_proven() -> None:
    proven = Proven(SECRET)
    them = limiter(proven=proven)
    phone = Flow("192.0.2.1", 40_000)
    them.note_registered(phone, NOW)
    admitted(them, INVITE, phone, 10_000)
    assert them.admits(INVITE, phone, NOW) == OVER
    proven.prove(phone, NOW)
    assert admitted(them, INVITE, phone, 10_000) == 4 * BURST


def test_a_flow_that_registers_no_more_becomes_a_stranger() -> None:
    them = limiter()
    phone = Flow("192.0.2.1", 40_000)
    them.note_registered(phone, NOW)
    assert admitted(them, INVITE, phone, 10_000, NOW + HOUR) == 4 * BURST
    assert admitted(them, INVITE, phone, 10_000, NOW + 4 * HOUR) == 10 * BURST


# All strangers together


def test_strangers_at_many_addresses_share_what_makes_state() -> None:
    them = limiter()
    many = [Flow(f"10.0.{i >> 8}.{i & 255}", 5060) for i in range(10_000)]
    assert sum(admitted(them, INVITE, flow, 5) for flow in many) == 1000 * TOGETHER
    assert all(admitted(them, NO_STATE[0], flow, 5) == 5 for flow in many[:100])


def test_strangers_at_many_addresses_share_their_registers_which_take_nothing_of_their_calls() -> None:
    them = limiter(msgspec.structs.replace(RATES, strangers_register=300))
    many = [Flow(f"10.0.{i >> 8}.{i & 255}", 5060) for i in range(10_000)]
    assert sum(admitted(them, NO_STATE[0], flow, 5) for flow in many) == 300 * TOGETHER
    assert sum(admitted(them, NO_STATE[0], flow, 5, NOW + 1000) for flow in many) == 300
    assert them.admits(NO_STATE[0], STRANGER, NOW + 1000) == DROPPED
    assert them.admits(INVITE, STRANGER, NOW + 1000) == ADMITTED
    assert all(admitted(them, data, flow, 5) == 5 for flow in many[:100] for data in NO_STATE[1:])


def test_a_phone_registers_on_whatever_strangers_do() -> None:
    them = limiter(msgspec.structs.replace(RATES, strangers_register=300))
    phone = Flow("192.0.2.1", 40_000)
    them.note_registered(phone, NOW)
    for i in range(10_000):
        admitted(them, NO_STATE[0], Flow(f"10.0.{i >> 8}.{i & 255}", 5060), 5)
    assert them.admits(NO_STATE[0], Flow("10.1.0.1", 5060), NOW) == DROPPED
    assert them.admits(NO_STATE[0], phone, NOW) == ADMITTED
    assert them.admits(NO_STATE[0], STRANGER, NOW) == ADMITTED      # the same house, by another port


def test_where_a_phone_is_registered_nobody_draws_from_the_strangers() -> None:
    them = limiter()
    them.note_registered(Flow("192.0.2.1", 40_000), NOW)
    for i in range(10_000):
        admitted(them, INVITE, Flow(f"10.0.{i >> 8}.{i & 255}", 5060), 5)
    assert them.admits(INVITE, Flow("10.1.0.1", 5060), NOW) != ADMITTED
    assert them.admits(INVITE, STRANGER, NOW) == ADMITTED


def test_strangers_take_no_registered_flows_place() -> None:
    them = limiter(memory=bytearray(1 << 16))
    phones = [Flow("192.0.2.1", 20_000 + i) for i in range(100)]
    for phone in phones:
        them.note_registered(phone, NOW)
    for i in range(100_000):
        them.admits(INVITE, Flow(f"10.{i >> 16}.{i >> 8 & 255}.{i & 255}", 5060), NOW + i)
    assert all(them.admits(INVITE, phone, NOW + 100_000) == ADMITTED for phone in phones)


# New AORs


def test_an_address_binds_so_many_new_aors_within_an_hour() -> None:
    them = limiter(msgspec.structs.replace(RATES, source_aors=7))
    ports = [Flow("192.0.2.1", 1024 + i) for i in range(10)]
    assert sum(them.may_bind_one(flow, NOW) for flow in ports) == 7
    assert them.may_bind_one(Flow("192.0.2.2", 5060), NOW)
    assert not them.may_bind_one(STRANGER, NOW + HOUR - 10_000)
    assert them.may_bind_one(STRANGER, NOW + HOUR + 10_000)
    assert them.counters()["refused_aors_of_source"] == 4
    assert them.take_news() == [("192.0.2.1", False)]


@pytest.mark.parametrize("more", [{"source_aors": 0}, {"enabled": False}])
def test_or_any_number_of_them(more: dict[str, int]) -> None:
    them = limiter(msgspec.structs.replace(RATES, **more))
    assert all(them.may_bind_one(STRANGER, NOW) for _ in range(100_000))


def test_and_so_does_a_peer() -> None:
    them = limiter(msgspec.structs.replace(RATES, source_aors=7), peers=Peers([Peer(addresses=("192.0.2.1",))]))
    assert all(them.may_bind_one(STRANGER, NOW) for _ in range(100))


# Bans

BANNING = Rates(source=100, source_new=10, binding=20, strangers_new=1000, ban_after=1000, ban_time=60)


def test_a_stranger_that_goes_on_is_banned_for_a_while() -> None:
    them = limiter(BANNING)
    admitted(them, INVITE, STRANGER, 50 + 1000)
    assert them.bans(NOW) == [("192.0.2.1", NOW + 60_000)]
    assert them.admits(NO_STATE[0], STRANGER, NOW + 59_999) == DROPPED
    assert them.dropped_banned == 1
    assert them.admits(NO_STATE[0], STRANGER, NOW + 60_000) == ADMITTED
    assert them.bans(NOW + 60_000) == []
    assert dict(them.take_news())["192.0.2.1"] is True
    assert them.take_news() == []


def test_refusals_count_within_ten_seconds() -> None:
    them = limiter(BANNING)
    admitted(them, INVITE, STRANGER, 50 + 900)
    admitted(them, INVITE, STRANGER, 50 + 900, NOW + 15_000)
    assert them.bans(NOW + 15_000) == []


def test_where_phones_live_nobody_is_banned() -> None:
    them = limiter(BANNING)
    phone = Flow("192.0.2.1", 40_000)
    them.note_registered(phone, NOW)
    admitted(them, INVITE, STRANGER, 10_000)
    admitted(them, INVITE, phone, 10_000)
    assert them.bans(NOW) == []
    assert not them.ban_address("192.0.2.1", NOW + 60_000, NOW)
    assert them.admits(NO_STATE[0], phone, NOW) == ADMITTED


def test_a_ban_is_made_and_ended_by_hand_and_seen_by_all_who_share_the_memory() -> None:
    memory = bytearray(1 << 18)
    one, other = limiter(memory=memory), limiter(memory=memory)
    assert one.ban_address("198.51.100.9", NOW + 1000, NOW)
    assert one.ban_address("2001:db8::7", NOW + 2000, NOW)
    assert other.bans(NOW) == [("198.51.100.9", NOW + 1000), ("2001:db8::/64", NOW + 2000)]
    assert other.admits(NO_STATE[0], Flow("198.51.100.9", 9), NOW) == DROPPED
    assert other.unban_address("198.51.100.9")
    assert not other.unban_address("198.51.100.9")
    assert one.admits(NO_STATE[0], Flow("198.51.100.9", 9), NOW) == ADMITTED


def test_what_another_store_or_an_older_version_has_left_counts_as_empty() -> None:
    memory = bytearray(1 << 18)
    assert limiter(memory=memory).ban_address("198.51.100.9", NOW + 1000, NOW)
    assert Limiter(RATES, SECRET, memory).bans(NOW) != []
    assert Limiter(RATES, SECRET + 1, memory).bans(NOW) == []
    for byte in (0x01, 0xFF):
        assert limiter(memory=bytearray([byte]) * (1 << 18)).bans(NOW) == []


def test_memory_for_no_set_is_refused() -> None:
    with pytest.raises(ValueError, match="255 bytes"):
        limiter(memory=bytearray(255))
