"""The bus between workers: frames arrive whole, in order, in few datagrams, and a reader that sleeps loses little."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from sipfast.node.bus import BACKLOG, MOST, Bus, channels, pack, unpack


@pytest.mark.parametrize(
    "sizes",
    [[], [0], [1], [10] * 500, [MOST], [MOST + 1], [65535 + 46] * 3, [MOST - 4, 1, MOST - 5, 1], [30_000] * 7],
    ids=str,
)
def test_frames_come_out_as_they_went_in(sizes: list[int]):
    frames = [bytes([number % 251]) * size for number, size in enumerate(sizes)]
    datagrams = pack(frames)
    assert [frame for datagram in datagrams for frame in unpack(datagram)] == frames
    assert all(len(datagram) <= MOST + 4 * len(frames) or len(unpack(datagram)) == 1 for datagram in datagrams)


def test_small_frames_travel_together():
    assert len(pack([b"x" * 100] * 500)) == 1


def play(count: int, scene) -> None:
    async def run() -> None:
        made = channels(count)
        writers = [writer for _, writer in made]
        buses = [Bus(asyncio.get_running_loop(), reader, writers) for reader, _ in made]
        try:
            await asyncio.wait_for(scene(buses), 20)
        finally:
            for bus in buses:
                bus.stop()
            for end in itertools.chain.from_iterable(made):
                end.close()

    asyncio.run(run())


async def until(condition) -> None:
    while not condition():
        await asyncio.sleep(0.001)


def test_each_worker_gets_what_is_for_it():
    async def scene(buses: list[Bus]) -> None:
        got: list[list[bytes]] = [[] for _ in buses]
        for number, bus in enumerate(buses):
            bus.start(got[number].extend)
        for sender, bus in enumerate(buses):
            for receiver in range(3):
                if receiver != sender:
                    bus.post(receiver, [b"%d to %d" % (sender, receiver), b"again"])
        await until(lambda: all(len(each) == 4 for each in got))
        for number, each in enumerate(got):
            assert sorted(each) == sorted([b"%d to %d" % (o, number) for o in range(3) if o != number] + [b"again"] * 2)

    play(3, scene)


def test_what_has_no_room_waits_in_order():
    async def scene(buses: list[Bus]) -> None:
        total = 2000
        for number in range(total):
            buses[0].post(1, [b"%06d" % number + b"x" * 20_000])
        assert 0 < buses[0].counters()["bus_sent"] < total  # the kernel took some
        got: list[bytes] = []
        buses[1].start(lambda frames: got.extend(frame[:6] for frame in frames))
        await until(lambda: len(got) == total)
        assert got == [b"%06d" % number for number in range(total)]
        assert buses[0].counters()["bus_dropped"] == 0

    play(2, scene)


def test_who_never_reads_costs_no_more_than_the_backlog():
    async def scene(buses: list[Bus]) -> None:
        sent = 0
        while buses[0].counters()["bus_dropped"] < 10:
            buses[0].post(1, [b"x" * 30_000])
            sent += 1
            assert sent < 2 * BACKLOG
        buses[0].post(0, [b"others are not held up"])
        got: list[bytes] = []
        buses[0].start(got.extend)
        await until(lambda: got)

    play(2, scene)
