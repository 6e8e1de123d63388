"""What a registrar behind us teaches: its 200s tell which phones are bound, and for how long."""

from __future__ import annotations

import pytest
from registering import AOR, FLOW, NOW, PATH, PATHS, PHONE, Bench

from sipfast._flow import Flow
from sipfast.records import Binding


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
        (f"{PHONE};expires=x", "Expires: 70\r\n", 3600),
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
