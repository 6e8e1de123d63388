"""RFC 3261 §10.3 step by step, and RFC 3327 §5.3."""

from __future__ import annotations

import datetime
from email.utils import parsedate_to_datetime

import pytest
from net.registering import AOR, FLOW, NOW, PATH, PATHS, PHONE, SETTINGS, Bench
from net.stores import MemoryStore

from sipfast import config
from sipfast._flow import Flow
from sipfast._parser import Message, parse, parse_address
from sipfast.errors import StoreUnavailable
from sipfast.routing.location import Location
from sipfast.routing.registrar import Registrar
from sipfast.store.records import Binding

SECOND = "<sip:b@192.0.2.1:5062>"


@pytest.fixture
def bench() -> Bench:
    return Bench()


def listed(response: Message) -> dict[str, str]:
    """Contact URI -> its parameters, sorted, of a 200."""
    assert response.status == 200
    found = {}
    for value in response.values("Contact"):
        _, uri, params = parse_address(value)
        assert uri.decode() not in found
        found[uri.decode()] = ";".join(
            sorted(name.decode() + ("" if text is None else "=" + text.decode()) for name, text in params.items())
        )
    return found


def expires(response: Message) -> list[int]:
    values = [parse_address(value)[2][b"expires"] for value in response.values("Contact")]
    return [int(value or b"-1") for value in values]


# ---------------------------------------------------------------- adding and asking


def test_a_first_registration_is_stored_and_listed(bench: Bench) -> None:
    response = bench.register(f"{PHONE};expires=600")
    assert listed(response) == {"sip:b@192.0.2.1:5060": "expires=600"}
    assert bench.bindings == (
        Binding(
            contact=b"sip:b@192.0.2.1:5060",
            expires=NOW + 600_000,
            call_id=b"call-1",
            cseq=1,
            flow=FLOW.pack(),
            updated=NOW,
            branch=bench.bindings[0].branch,
        ),
    )
    assert bench.registrar.newly_bound


def test_the_response_is_that_of_a_stateless_server(bench: Bench) -> None:
    """§8.2.7: a retransmission gets the same answer, To tag included, though nothing was kept."""
    request = bench.request(PHONE)
    first = bench.registrar.answer(request, FLOW, AOR, NOW)
    again = bench.registrar.answer(request, FLOW, AOR, NOW)
    assert first == again
    response = parse(first)
    assert response.to_tag
    assert (response.call_id, response.cseq, response.from_tag) == (b"call-1", (1, "REGISTER"), b"f")
    assert response.header("Via") == b"SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1;rport=5060;received=192.0.2.1"


def test_record_route_is_never_in_the_response(bench: Bench) -> None:
    """§10.3: registrars MUST NOT include one."""
    assert bench.register(PHONE, headers="Record-Route: <sip:p.example.net;lr>\r\n").header("Record-Route") is None


def test_a_query_lists_and_changes_nothing(bench: Bench) -> None:
    assert listed(bench.register()) == {}
    bench.register(PHONE)
    before, writes = bench.bindings, bench.store.writes
    bench.now += 1000
    assert listed(bench.register(call_id="other", cseq=1)) == {"sip:b@192.0.2.1:5060": "expires=1799"}
    assert not bench.registrar.newly_bound
    assert (bench.bindings, bench.store.writes) == (before, writes)


def test_several_contacts_in_one_line_and_in_several(bench: Bench) -> None:
    response = bench.register(
        'sip:b@192.0.2.1;expires=100, "B, of C" <sip:b@192.0.2.1:5062;transport=udp>;q=0.25', "<tel:+1-201-555-0123>;q=0"
    )
    assert listed(response) == {
        "sip:b@192.0.2.1": "expires=100",
        "sip:b@192.0.2.1:5062;transport=udp": "expires=1800;q=0.25",
        "tel:+1-201-555-0123": "expires=1800;q=0",
    }
    assert [binding.q for binding in bench.bindings] == [1000, 250, 0]


