"""What real phones do to a registrar: they move, lose their memory, and are more than there is room for."""

from __future__ import annotations

import pytest
from net.registering import AOR, FLOW, NOW, PHONE, SETTINGS, VIA, Bench

from sipfast import config
from sipfast._flow import Flow

MOVED = Flow("198.51.100.7", 40_000)
INSTANCE = ';+sip.instance="<urn:uuid:1>"'
ONE, TWO, THREE, FOUR = (f"<sip:b@192.0.2.{n}>" for n in range(1, 5))
REFUSING = config.Registrar(default_expires=1800, min_expires=60, max_expires=7200, max_contacts=3, when_full="refuse")
REBOOTED = "branch=z9hG4bKanew;rport"


@pytest.fixture
def bench() -> Bench:
    return Bench(SETTINGS)


# ---------------------------------------------------------------- one phone, one binding (RFC 5626 §6)

SAME_PHONE = {
    "instance": (INSTANCE, INSTANCE, True),
    "instance and reg-id": (f"{INSTANCE};reg-id=1", f"{INSTANCE};reg-id=1", True),
    "another flow of the same phone": (f"{INSTANCE};reg-id=1", f"{INSTANCE};reg-id=2", False),
    "with and without reg-id": (INSTANCE, f"{INSTANCE};reg-id=1", False),
    "another instance": (INSTANCE, ';+sip.instance="<urn:uuid:2>"', False),
    "a reg-id without an instance is ignored": (";reg-id=1", ";reg-id=1", False),
    "no instance": ("", "", False),
}


@pytest.mark.parametrize(("first", "second", "same"), SAME_PHONE.values(), ids=SAME_PHONE)
def test_a_phone_that_comes_from_a_new_address_replaces_its_binding(
    bench: Bench, first: str, second: str, same: bool
) -> None:
    bench.register(f"{ONE}{first}")
    assert bench.register(f"<sip:b@198.51.100.7>{second}", call_id="call-2", cseq=1, flow=MOVED).status == 200
    assert bench.contacts == ([] if same else [b"sip:b@192.0.2.1"]) + [b"sip:b@198.51.100.7"]
    assert bench.bindings[-1].flow == MOVED.pack()
    assert not bench.registrar.newly_bound, "the AOR was bound all the time: no login"


def test_a_phone_that_comes_back_after_its_binding_ran_out_logs_in(bench: Bench) -> None:
    bench.register(f"{ONE}{INSTANCE};expires=60")
    bench.now += 60_000
    bench.register(f"{TWO}{INSTANCE}")
    assert bench.contacts == [b"sip:b@192.0.2.2"]
    assert bench.registrar.newly_bound


@pytest.mark.parametrize("order", [1, -1], ids=["new, then old", "old, then new"])
def test_a_phone_that_moves_and_removes_its_old_contact_stays_bound(bench: Bench, order: int) -> None:
    """As PJSIP does it: both in one REGISTER, both with the instance."""
    bench.register(f"{ONE}{INSTANCE}")
    moved = [f"<sip:b@198.51.100.7>{INSTANCE};expires=600", f"{ONE}{INSTANCE};expires=0"]
    assert bench.register(*moved[::order], flow=MOVED).status == 200
    assert bench.contacts == [b"sip:b@198.51.100.7"]
    assert not bench.registrar.newly_bound


def test_a_removal_of_a_contact_that_was_replaced_before_removes_nothing(bench: Bench) -> None:
    bench.register(f"{ONE}{INSTANCE}")
    bench.register(f"{TWO}{INSTANCE}")
    assert bench.register(f"{ONE}{INSTANCE};expires=0").status == 200
    assert bench.contacts == [b"sip:b@192.0.2.2"]


def test_a_late_register_of_the_old_address_does_not_win(bench: Bench) -> None:
    bench.register(f"{TWO}{INSTANCE}", cseq=2)
    bench.now += 400
    assert bench.register(f"{ONE}{INSTANCE}", cseq=1).status == 500
    assert bench.contacts == [b"sip:b@192.0.2.2"]


def test_a_contact_that_was_another_phones_goes_to_the_one_that_registers_it(bench: Bench) -> None:
    bench.register(f"{ONE}{INSTANCE}")
    bench.register(f'{TWO};+sip.instance="<urn:uuid:2>"', call_id="call-2")
    bench.register(f"{TWO}{INSTANCE}")
    assert bench.contacts == [b"sip:b@192.0.2.2"]
    assert bench.bindings[0].instance == b"<urn:uuid:1>"


