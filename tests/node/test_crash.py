"""A short run of the crash test (`make crash` is the long one), and that it finds what it is there to find."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from crash.__main__ import figures, play
from crash.epochs import arm, register
from crash.faults import fill, make_room
from crash.town import Caller, Town
from net.phone import Phone, Refer
from net.sipwire import Sip
from peers.machine import Machine

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("workers", [1, 2])
def test_nothing_that_was_acknowledged_is_lost_or_done_twice(tmp_path: Path, workers: int) -> None:
    town = play(tmp_path, seed=workers, seconds=0, callers=12, kills=8, workers=workers, show=False)
    assert town.wrong == [], figures(town.counts)
    assert town.counts["kills"] >= 9 and town.counts["acknowledged"] >= 12 + 10 + 6 + 6


@pytest.mark.parametrize("workers", [1, 4])
def test_an_end_right_after_a_full_disk_has_nobody_called_twice(tmp_path: Path, workers: int) -> None:
    """What calls did while nothing could be written is written by the server that ends, not by its successor."""
    town = Town(tmp_path, Machine(tmp_path), workers, 8)
    try:
        register(town)
        arm(town, random.Random(1), kills=0)
        for phone in town.called:
            phone.register()
        town.live(lambda: len(town.seen) == 4, 10, "a REFER to one caller of each callee")
        fill(town)
        first = [caller for caller in town.callers if caller.refers or caller.phone.user in town.seen]
        town.live(lambda: all(any(call.over for call in caller.answered) for caller in first), 10, "their calls are over")
        town.live(lambda: False, 0.5, "")  # until what was tried at once is given up for a second
        make_room(town)
        assert town.server.stop(15) == 0
        town.restart()
        town.live(lambda: not town.lists()[0], 60, "all watches end")
        assert [fault for caller in town.callers for fault in caller.faults(town.seen)] == []
    finally:
        town.close()


def refer(call_id: str, tag: str = "t", cseq: int = 1) -> Sip:
    return Sip(
        f"REFER sip:a0@192.0.2.1 SIP/2.0\r\nFrom: <sip:b0@x>;tag={tag}\r\nTo: <sip:a0@x>\r\nCall-ID: {call_id}\r\n"
        f"CSeq: {cseq} REFER\r\n\r\n".encode()
    )


FOUND = {  # when each REFER came -> what is said of them
    "the same again": ([(0, refer("1")), (900, refer("1"))], ""),
    "another after its time": ([(0, refer("1")), (2_100, refer("2"))], ""),
    "another tag": ([(0, refer("1")), (900, refer("1", tag="u"))], "another tag or CSeq"),
    "another CSeq": ([(0, refer("1")), (900, refer("1", cseq=2))], "another tag or CSeq"),
    "another Call-ID at once": ([(0, refer("1")), (900, refer("2"))], "another REFER 900 ms after 1"),
}


@pytest.mark.parametrize(("seen", "says"), FOUND.values(), ids=FOUND)
def test_a_refer_that_is_not_the_same_is_found(seen: list[tuple[int, Sip]], says: str) -> None:
    caller = Caller(Phone("a0", ("192.0.2.1", 5060), ("192.0.2.9", 5060)), "b0")
    wrong = caller.faults({"a0": seen})
    assert len(wrong) == bool(says) and all(says in each for each in wrong)


def test_a_refer_that_was_refused_may_be_followed_by_another() -> None:
    caller = Caller(Phone("a0", ("192.0.2.1", 5060), ("192.0.2.9", 5060)), "b0")
    caller.phone.refers.append(Refer(refer("1"), 486, "n"))
    assert caller.faults({"a0": [(0, refer("1")), (900, refer("2"))]}) == []


def test_a_refer_after_redial_is_off_is_found() -> None:
    caller = Caller(Phone("a0", ("192.0.2.1", 5060), ("192.0.2.9", 5060)), "b0")
    caller.gives_up = True
    assert caller.faults({"a0": [(0, refer("1"))]}) == ["a0: asked to call after redial was off"]