def test_other_parameters_are_listed_again(bench: Bench) -> None:
    """§10.3 step 8 with RFC 5626 §4.1: the instance comes back, and it is stored by itself."""
    instance = "<urn:uuid:00000000-0000-1000-8000-000A95A0E128>"
    response = bench.register(f'{PHONE};reg-id=1;q=0.5;+sip.instance="{instance}";expires=90;methods="INVITE, ACK";flag')
    assert bench.bindings[0].instance == instance.encode()
    assert response.header("Contact") == (
        f'{PHONE};expires=90;q=0.5;reg-id=1;+sip.instance="{instance}";methods="INVITE, ACK";flag'.encode()
    )
    again = bench.register(PHONE)
    assert listed(again) == {"sip:b@192.0.2.1:5060": "expires=1800"}, "an update replaces the parameters, too"
    assert bench.bindings[0].instance == b""


def test_a_folded_parameter_does_not_tear_the_response(bench: Bench) -> None:
    response = bench.register(f'{PHONE}\r\n ;methods="INVITE,\r\n ACK"\r\n ;expires=90')
    assert listed(response) == {"sip:b@192.0.2.1:5060": 'expires=90;methods="INVITE, ACK"'}
    assert b"\r\n ACK" not in response.data


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        ("1970-01-01T00:00:00", b"Thu, 01 Jan 1970 00:00:00 GMT"),
        ("1999-12-31T23:59:59", b"Fri, 31 Dec 1999 23:59:59 GMT"),
        ("2000-02-29T12:00:00", b"Tue, 29 Feb 2000 12:00:00 GMT"),
        ("2010-11-13T23:29:00", b"Sat, 13 Nov 2010 23:29:00 GMT"),  # §20.17's own example
        ("2100-03-01T00:00:01", b"Mon, 01 Mar 2100 00:00:01 GMT"),
    ],
)
def test_the_date(bench: Bench, moment: str, text: bytes) -> None:
    at = datetime.datetime.fromisoformat(moment).replace(tzinfo=datetime.UTC)
    bench.now = round(at.timestamp()) * 1000 + 999
    response = bench.register()
    assert response.header("Date") == text
    assert parsedate_to_datetime(text.decode()) == at


def test_the_date_of_every_day_for_years(bench: Bench) -> None:
    for day in range(0, 60_000, 17):
        at = datetime.datetime(1971, 1, 1, 13, 7, 9, tzinfo=datetime.UTC) + datetime.timedelta(days=day)
        bench.now = round(at.timestamp()) * 1000
        assert bench.register().header("Date") == at.strftime("%a, %d %b %Y %H:%M:%S GMT").encode()


def test_the_date_goes_on_with_the_clock(bench: Bench) -> None:
    dates = []
    for now in (NOW, NOW + 999, NOW + 1000, NOW):
        bench.now = now
        dates.append(bench.register().header("Date"))
    assert dates[0] == dates[1] == dates[3] != dates[2]


# ---------------------------------------------------------------- how long


EXPIRES = {
    "neither: the default": (PHONE, "", 1800),
    "the header": (PHONE, "Expires: 300\r\n", 300),
    "the parameter before the header": (f"{PHONE};expires=100", "Expires: 300\r\n", 100),
    "the parameter's name in any case": (f"{PHONE};EXPIRES=100", "Expires: 300\r\n", 100),
    "the least": (f"{PHONE};expires=60", "", 60),
    "the greatest": (f"{PHONE};expires=7200", "", 7200),
    "cut to the greatest": (f"{PHONE};expires=7201", "", 7200),
    "2**32 - 1": (f"{PHONE};expires=4294967295", "", 7200),
    "more than 2**32 - 1": (f"{PHONE};expires=99999999999999999999999", "", 7200),
    "a malformed parameter is 3600": (f"{PHONE};expires=soon", "Expires: 300\r\n", 3600),
    "a negative parameter is 3600": (f"{PHONE};expires=-1", "", 3600),
    "a quoted parameter is 3600": (f'{PHONE};expires="100"', "", 3600),
    "a parameter without value is 3600": (f"{PHONE};expires", "Expires: 300\r\n", 3600),
    "a date in the header is 3600": (PHONE, "Expires: Thu, 01 Dec 1994 16:00:00 GMT\r\n", 3600),
    "a huge header": (PHONE, "Expires: 99999999999999999999999\r\n", 7200),
    "a parameter of the URI is not ours": ("<sip:b@192.0.2.1;expires=100>", "", 1800),
}


