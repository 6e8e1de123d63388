"""Bounds on what a REGISTER may leave behind, since others are sent it: queries, and calls for its phone."""

from __future__ import annotations

import pytest
from net.registering import Bench

from sipfast.config import Registrar


def contact(size: int, user: str = "b") -> str:
    uri = f"sip:{user}@192.0.2.1:5060"
    return f"<{uri};x=" + "y" * (size - len(uri) - 3) + ">"


def test_a_contact_of_2048_bytes_is_bound_and_a_larger_one_is_refused() -> None:
    bench = Bench()
    assert bench.register(contact(2048)).status == 200
    answer = bench.register(contact(2049), call_id="other")
    assert answer.status == 400
    assert "2048 bytes" in str(answer.header("Warning"))
    assert len(bench.bindings) == 1


def test_parameters_count() -> None:
    bench = Bench()
    assert bench.register(contact(100) + ";p=" + "y" * 2000).status == 400
    assert bench.bindings == ()


def test_a_path_counts() -> None:
    bench = Bench()
    path = "Path: <sip:192.0.2.1;lr;x=" + "y" * 4000 + ">\r\n"
    assert bench.register(contact(100), headers=path).status == 400
    assert bench.bindings == ()


@pytest.mark.parametrize("when_full", ["replace", "refuse"])
def test_all_contacts_of_a_user_have_24576_bytes(when_full: str) -> None:
    bench = Bench(Registrar(max_contacts=16, when_full=when_full))  # type: ignore[arg-type]
    statuses = []
    for i in range(16):
        bench.now += 1
        statuses.append(bench.register(contact(2000, f"u{i}"), call_id=f"c{i}").status)
    assert sum(len(each.contact) for each in bench.bindings) <= 24_576
    assert len(bench.bindings) == 11
    if when_full == "replace":
        assert set(statuses) == {200} and bench.bindings[-1].contact.startswith(b"sip:u15@")
    else:
        assert statuses == [200] * 11 + [503] * 5


def test_an_answer_with_all_contacts_fits_into_a_datagram() -> None:
    bench = Bench(Registrar(max_contacts=16))
    for i in range(16):
        bench.register(contact(2000, f"u{i}"), call_id=f"c{i}")
    assert len(bench.register().data) < 30_000