def test_several_contacts_with_one_instance_stay(bench: Bench) -> None:
    """Without reg-id a phone may have more than one (RFC 5626 §6, RFC 5627)."""
    bench.register(f"{PHONE}{INSTANCE}", f"<sip:b@192.0.2.1:5062>{INSTANCE}")
    assert bench.contacts == [b"sip:b@192.0.2.1:5060", b"sip:b@192.0.2.1:5062"]


def test_a_reg_id_beside_another_contact_is_400(bench: Bench) -> None:
    """RFC 5626 §6: one REGISTER, one flow."""
    assert bench.register(f"{PHONE}{INSTANCE};reg-id=1", "<sip:b@192.0.2.1:5062>").status == 400
    assert bench.bindings == ()
    assert bench.register(f"{PHONE}{INSTANCE};reg-id=1", "<sip:b@192.0.2.1:5062>;expires=0").status == 200


# ---------------------------------------------------------------- full


def test_the_phone_that_was_silent_for_longest_goes(bench: Bench) -> None:
    for contact in (ONE, TWO, THREE):
        bench.now += 1000
        bench.register(contact)
    bench.now += 1000
    bench.register(ONE)
    assert bench.register(FOUR).status == 200
    assert bench.contacts == [b"sip:b@192.0.2.1", b"sip:b@192.0.2.3", b"sip:b@192.0.2.4"]
    assert not bench.registrar.newly_bound


def test_or_the_answer_is_503_with_retry_after() -> None:
    """Never 403, which phones take for a wrong password."""
    bench = Bench(REFUSING)
    for contact in (f"{ONE};expires=600", f"{TWO};expires=90", f"{THREE};expires=300"):
        bench.register(contact)
    before = bench.bindings
    bench.now += 30_000
    response = bench.register(FOUR)
    assert (response.status, response.header("Retry-After")) == (503, b"60"), "then there is room"
    assert bench.bindings == before
    assert bench.register(ONE).status == 200, "a refresh is no more"
    assert bench.register(FOUR, f"{ONE};expires=0", flow=Flow("192.0.2.4", 5060)).status == 200, "nor is an exchange"
    assert len(bench.bindings) == 3


def test_when_full_a_phone_that_moves_needs_no_room() -> None:
    bench = Bench(REFUSING)
    for contact in (f"{ONE}{INSTANCE}", TWO, THREE):
        bench.register(contact)
    assert bench.register(f"{FOUR}{INSTANCE}").status == 200
    assert bench.contacts == [b"sip:b@192.0.2.4", b"sip:b@192.0.2.2", b"sip:b@192.0.2.3"]


@pytest.mark.parametrize("settings", [SETTINGS, REFUSING], ids=["replace", "refuse"])
@pytest.mark.parametrize("count", [4, 7, 100])
@pytest.mark.parametrize("expires", [0, 600])
def test_more_contacts_in_one_register_than_there_may_be_are_never_403(
    settings: config.Registrar, count: int, expires: int
) -> None:
    bench = Bench(settings)
    bench.register(PHONE)
    response = bench.register(*(f"<sip:b@192.0.2.1:{6000 + n}>;expires={expires}" for n in range(count)))
    assert response.status == (200 if count == 4 and expires == 0 else 400)
    assert bench.contacts == [b"sip:b@192.0.2.1:5060"]


# ---------------------------------------------------------------- a phone that has lost its memory (beside §10.3 step 7)

LOST_MEMORY = {
    "a lower CSeq": (PHONE, 1, REBOOTED, FLOW),
    "the same CSeq": (PHONE, 9, REBOOTED, FLOW),
    "of the same instance, from elsewhere": (f"{PHONE}{INSTANCE}", 1, REBOOTED, MOVED),
    "of the same instance, with another Contact": (f"<sip:b@198.51.100.7>{INSTANCE}", 1, REBOOTED, MOVED),
    "without rport": (PHONE, 1, "branch=z9hG4bKanew", Flow("192.0.2.1", 30_000)),
}


