"""The resolver: the system's, from the loop, for the families that are listened on."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sipfast.transport.dns import Resolver


class Told:
    """In the driver's place."""

    def __init__(self) -> None:
        self.came: asyncio.Queue[tuple[int, list[str]]] = asyncio.Queue()

    def resolved(self, ticket: int, addresses: list[str]) -> None:
        self.came.put_nowait((ticket, addresses))


def ask(name: bytes, families: list[int]) -> tuple[int, list[str]]:
    async def asking() -> tuple[int, list[str]]:
        told: Any = Told()
        resolver = Resolver(asyncio.get_running_loop(), told, families)
        resolver(7, name)
        found: tuple[int, list[str]] = await asyncio.wait_for(told.came.get(), 20)
        resolver.stop()
        return found

    return asyncio.run(asking())


def test_a_name_has_addresses() -> None:
    assert ask(b"localhost", [4]) == (7, ["127.0.0.1"])


@pytest.mark.parametrize(("families", "found"), [([4], []), ([6], ["::1"]), ([6, 4], ["::1"])])
def test_only_families_that_are_listened_on_count(families: list[int], found: list[str]) -> None:
    assert ask(b"::1", families) == (7, found)


@pytest.mark.parametrize("name", [b"\xff", b"a" * 70 + b".example"])
def test_what_is_no_name_leads_nowhere(name: bytes) -> None:
    assert ask(name, [4, 6]) == (7, [])
