"""What phones did is remembered: of the device and of its make, for a while, by all workers, and not without end."""

from __future__ import annotations

from typing import Any

import pytest
from net.stores import MemoryStore, put_row

from sipfast._wheel import Wheel
from sipfast.config import METHODS, Redial
from sipfast.redial.memory import PhoneMemory
from sipfast.redial.order import Order
from sipfast.store import records
from sipfast.store.keys import key_of
from sipfast.store.records import AGENT, DEVICE, Note, Phone

NOW = 1_800_000_000_000
DAY = 86_400_000
LIFE = 30 * DAY
CONTACT = b"sip:alice@192.0.2.1:5060"
INSTANCE = b"<urn:uuid:1>"
OTHER = b"<urn:uuid:2>"
ACME = b"Acme 1.0"


class Worker:
    """One memory with a wheel of its own, over a store that others may have, too."""

    def __init__(self, store: Any = None, settings: Redial | None = None) -> None:
        self.store = MemoryStore() if store is None else store
        self.wheel = Wheel(NOW)
        self.memory = PhoneMemory(settings or Redial(), self.store, self.wheel)
        self.memory.begin(NOW)
        self.now = NOW

    def note(self, method: str, worked: bool, instance: bytes = INSTANCE, agent: bytes = ACME) -> None:
        self.memory.note(CONTACT, instance, agent, method, worked, self.now)
        self.store.commit()

    def later(self, ms: int) -> None:
        """Let time go by, with all that is due in its last minutes."""
        end = self.now + ms
        self.wheel.advance(max(self.now, end - 180_000))
        self.store.commit()
        while (due := self.wheel.deadline()) != -1 and due <= end:
            self.wheel.advance(due)
            self.store.commit()
        self.wheel.advance(end)
        self.now = end

    def device(self, instance: bytes = INSTANCE, contact: bytes = CONTACT) -> dict[str, bool] | None:
        return self.memory.of_device(contact, instance, self.now)

    def make(self, agent: bytes = ACME) -> dict[str, bool] | None:
        return self.memory.of_agent(agent, self.now)


def test_nothing_is_known_of_anybody_at_first():
    worker = Worker()
    assert worker.device() is None
    assert worker.make() is None


def test_a_refusal_is_remembered_of_the_device_and_of_its_make():
    worker = Worker()
    worker.note("refer", False)
    assert worker.device() == worker.make() == {"refer": False}
    assert worker.device(OTHER) is None
    assert worker.make(b"Acme 1.1") is None
    assert worker.store.phone(DEVICE, INSTANCE) == Phone(
        DEVICE, INSTANCE, ACME, (Note("refer", False, NOW, NOW + LIFE),))  # fmt: skip


def test_a_device_without_an_instance_is_known_by_its_contact():
    worker = Worker()
    worker.note("refer", False, instance=b"")
    assert worker.device(b"") == {"refer": False}
    assert worker.device(b"", b"sip:alice@192.0.2.1:5062") is None
    assert worker.device(INSTANCE) is None


def test_what_works_is_remembered_of_the_make_and_costs_each_of_its_devices_nothing():
    worker = Worker()
    worker.note("refer", True)
    writes = worker.store.writes
    for number in range(20):
        worker.note("refer", True, instance=b"<urn:uuid:%d>" % number)
    assert worker.store.writes == writes
    assert worker.make() == {"refer": True}
    assert worker.device() is None


def test_a_device_that_does_not_name_its_make_is_remembered_alone():
    worker = Worker()
    worker.note("callback", True, agent=b"")
    assert worker.device() == {"callback": True}
    assert worker.make(b"") is None


def test_what_is_known_is_not_written_again():
    worker = Worker()
    for _ in range(3):
        worker.note("refer", False)
        worker.note("callback", True)
    writes = worker.store.writes
    worker.later(DAY)
    worker.note("refer", False)
    worker.note("callback", True)
    assert worker.store.writes == writes


def test_one_phone_that_refuses_takes_no_good_name_from_its_make():
    worker = Worker()
    worker.note("refer", True)
    worker.note("refer", False, instance=OTHER)
    assert worker.make() == {"refer": True}
    assert worker.device(OTHER) == {"refer": False}
    assert worker.device(INSTANCE) is None


def test_what_a_phone_did_last_is_what_is_known_of_it():
    worker = Worker()
    worker.note("refer", False)
    worker.note("refer", True)
    assert worker.device() == worker.make() == {"refer": True}
    worker.note("refer", False)
    assert worker.device() == {"refer": False}


def test_all_methods_are_remembered_side_by_side():
    worker = Worker()
    for method, worked in (("refer", False), ("refer-nosub", False), ("callback", True)):
        worker.note(method, worked)
    assert worker.device() == {"refer": False, "refer-nosub": False}
    assert worker.make() == {"refer": False, "refer-nosub": False, "callback": True}