@pytest.mark.parametrize(("contact", "headers", "granted"), EXPIRES.values(), ids=EXPIRES)
def test_the_expiration_interval(bench: Bench, contact: str, headers: str, granted: int) -> None:
    """§10.3 step 7; §10.2 for what cannot be read or is too large."""
    assert expires(bench.register(contact, headers=headers)) == [granted]
    assert bench.bindings[0].expires == NOW + granted * 1000


@pytest.mark.parametrize("contact", [f"{PHONE};expires=59", f"{PHONE};expires=1"])
def test_too_brief_an_interval_is_refused(bench: Bench, contact: str) -> None:
    response = bench.register(f"{SECOND};expires=100", contact)
    assert (response.status, response.header("Min-Expires")) == (423, b"60")
    assert bench.bindings == ()
    assert not bench.registrar.newly_bound
    response = bench.register(PHONE, headers="Expires: 30\r\n")
    assert (response.status, response.header("Min-Expires")) == (423, b"60")


def test_without_a_least_interval_any_will_do() -> None:
    bench = Bench(config.Registrar(min_expires=0))
    assert expires(bench.register(f"{PHONE};expires=1")) == [1]


def test_the_remaining_seconds_go_down_and_never_to_0(bench: Bench) -> None:
    bench.register(f"{PHONE};expires=100")
    seen = []
    for passed in (0, 1, 999, 1000, 1001, 98_999, 99_000, 99_999):
        bench.now = NOW + passed
        seen += expires(bench.register())
    assert seen == [100, 100, 100, 99, 99, 2, 1, 1]
    bench.now = NOW + 100_000
    assert expires(bench.register()) == []


def test_an_expired_binding_is_not_there(bench: Bench) -> None:
    """It does not count, has no say about CSeq, and the next registration is a return."""
    bench.register(f"{PHONE};expires=100", cseq=9)
    bench.now += 100_000
    assert listed(bench.register(f"{PHONE};expires=200", cseq=3)) == {"sip:b@192.0.2.1:5060": "expires=200"}
    assert bench.registrar.newly_bound
    assert [binding.cseq for binding in bench.bindings] == [3]


# ---------------------------------------------------------------- updating and removing


def test_a_refresh(bench: Bench) -> None:
    bench.register(f"{PHONE};expires=600;q=0.1")
    bench.now += 300_000
    response = bench.register(f"{PHONE};expires=600;q=0.2", flow=Flow("192.0.2.1", 6000))
    assert listed(response) == {"sip:b@192.0.2.1:5060": "expires=600;q=0.2"}
    assert [(b.cseq, b.expires, b.updated, b.flow) for b in bench.bindings] == [
        (2, bench.now + 600_000, bench.now, Flow("192.0.2.1", 6000).pack())
    ]
    assert not bench.registrar.newly_bound


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("<sip:b@PHONE.example.org>", "<SIP:b@phone.EXAMPLE.org>", True),
        ("<sip:%62@192.0.2.1>", "<sip:b@192.0.2.1>", True),
        ("<sip:b@192.0.2.1;a=1;c>", "<sip:b@192.0.2.1;c;A=1>", True),
        ("<sip:b@192.0.2.1;line=1>", "<sip:b@192.0.2.1>", True),
        ("sip:b@192.0.2.1", "<sip:b@192.0.2.1>", True),
        ("<sip:b@192.0.2.1>", "<sip:b@192.0.2.1:5060>", False),
        ("<sip:b@192.0.2.1>", "<sip:B@192.0.2.1>", False),
        ("<sip:b@192.0.2.1>", "<sip:b@192.0.2.1;transport=udp>", False),
        ("<sip:b@192.0.2.1;line=1>", "<sip:b@192.0.2.1;line=2>", False),
        ("<sip:b@192.0.2.1>", "<sips:b@192.0.2.1>", False),
        ("<mailto:b@example.org>", "<mailto:b@example.org>", True),
    ],
)
def test_bindings_are_found_by_comparing_uris(bench: Bench, first: str, second: str, same: bool) -> None:
    """§19.1.4"""
    bench.register(first)
    assert len(listed(bench.register(second))) == (1 if same else 2)
    bench.register(f"{second};expires=0")
    assert len(bench.bindings) == (0 if same else 1)


