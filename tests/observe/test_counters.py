"""Each counter is declared once: what a server counts is declared, and what is declared is counted."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import uvloop
from command import sipfast_command
from net.scene import Scene

from sipfast.driver.clock import Clock
from sipfast.driver.driver import Driver
from sipfast.node.bus import Bus, channels
from sipfast.node.outlet import Outlet, Stdout
from sipfast.observe.counters import BY_NAME, COUNTERS
from sipfast.transport.udp import UdpTransport

OPERATING = Path(__file__).parent.parent.parent / "docs" / "operating.md"


def counted() -> list[str]:
    """The names that a worker tells, in their order."""
    loop = uvloop.new_event_loop()
    driver = Driver(loop, Clock(), print)
    transport = UdpTransport(driver)
    made = channels(2)
    bus = Bus(loop, made[0][0], [writer for _, writer in made])
    events: Outlet[bytes] = Outlet(Stdout(), bytes, 1)
    parts = [Scene().server.engine.counters(), events.counters(), driver.counters(), transport.counters(), bus.counters()]
    driver.close()
    loop.close()
    for end in [end for channel in made for end in channel]:
        end.close()
    return [name for part in parts for name in part]


def test_what_is_counted_is_declared_once() -> None:
    names = counted()
    assert len(names) == len(set(names)), "two count under one name"
    assert {counter.name for counter in COUNTERS} == set(names)
    assert len(BY_NAME) == len(COUNTERS)


@pytest.mark.parametrize("counter", COUNTERS, ids=lambda counter: counter.name)
def test_a_declaration_says_something(counter) -> None:
    assert re.fullmatch(r"[a-z][a-z0-9_]*", counter.name)
    assert counter.kind in ("counter", "gauge")
    assert counter.unit and counter.help and not counter.help.endswith(".")


def test_the_documentation_names_counters_that_there_are() -> None:
    table = OPERATING.read_text().split("| counter | what it says |")[1].split("\n\n")[0]
    named = [name for row in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", row.split("|")[1])]
    assert named and not [name for name in named if name not in BY_NAME]


def test_people_can_ask_what_they_say() -> None:
    done = sipfast_command("stats", "--explain")
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == len(COUNTERS) + 1
    assert "that the kernel had no room for" in done.stdout