def test_it_is_forgotten_after_its_lifetime_and_leaves_the_store():
    worker = Worker()
    worker.note("refer", False)
    worker.later(LIFE // 3)
    worker.note("refer-nosub", False)
    worker.later(LIFE - LIFE // 3 - 1)
    assert worker.device() == {"refer": False, "refer-nosub": False}
    worker.later(1)
    assert worker.device() == worker.make() == {"refer-nosub": False}
    worker.later(LIFE // 3)
    assert worker.device() is worker.make() is None
    worker.later(60_000)
    assert list(worker.store.each_phone()) == []


def test_a_make_that_obeys_all_the_time_keeps_its_name():
    worker = Worker()
    for _ in range(5):
        worker.note("refer", True)
        worker.later(LIFE * 2 // 3)
    worker.note("refer", False, instance=OTHER)
    assert worker.make() == {"refer": True}


def test_where_another_method_was_left_out_that_is_tried_again_after_the_lifetime():
    worker = Worker()
    worker.note("refer", False)
    worker.note("callback", True)
    for _ in range(6):
        worker.later(LIFE // 6)
        if worker.make() is not None:
            worker.note("callback", True)
    assert worker.device() is worker.make() is None


def test_a_restart_forgets_nothing():
    worker = Worker()
    worker.note("refer", False)
    assert Worker(worker.store).device() == {"refer": False}


def test_what_another_worker_learned_is_known_within_minutes():
    one = Worker()
    other = Worker(one.store)
    one.note("refer", False)
    assert other.device() is None
    other.later(60_000)
    assert other.device() == other.make() == {"refer": False}


def test_two_workers_that_learn_of_one_phone_lose_nothing():
    one = Worker()
    other = Worker(one.store)
    one.note("refer", False)
    other.note("refer-nosub", False)
    assert {note.method for note in one.store.phone(DEVICE, INSTANCE).notes} == {"refer", "refer-nosub"}


def test_what_is_forgotten_by_hand_is_forgotten_within_minutes():
    worker = Worker()
    worker.note("refer", False)
    worker.store.delete_phone(DEVICE, INSTANCE)
    worker.store.commit()
    worker.later(60_000)
    assert worker.device() is None
    assert worker.make() == {"refer": False}


def test_what_was_lost_with_its_batch_is_not_known_for_long():
    worker = Worker()
    worker.memory.note(CONTACT, INSTANCE, ACME, "refer", False, NOW)
    worker.store.abort()
    worker.later(60_000)
    assert worker.device() is worker.make() is None


def test_many_are_gone_through_a_little_at_a_time():
    worker = Worker()
    for number in range(1_000):
        worker.note("refer", False, instance=b"<%d>" % number, agent=b"")
    fresh = Worker(worker.store)
    for number in range(1_000):
        worker.note("callback", True, instance=b"<%d>" % number, agent=b"")
    fresh.later(120_000)
    for number in range(1_000):
        assert fresh.device(b"<%d>" % number) == {"refer": False, "callback": True}


def test_no_more_than_so_many_are_kept(monkeypatch: pytest.MonkeyPatch):
    worker = Worker()
    worker.note("refer", True)
    for number in range(records.MOST_PHONES + 50):
        worker.note("refer", False, instance=b"<%d>" % number, agent=b"")
    kept = [phone.kind for phone in worker.store.each_phone()]
    assert len(kept) == records.MOST_PHONES
    assert kept.count(AGENT) == 1, "devices push out no make"
    worker.note("refer", False, instance=b"", agent=b"Zoom")
    assert worker.make(b"Zoom") == {"refer": False}


def test_a_record_that_cannot_be_read_is_the_loss_of_its_phone_and_is_written_anew():
    worker = Worker()
    put_row(worker.store, "phones", b"d" + key_of(INSTANCE), b"?")
    worker.note("refer", False, instance=OTHER)
    worker = Worker(worker.store)
    worker.later(60_000)
    assert worker.device(OTHER) == {"refer": False}
    assert worker.device() is None
    worker.note("refer", False)
    assert worker.store.phone(DEVICE, INSTANCE).notes


def test_nothing_is_remembered_where_that_is_not_wanted():
    worker = Worker(settings=Redial(remember_phones=0))
    worker.note("refer", False)
    worker.later(60_000)
    assert worker.device() is worker.make() is None
    assert list(worker.store.each_phone()) == []
    other = Worker()
    other.note("refer", False)
    other.memory.configure(Redial(remember_phones=0))
    assert other.device() is other.make() is None
    other.later(60_000)
    assert other.device() is other.make() is None


def test_the_ladder_is_climbed_once():
    worker = Worker()
    order = Order(Redial(methods=METHODS))

    def rungs(instance: bytes = INSTANCE) -> list[str]:
        return [name for name, _ in order.rungs(b"sip:a@h", ACME, worker.device(instance), worker.make())]

    assert rungs() == ["refer", "refer-nosub", "callback", "b2bua", "message"]
    worker.note("refer", False)
    worker.note("refer-nosub", False)
    worker.note("callback", True)
    assert rungs() == rungs(OTHER) == ["callback", "b2bua", "message"]
    worker.later(LIFE)
    assert rungs() == ["refer", "refer-nosub", "callback", "b2bua", "message"]