def test_removing_one_of_two(bench: Bench) -> None:
    bench.register(PHONE, SECOND)
    assert list(listed(bench.register(f"{PHONE};expires=0"))) == ["sip:b@192.0.2.1:5062"]
    assert bench.contacts == [b"sip:b@192.0.2.1:5062"]
    assert not bench.registrar.newly_bound


def test_removing_by_the_header(bench: Bench) -> None:
    bench.register(PHONE)
    assert listed(bench.register(PHONE, headers="Expires: 0\r\n")) == {}
    assert bench.bindings == ()


def test_removing_what_is_not_there_writes_nothing(bench: Bench) -> None:
    bench.register("<sip:b@192.0.2.2>")
    writes = bench.store.writes
    assert list(listed(bench.register(f"{PHONE};expires=0"))) == ["sip:b@192.0.2.2"]
    assert bench.store.writes == writes


def test_adding_and_removing_at_once(bench: Bench) -> None:
    bench.register(PHONE)
    assert list(listed(bench.register("<sip:b@192.0.2.2>", f"{PHONE};expires=0"))) == ["sip:b@192.0.2.2"]
    assert not bench.registrar.newly_bound, "it was bound all the time"


def test_the_same_contact_twice_counts_as_the_last_one(bench: Bench) -> None:
    assert listed(bench.register(f"{PHONE};expires=100", f"{PHONE};expires=200")) == {"sip:b@192.0.2.1:5060": "expires=200"}
    assert listed(bench.register(f"{PHONE};expires=100", f"{PHONE};expires=0")) == {}


# ---------------------------------------------------------------- Contact: *


def test_the_star_removes_everything(bench: Bench) -> None:
    """§10.3 step 6: of whatever Call-ID."""
    bench.register(PHONE)
    bench.register("<sip:b@192.0.2.2>", call_id="call-2", cseq=50)
    assert listed(bench.register("*", headers="Expires: 0\r\n")) == {}
    assert bench.bindings == ()
    assert not bench.registrar.newly_bound


STARS = {
    "without Expires": (["*"], ""),
    "Expires not 0": (["*"], "Expires: 60\r\n"),
    "Expires malformed": (["*"], "Expires: never\r\n"),
    "Expires empty": (["*"], "Expires:\r\n"),
    "with another contact": (["*", PHONE], "Expires: 0\r\n"),
    "after another contact": ([PHONE, "*"], "Expires: 0\r\n"),
    "twice": (["*", "*"], "Expires: 0\r\n"),
    "in one line with another": ([f"*, {PHONE}"], "Expires: 0\r\n"),
    "with a parameter": (["*;expires=0"], "Expires: 0\r\n"),
    "in angle brackets": (["<*>"], "Expires: 0\r\n"),
}


@pytest.mark.parametrize(("contacts", "headers"), STARS.values(), ids=STARS)
def test_the_star_stands_alone_with_expires_0(bench: Bench, contacts: list[str], headers: str) -> None:
    bench.register("<sip:b@192.0.2.2>")
    before = bench.bindings
    assert bench.register(*contacts, headers=headers).status == 400
    assert bench.bindings == before


@pytest.mark.parametrize("cseq", [4, 5], ids=["lower", "equal"])
def test_the_star_of_an_old_request_fails_as_a_whole(bench: Bench, cseq: int) -> None:
    """§10.3 step 6: a binding with the same Call-ID goes only if the CSeq is higher, else the request fails."""
    bench.register("<sip:b@192.0.2.2>", call_id="call-2")
    bench.register(PHONE, cseq=5)
    before = bench.bindings
    assert bench.register("*", headers="Expires: 0\r\n", cseq=cseq).status == 500
    assert bench.bindings == before
    assert listed(bench.register("*", headers="Expires: 0\r\n", cseq=6)) == {}


