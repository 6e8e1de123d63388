"""What a registrar behind us teaches: its 200s tell which phones are bound, and for how long."""

from __future__ import annotations

import pytest
from net.registering import AOR, FLOW, NOW, PATH, PATHS, PHONE, Bench

from sipfast._flow import Flow
from sipfast.store.records import Binding


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_learning_a_registration(bench: Bench) -> None:
    request = bench.request(f"{PHONE};expires=7200", headers=PATH)
    bench.learn(request, f'{PHONE};expires=55;+sip.instance="<urn:1>"')
    assert bench.bindings == (
        Binding(
            contact=b"sip:b@192.0.2.1:5060",
            expires=NOW + 55_000,
            call_id=b"call-1",
            cseq=1,
            params=b';+sip.instance="<urn:1>"',
            path=PATHS,
            flow=FLOW.pack(),
            instance=b"<urn:1>",
            updated=NOW,
            branch=bench.bindings[0].branch,
        ),
    ), "the upstream's interval, however short, and the phone's way"
    assert bench.learning.newly_bound
    assert bench.store.is_known(AOR)


@pytest.mark.parametrize(
    ("contact", "headers", "seconds"),
    [
        (f"{PHONE};expires=50", "Expires: 70\r\n", 50),
        (PHONE, "Expires: 70\r\n", 70),
        (PHONE, "", 1800),
        (f"{PHONE};expires=x", "Expires: 70\r\n", 1800),
        (f"{PHONE};expires=100000", "", 100_000),
    ],
)
def test_the_interval_that_the_upstream_granted(bench: Bench, contact: str, headers: str, seconds: int) -> None:
    bench.learn(bench.request(PHONE), contact, headers=headers)
    assert [binding.expires for binding in bench.bindings] == [NOW + seconds * 1000]


def test_the_instance_of_the_request_where_the_upstream_does_not_list_it(bench: Bench) -> None:
    bench.learn(bench.request(f'{PHONE};+sip.instance="<urn:1>"'), f"{PHONE};expires=50")
    assert bench.bindings[0].instance == b"<urn:1>"


def test_what_the_upstream_lists_no_more_is_gone(bench: Bench) -> None:
    bench.learn(bench.request(PHONE), f"{PHONE};expires=50", "<sip:b@192.0.2.2>;expires=50")
    bench.learn(bench.request("<sip:b@192.0.2.2>"), "<sip:b@192.0.2.2>;expires=50", f"{PHONE};expires=0")
    assert bench.contacts == [b"sip:b@192.0.2.2"]
    assert not bench.learning.newly_bound
    bench.learn(bench.request("<sip:b@192.0.2.2>;expires=0"))
    assert bench.bindings == ()
    assert not bench.learning.newly_bound
    assert bench.store.is_known(AOR)
    bench.learn(bench.request(PHONE), f"{PHONE};expires=50")
    assert bench.learning.newly_bound


def test_what_the_request_did_not_name_keeps_its_own_way(bench: Bench) -> None:
    there, elsewhere = Flow("198.51.100.7", 7000), "<sip:b@198.51.100.7>"
    bench.learn(bench.request(elsewhere, call_id="call-2", cseq=7, headers=PATH), f"{elsewhere};expires=50", flow=there)
    bench.now += 1000
    bench.learn(bench.request(PHONE), f"{PHONE};expires=60", f"{elsewhere};expires=49", "<sip:b@203.0.113.1>;expires=40")
    one, known, unknown = bench.bindings
    assert (one.flow, one.path, one.call_id) == (FLOW.pack(), b"", b"call-1")
    assert (known.flow, known.path, known.call_id, known.cseq) == (there.pack(), PATHS, b"call-2", 7)
    assert known.expires == bench.now + 49_000
    assert (unknown.flow, unknown.path, unknown.expires) == (b"", b"", bench.now + 40_000)
    assert not bench.learning.newly_bound