@pytest.mark.parametrize(("contact", "cseq", "via", "flow"), LOST_MEMORY.values(), ids=LOST_MEMORY)
def test_a_phone_that_starts_anew_is_taken_some_seconds_after_its_last_refresh(
    bench: Bench, contact: str, cseq: int, via: str, flow: Flow
) -> None:
    first = PHONE if contact == PHONE else f"{PHONE}{INSTANCE}"
    bench.register(first, cseq=9, via=VIA if "rport" in via else "branch=z9hG4bK1", flow=FLOW if "rport" in via else flow)
    before = bench.bindings
    for passed in (0, 4_999):
        bench.now = NOW + passed
        assert bench.register(contact, cseq=cseq, via=via, flow=flow).status == 500, "it may be one that was overtaken"
        assert bench.bindings == before, "and is no refresh"
        assert bench.registrar.moves == []
    bench.now = NOW + 5_000
    assert bench.register(contact, cseq=cseq, via=via, flow=flow).status == 200
    assert [(each.cseq, each.updated) for each in bench.bindings] == [(cseq, bench.now)]
    assert bench.bindings[0].expires == bench.now + 1_800_000
    assert not bench.registrar.newly_bound


STARTING = {
    "by removing its Contact": (f"{PHONE};expires=0", "", REBOOTED, FLOW),
    "by removing its Contact, by another port": (f"{PHONE};expires=0", "", REBOOTED, Flow("192.0.2.1", 30_000)),
    "by removing everything": ("*", "Expires: 0\r\n", REBOOTED, FLOW),
    "by removing everything, without rport": ("*", "Expires: 0\r\n", "branch=z9hG4bKanew", Flow("192.0.2.1", 30_000)),
    "by removing its Contact, without rport": (f"{PHONE};expires=0", "", "branch=z9hG4bKanew", Flow("192.0.2.1", 30_000)),
}


@pytest.mark.parametrize(("contact", "headers", "via", "flow"), STARTING.values(), ids=STARTING)
def test_a_phone_that_starts_anew_may_begin(bench: Bench, contact: str, headers: str, via: str, flow: Flow) -> None:
    bench.register(PHONE, cseq=9, via=VIA if "rport" in via else "branch=z9hG4bK1", flow=flow)
    assert bench.register(contact, cseq=1, headers=headers, via=via, flow=flow).status == 500
    bench.now += 5_000
    assert bench.register(contact, cseq=1, headers=headers, via=via, flow=flow).status == 200
    assert bench.bindings == ()


def test_a_stranger_with_a_lower_cseq_is_refused_for_ever(bench: Bench) -> None:
    bench.register(f"{PHONE}{INSTANCE}", cseq=9)
    bench.now += 600_000
    for contact in (PHONE, f'{PHONE};+sip.instance="<urn:uuid:2>"', f"{PHONE};expires=0"):
        assert bench.register(contact, cseq=1, via=REBOOTED, flow=MOVED).status == 500
    assert bench.register("*", cseq=1, via=REBOOTED, flow=MOVED, headers="Expires: 0\r\n").status == 500
    assert [each.cseq for each in bench.bindings] == [9]


@pytest.mark.parametrize("passed", [0, 500, 31_000])
def test_the_same_cseq_with_the_same_branch_is_a_retransmission(bench: Bench, passed: int) -> None:
    """Whenever it comes it changes nothing, and is answered alike."""
    bench.register(PHONE, cseq=9)
    before, writes = bench.bindings, bench.store.writes
    bench.now += passed
    assert bench.register(PHONE, cseq=9).status == 200
    assert (bench.bindings, bench.store.writes) == (before, writes)


def test_what_is_refused_moves_no_calls(bench: Bench) -> None:
    """A REGISTER takes effect as a whole or not at all, the moves of its phones included (§10.3 step 7)."""
    bench.register(PHONE, call_id="call-2", cseq=1)
    bench.register("<sip:b@192.0.2.1:5062>", cseq=9)
    answer = bench.register(PHONE, "<sip:b@192.0.2.1:5062>", cseq=8, flow=Flow("192.0.2.1", 7000), via="branch=z9hG4bK2")
    assert answer.status == 500
    assert bench.registrar.moves == []
    assert bench.store.moves() == []


def test_a_move_is_noted(bench: Bench) -> None:
    bench.register(f"{ONE}{INSTANCE}")
    bench.register(f"{TWO}{INSTANCE}", flow=MOVED)
    assert [(each.old, each.new, each.aor, each.contact) for each in bench.store.moves()] == [
        (FLOW.pack(), MOVED.pack(), AOR, b"sip:b@192.0.2.1")
    ]