# ---------------------------------------------------------------- order


def test_a_lower_cseq_of_the_same_call_id_fails(bench: Bench) -> None:
    bench.register(f"{PHONE};expires=600", cseq=10)
    before, writes = bench.bindings, bench.store.writes
    for contact in (f"{PHONE};expires=700", f"{PHONE};expires=0"):
        assert bench.register(SECOND, contact, cseq=9).status == 500
        assert not bench.registrar.newly_bound
    assert (bench.bindings, bench.store.writes) == (before, writes), "nothing of it is done"


def test_the_same_cseq_is_a_retransmission(bench: Bench) -> None:
    """§8.2.7: it is answered with what is true now, and changes nothing."""
    bench.register(f"{PHONE};expires=600", f"{SECOND};expires=300", cseq=10)
    before, writes = bench.bindings, bench.store.writes
    bench.now += 2000
    response = bench.register(f"{PHONE};expires=600", f"{SECOND};expires=300", cseq=10)
    assert listed(response) == {"sip:b@192.0.2.1:5060": "expires=598", "sip:b@192.0.2.1:5062": "expires=298"}
    assert (bench.bindings, bench.store.writes) == (before, writes)
    assert not bench.registrar.newly_bound


def test_a_retransmitted_removal_is_answered_alike(bench: Bench) -> None:
    bench.register(PHONE, cseq=1)
    for _ in range(2):
        assert listed(bench.register(f"{PHONE};expires=0", cseq=2)) == {}
    for _ in range(2):
        assert listed(bench.register("*", headers="Expires: 0\r\n", cseq=3)) == {}


def test_another_call_id_replaces_the_binding_whatever_its_cseq(bench: Bench) -> None:
    bench.register(PHONE, cseq=10)
    bench.register(f"{PHONE};expires=700", call_id="call-2", cseq=1)
    assert [(b.call_id, b.cseq, b.expires) for b in bench.bindings] == [(b"call-2", 1, NOW + 700_000)]
    assert listed(bench.register(f"{PHONE};expires=0", call_id="call-3", cseq=1)) == {}


def test_the_cseq_of_other_contacts_does_not_matter(bench: Bench) -> None:
    bench.register(PHONE, cseq=10)
    assert len(listed(bench.register("<sip:b@192.0.2.2>", cseq=3))) == 2


# ---------------------------------------------------------------- what is refused

MALFORMED = {
    "no URI": "<>",
    "an open bracket": "<sip:b@192.0.2.1",
    "a bad port": "<sip:b@192.0.2.1:99999>",
    "a bad host": "<sip:b@-x->",
    "an empty value": f"{PHONE},,<sip:b@192.0.2.2>",
    "a name without URI": "B",
    "q above 1": f"{PHONE};q=1.1",
    "q of 1.001": f"{PHONE};q=1.001",
    "q of four decimals": f"{PHONE};q=0.1234",
    "q without value": f"{PHONE};q",
    "q empty": f"{PHONE};q=",
    "q of no digits": f"{PHONE};q=high",
    "q negative": f"{PHONE};q=-0.5",
    "q of 2": f"{PHONE};q=2",
    "q without a leading digit": f"{PHONE};q=.5",
    "q with a letter": f"{PHONE};q=0.x",
    "q of 01": f"{PHONE};q=01",
}