def test_a_refresh_by_another_flow_moves_the_binding(bench: Bench) -> None:
    bench.learn(bench.request(PHONE), f"{PHONE};expires=50")
    bench.learn(bench.request(PHONE), f"{PHONE};expires=50", flow=Flow("192.0.2.1", 6000))
    assert [binding.flow for binding in bench.bindings] == [Flow("192.0.2.1", 6000).pack()]
    assert bench.bindings[0].cseq == 2


def test_an_answer_that_was_overtaken_is_ignored(bench: Bench) -> None:
    first, second = bench.request(PHONE), bench.request(f"{PHONE};expires=0", "<sip:b@192.0.2.2>")
    bench.learn(second, "<sip:b@192.0.2.2>;expires=50")
    bench.learn(first, f"{PHONE};expires=50")
    assert bench.contacts == [b"sip:b@192.0.2.2"]
    assert not bench.learning.newly_bound


def test_a_query_teaches_but_binds_nobody(bench: Bench) -> None:
    bench.learn(bench.request(), f"{PHONE};expires=50")
    assert bench.contacts == [b"sip:b@192.0.2.1:5060"]
    assert not bench.learning.newly_bound


@pytest.mark.parametrize("status", ["401 Unauthorized", "500 Server Internal Error", "100 Trying"])
def test_only_a_2xx_teaches(bench: Bench, status: str) -> None:
    bench.learn(bench.request(PHONE), f"{PHONE};expires=50", status=status)
    assert bench.bindings == ()
    assert not bench.store.is_known(AOR)
    assert not bench.learning.newly_bound


def test_what_cannot_be_read_in_the_upstreams_list_is_passed_over(bench: Bench) -> None:
    bench.learn(bench.request(PHONE), "<sip:b@192.0.2.1:99999>;expires=50", "*", f"{PHONE};expires=50")
    assert bench.contacts == [b"sip:b@192.0.2.1:5060"]


def test_a_flood_of_contacts_is_learned_in_bounds(bench: Bench) -> None:
    many = (f"<sip:b{n}@192.0.2.1>;expires=50" for n in range(1000))
    bench.learn(bench.request(",".join(f"<sip:b{n}@192.0.2.1>" for n in range(900))), ",".join(many))
    assert 0 < len(bench.bindings) <= 256


# ---------------------------------------------------------------- what is granted without being listed as it was asked

ELSEWHERE = "<sip:b@203.0.113.9:1024;ob>"
GRANTED = {
    "no Contact": ((), ""),
    "no Contact, an odd Expires header": ((), "Expires: never\r\n"),
    "no interval": ((PHONE,), ""),
    "an interval that cannot be read": ((f"{PHONE};expires=soon",), ""),
    "an empty interval": ((f"{PHONE};expires=",), ""),
    "a quoted interval": ((f'{PHONE};expires="600"',), ""),
    "a negative interval": ((f"{PHONE};expires=-1",), ""),
    "granted for no time": ((f"{PHONE};expires=0",), ""),
    "granted for no time by the header": ((PHONE,), "Expires: 0\r\n"),
    "a date in the header": ((PHONE,), "Expires: Thu, 01 Dec 1994 16:00:00 GMT\r\n"),
    "another spelling": ((ELSEWHERE,), ""),
    "another spelling with an interval": ((f"{ELSEWHERE};expires=55",), ""),
    "a Contact that cannot be read": (("<sip:b@192.0.2.1:99999>",), ""),
}


@pytest.mark.parametrize(("contacts", "headers"), GRANTED.values(), ids=GRANTED)
@pytest.mark.parametrize("times", [1, 2])
def test_a_200_grants_what_was_asked(bench: Bench, contacts: tuple[str, ...], headers: str, times: int) -> None:
    for _ in range(times):
        bench.learn(bench.request(f'{PHONE};expires=900;+sip.instance="<urn:1>"'), *contacts, headers=headers)
    assert [(each.contact, each.expires, each.flow, each.instance) for each in bench.bindings] == [
        (b"sip:b@192.0.2.1:5060", NOW + 900_000, FLOW.pack(), b"<urn:1>")
    ]
    assert bench.learning.newly_bound == (times == 1)


