"""What a REGISTER comes to by its record's bytes is what the general way through structs comes to (RFC 3261 §10.3)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from net.registering import AOR, FLOW, PHONE, VIA, Bench
from net.stores import MemoryStore, row

from sipfast._flow import Flow
from sipfast.store.codec import StoredBindings, changed_contacts, stored_bindings

OTHER_FLOW = Flow("2001:db8::7", 5061)
OTHER_PORT = Flow("192.0.2.1", 40_000)
VIAS = [VIA, "branch=z9hG4bK2;rport", "branch=z9hG4bK1", "rport"]


class WithoutRecords(MemoryStore):
    """Shows no records in the form that is written here, so that every REGISTER takes the general way."""

    def bindings(self, aor: bytes) -> StoredBindings:
        record = row(self, "bindings", aor)
        return stored_bindings(aor, record and record[:1] + b"\xcc" + record[1:])  # its version in two bytes


CONTACTS = [
    (PHONE,),
    (f"{PHONE};expires=600",),
    (f"{PHONE};q=0.5;reg-id=1;expires=90000",),
    (f'{PHONE};q=0;+sip.instance="<urn:uuid:1>"',),
    (f'{PHONE};+sip.instance="<urn:uuid:1>";reg-id=7',),
    ('<sip:b@192.0.2.2>;+sip.instance="<urn:uuid:1>";reg-id=7',),
    ('<sip:b@192.0.2.2>;+sip.instance="<urn:uuid:1>"', f'{PHONE};+sip.instance="<urn:uuid:1>";expires=0'),
    (f"{PHONE};expires=0",),
    (f"{PHONE};expires=59",),
    (f"{PHONE};q=2",),
    ("sip:b@192.0.2.1;expires=100",),
    ("<sip:B@192.0.2.1:5060>",),
    ("<sip:B@192.0.2.1:5060>", PHONE),
    ("<sip:%62@192.0.2.1:5060>",),
    ("<tel:+1-201-555-0123>",),
    (PHONE, "<sip:b@192.0.2.2>"),
    (f"<sip:b@192.0.2.1:5060;x={'y' * 5000}>",),
    ("*",),
    (),
]
HEADERS = ["", "Expires: 0\r\n", "Expires: 120\r\n", "Path: <sip:p.example.net;lr>\r\nSupported: path\r\n", "Path: x y\r\n"]

steps = st.lists(
    st.tuples(
        st.sampled_from(CONTACTS[:6]) | st.sampled_from(CONTACTS),
        st.sampled_from(["call-1", "call-2"]),
        st.integers(1, 6),
        st.just("") | st.sampled_from(HEADERS),
        st.sampled_from([FLOW, OTHER_PORT, OTHER_FLOW]),
        st.just(VIA) | st.sampled_from(VIAS),
        st.sampled_from([0, 1, 5_000, 61_000, 4_000_000]),
    ),
    max_size=8,
)


@given(steps)
def test_it_is_the_same_as_the_general_way(
    steps: list[tuple[tuple[str, ...], str, int, str, Flow, str, int]],
) -> None:
    fast, general = Bench(), Bench(store=WithoutRecords())
    for contacts, call_id, cseq, headers, flow, via, later in steps:
        for bench in (fast, general):
            bench.now += later
        request = fast.request(*contacts, call_id=call_id, cseq=cseq, headers=headers, via=via)
        answers = [bench.registrar.answer(request, flow, AOR, bench.now) for bench in (fast, general)]
        assert answers[0] == answers[1]
        assert fast.bindings == general.bindings
        assert fast.store.writes == general.store.writes
        assert fast.registrar.newly_bound == general.registrar.newly_bound
        assert fast.registrar.moves == general.registrar.moves
        assert fast.store.moves() == general.store.moves()
        for key in changed_contacts(AOR, None, fast.store.bindings(AOR).record)[1]:
            assert fast.store.aors_of(key) == general.store.aors_of(key) == [AOR]