@pytest.mark.parametrize("contact", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_contact_is_refused_with_all_the_others(bench: Bench, contact: str) -> None:
    bench.register("<sip:b@192.0.2.9>")
    before = bench.bindings
    assert bench.register("<sip:b@192.0.2.8>", contact).status == 400
    assert bench.register(contact).status == 400
    assert bench.bindings == before
    assert not bench.registrar.newly_bound


def test_an_empty_contact_is_no_query(bench: Bench) -> None:
    assert bench.register("").status == 400


@pytest.mark.parametrize(
    ("text", "q", "again"),
    [("0", 0, "0"), ("0.", 0, "0"), ("0.5", 500, "0.5"), ("0.25", 250, "0.25"), ("0.001", 1, "0.001"), ("0.7", 700, "0.7")],
)
def test_q(bench: Bench, text: str, q: int, again: str) -> None:
    assert listed(bench.register(f"{PHONE};q={text}")) == {"sip:b@192.0.2.1:5060": f"expires=1800;q={again}"}
    assert bench.bindings[0].q == q


@pytest.mark.parametrize("text", ["1", "1.", "1.0", "1.000"])
def test_q_of_1_is_the_default(bench: Bench, text: str) -> None:
    assert listed(bench.register(f"{PHONE};q={text}")) == {"sip:b@192.0.2.1:5060": "expires=1800"}
    assert bench.bindings[0].q == 1000


def test_a_thousand_contacts_are_refused_without_comparing_them_all(bench: Bench) -> None:
    assert bench.register(",".join(f"<sip:b{n}@192.0.2.1>" for n in range(1000))).status == 400
    assert bench.register(",".join(f"<sip:b{n}@192.0.2.1>;expires=0" for n in range(1000))).status == 400
    assert bench.bindings == ()


def test_any_absolute_uri_may_be_a_contact(bench: Bench) -> None:
    """§10.2.1"""
    contacts = ["mailto:b@example.org", "tel:+12015550123", "http://example.org/b?x=1"]
    assert list(listed(bench.register(*(f"<{each}>" for each in contacts)))) == contacts


def test_a_store_that_fails_makes_no_binding(bench: Bench) -> None:
    """§10.3 step 7: the error goes to the engine, which answers 500 or 503."""

    class Failing(MemoryStore):
        def put_bindings(self, aor: bytes, bindings: object, former: object = None) -> None:
            raise StoreUnavailable("full")

    registrar = Registrar(SETTINGS, Location(Failing(), (4,)), 1)
    with pytest.raises(StoreUnavailable):
        registrar.answer(bench.request(PHONE), FLOW, AOR, NOW)
    assert not registrar.newly_bound


# ---------------------------------------------------------------- Path (RFC 3327 §5.3)


def test_path_is_stored_in_order_and_comes_back_to_those_who_know_it(bench: Bench) -> None:
    response = bench.register(PHONE, headers=PATH + "Supported: outbound, Path\r\n")
    assert response.header("Path") == PATHS
    assert bench.bindings[0].path == PATHS


def test_path_is_stored_but_not_sent_to_those_who_do_not_know_it(bench: Bench) -> None:
    assert bench.register(PHONE, headers=PATH).header("Path") is None
    assert bench.bindings[0].path == PATHS
    assert bench.register(PHONE, headers="Supported: path\r\n").header("Path") is None
    assert bench.bindings[0].path == b"", "each REGISTER says by which way it came"


@pytest.mark.parametrize("path", ["sip:p1.example.net;lr", "<sip:p1.example.net", "<>", "<sip:p1>,,<sip:p2>"])
def test_a_malformed_path_is_refused(bench: Bench, path: str) -> None:
    assert bench.register(PHONE, headers=f"Path: {path}\r\n").status == 400
    assert bench.bindings == ()


# ---------------------------------------------------------------- unbound to bound


def test_newly_bound_is_said_once_and_only_of_what_it_is(bench: Bench) -> None:
    def after(*contacts: str, **more: object) -> bool:
        bench.register(*contacts, **more)
        return bench.registrar.newly_bound

    assert not after()
    assert not after(f"{PHONE};expires=30"), "refused"
    assert not after(f"{PHONE};expires=0")
    assert after(PHONE)
    assert not after(PHONE), "a refresh"
    assert not after("<sip:b@192.0.2.2>"), "a second phone"
    assert not after(f"{PHONE};expires=0")
    assert not after("*", headers="Expires: 0\r\n")
    assert after(PHONE), "back again"
    bench.now += 1_800_000
    assert after(PHONE), "it had run out"