@pytest.mark.parametrize(
    ("contact", "headers", "seconds"),
    [(PHONE, "Expires: 700\r\n", 700), (PHONE, "", 1800), (f"{PHONE};expires=soon", "", 3600)],
)
def test_what_was_asked_is_read_as_a_registrar_reads_it(bench: Bench, contact: str, headers: str, seconds: int) -> None:
    """RFC 3261 §10.2"""
    bench.learn(bench.request(contact, headers=headers))
    assert [each.expires for each in bench.bindings] == [NOW + 1000 * seconds]


def test_a_removal_is_granted_without_a_contact(bench: Bench) -> None:
    bench.learn(bench.request(PHONE))
    bench.learn(bench.request(f"{PHONE};expires=0"))
    assert bench.bindings == ()
    assert not bench.learning.newly_bound


def test_the_removal_of_everything_is_granted(bench: Bench) -> None:
    bench.learn(bench.request(PHONE))
    bench.learn(bench.request("*", headers="Expires: 0\r\n"))
    assert bench.bindings == ()


def test_a_query_whose_200_lists_nothing_says_nothing(bench: Bench) -> None:
    bench.learn(bench.request(PHONE))
    bench.learn(bench.request())
    assert bench.contacts == [b"sip:b@192.0.2.1:5060"]


SECOND = "<sip:b@192.0.2.2>"
OTHERS_IN_THEIR_OWN_SPELLING = {
    "another spelling of both": (ELSEWHERE, "<sip:b@203.0.113.9:1025;ob>"),
    "none": (),
}


@pytest.mark.parametrize("listed", OTHERS_IN_THEIR_OWN_SPELLING.values(), ids=OTHERS_IN_THEIR_OWN_SPELLING)
def test_a_second_phone_does_not_drive_the_first_one_out(bench: Bench, listed: tuple[str, ...]) -> None:
    there = Flow("198.51.100.7", 7000)
    bench.learn(bench.request(f"{PHONE};expires=900"), *listed[:1])
    bench.learn(bench.request(f"{SECOND};expires=600", call_id="call-2"), *listed, flow=there)
    assert {each.contact: (each.flow, each.expires) for each in bench.bindings} == {
        b"sip:b@192.0.2.1:5060": (FLOW.pack(), NOW + 900_000),
        b"sip:b@192.0.2.2": (there.pack(), NOW + 600_000),
    }
    assert not bench.learning.newly_bound
    bench.learn(bench.request(f"{SECOND};expires=0", call_id="call-2"), *listed[:1], flow=there)
    assert bench.contacts == [b"sip:b@192.0.2.1:5060"]


@pytest.mark.parametrize("listed", [(), (ELSEWHERE,), (SECOND,)], ids=["nothing", "another spelling", "its new Contact"])
def test_a_phone_that_moves_replaces_its_binding(bench: Bench, listed: tuple[str, ...]) -> None:
    """RFC 5626 §6"""
    instance = ';+sip.instance="<urn:1>"'
    bench.learn(bench.request(PHONE + instance))
    bench.learn(bench.request(SECOND + instance), *listed, flow=Flow("192.0.2.2", 5060))
    assert bench.contacts == [b"sip:b@192.0.2.2"]
    assert not bench.learning.newly_bound


def test_a_phone_that_starts_anew_is_learned_again(bench: Bench) -> None:
    bench.learn(bench.request(f"{PHONE};expires=900", cseq=9), f"{PHONE};expires=900")
    bench.now += 33_000
    bench.learn(bench.request(f"{PHONE};expires=900", cseq=1), f"{PHONE};expires=900")
    assert [(each.cseq, each.expires) for each in bench.bindings] == [(1, bench.now + 900_000)]


def test_a_removal_that_tells_of_others_is_no_login(bench: Bench) -> None:
    bench.learn(bench.request(f"{PHONE};expires=0"), f"{SECOND};expires=50")
    assert bench.contacts == [b"sip:b@192.0.2.2"]
    assert not bench.learning.newly_bound
