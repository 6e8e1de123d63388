"""When more comes than is handled: REGISTERs wait, and all others do not."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from test_udp import Bench

from sipfast.transport.udp_socket import BATCHED

pytestmark = pytest.mark.skipif(not BATCHED, reason="Linux only: the kernel says how full its buffer is")

ROOM = 2 << 20  # bytes of the receive buffer, doubled by the kernel: some 5,000 small datagrams
REGISTER = b"REGISTER sip:example.com SIP/2.0 %06d"
OTHER = b"INVITE sip:bob@example.com SIP/2.0"


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench(True)
    made.server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, ROOM)
    made.echo.reply = lambda data, flow: []
    yield made
    made.driver.close()
    for client in made.clients:
        client.close()
    made.loop.close()


def begin(bench: Bench, registers: int) -> None:
    """So many REGISTERs and one INVITE after them wait in the kernel before anything is read."""
    for number in range(registers):
        bench.client.send(REGISTER % number)
    bench.client.send(OTHER)
    bench.driver.start(bench.echo)


def test_an_invite_behind_a_storm_does_not_wait_for_it(bench: Bench) -> None:
    begin(bench, 4500)
    bench.turn(lambda: len(bench.echo.got) == 4501)
    got = [data for data, *_ in bench.echo.got]
    assert got.index(OTHER) < 1500
    assert [data for data in got if data != OTHER] == [REGISTER % number for number in range(4500)]
    counters = bench.counters()
    assert counters["postponed"] > 3000
    assert counters["postponed_drops"] == counters["udp_kernel_drops"] == 0
    assert not bench.reports


def test_what_was_put_aside_is_committed_in_batches_too(bench: Bench) -> None:
    begin(bench, 4500)
    bench.turn(lambda: len(bench.echo.got) == 4501)
    assert bench.echo.commits[-1] == 4501
    sizes = [after - before for before, after in zip([0, *bench.echo.commits], bench.echo.commits, strict=False)]
    assert max(sizes) <= 256


def test_without_overload_everything_is_handled_as_it_comes(bench: Bench) -> None:
    begin(bench, 1000)
    bench.turn(lambda: len(bench.echo.got) == 1001)
    assert bench.echo.got[-1][0] == OTHER
    assert bench.counters()["postponed"] == 0


def test_a_huge_register_is_not_kept(bench: Bench) -> None:
    for number in range(4400):
        bench.client.send(REGISTER % number)
    bench.client.send((REGISTER % 4400).ljust(5000))
    begin(bench, 0)
    bench.turn(lambda: len(bench.echo.got) == 4402)
    sizes = [len(data) for data, *_ in bench.echo.got]
    assert sizes.index(5000) < 1500


def test_after_a_storm_nothing_waits_any_more(bench: Bench) -> None:
    begin(bench, 4500)
    bench.turn(lambda: len(bench.echo.got) == 4501)
    before = bench.counters()["postponed"]
    bench.client.send(REGISTER % 9999)
    bench.turn(lambda: len(bench.echo.got) == 4502)
    assert bench.counters()["postponed"] == before


def test_what_fails_of_what_was_put_aside_is_reported_and_the_rest_goes_on(bench: Bench) -> None:
    def fail(data: bytes, flow: object) -> list[object]:
        if data == REGISTER % 4000:
            raise ValueError(data)
        return []

    bench.echo.reply = fail
    begin(bench, 4500)
    bench.turn(lambda: len(bench.echo.got) == 4501)
    assert [event for event, _ in bench.reports] == ["receive-failed"]


def test_what_waits_at_the_end_is_given_up_and_counted(bench: Bench) -> None:
    begin(bench, 4500)
    bench.turn(lambda: bench.counters()["postponed"] > 0)
    bench.driver.stop()
    handled = len(bench.echo.got)
    counters = bench.counters()
    assert 0 < handled < 4501
    assert handled + counters["postponed_drops"] <= counters["udp_received"]
    assert counters["postponed_drops"] > 0
    bench.loop.call_later(0.05, bench.loop.stop)
    bench.loop.run_forever()
    assert len(bench.echo.got) == handled
