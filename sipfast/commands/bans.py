"""`sipfast bans`: whom the server does not listen to for a while, since much was refused to it (`rates.ban_after`)."""

from __future__ import annotations

import argparse
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..config import Config
from ..config.addresses import is_ip
from ..errors import ConfigError
from .console import DONE, FAILED, complain, iso, print_json, print_table, until
from .listing import add_listing
from .stored import configuration, now_and_ahead, opened

MS = 1000


def add_to(commands: Any) -> None:
    """Its line of the command line."""
    verbs = {"add": (("ADDRESS", "[SECONDS]"), add), "remove": (("ADDRESS",), remove)}
    takers = add_listing(commands, "bans", "addresses that are not listened to for a while", show, verbs)
    for each in takers:
        each.add_argument("--nft", action="store_true", default=argparse.SUPPRESS, help="as commands for nft -f")


def show(arguments: argparse.Namespace) -> int:
    """Print who is banned, and until when."""
    config = configuration(arguments)
    with limiter_of(config) as (limiter, now, ahead):
        bans = [] if limiter is None else limiter.bans(now)
    if getattr(arguments, "nft", False):
        for address, end in bans:
            family = "6" if ":" in address else "4"
            print(f"add element inet sipfast bans{family} {{ {address} timeout {(end - now) // MS + 1}s }}")
        return DONE
    if arguments.json:
        return print_json({"source": address, "until": iso(end + ahead)} for address, end in bans)
    rows = [(address, until(end, now, ahead)) for address, end in bans]
    return print_table(("source", "ends"), rows, f"nobody is banned in {config.store.data}")


def add(arguments: argparse.Namespace) -> int:
    """Ban an address."""
    config = configuration(arguments)
    address, seconds = plain(arguments.address), lasting(arguments.seconds, config)
    with limiter_of(config) as (limiter, now, _):
        if limiter is None:
            return complain(f"{config.store.data}: no server has run here that limits anybody", FAILED)
        if not limiter.ban_address(address, now + seconds * MS, now):
            return complain(f"{address}: phones are registered there, or it is a peer: it is not banned", FAILED)
    print(f"banned for {seconds} s: {address}")
    return DONE


def remove(arguments: argparse.Namespace) -> int:
    """End a ban."""
    config = configuration(arguments)
    address = plain(arguments.address)
    with limiter_of(config) as (limiter, _, _):
        if limiter is None or not limiter.unban_address(address):
            return complain(f"{address} is not banned: `bans` lists who is", FAILED)
    print(f"not banned any more: {address}")
    return DONE


def plain(text: str) -> str:
    """An address, or a network as it is listed. Raises ConfigError."""
    address = text.strip("[]").partition("/")[0]
    if not is_ip(address):
        raise ConfigError(f"{text!r} is no IP address")
    return address


def lasting(text: str | None, config: Config) -> int:
    """Seconds that a ban is to last. Raises ConfigError."""
    if text is None:
        return config.rates.ban_time
    if not text.isdecimal() or not 0 < int(text) < 1 << 31:
        raise ConfigError(f"{text!r} is no number of seconds")
    return int(text)


@contextmanager
def limiter_of(config: Config) -> Iterator[tuple[Any, int, int]]:
    """The memory that a running server's workers share, the store's time, and how far ahead of it the machine's clock is."""
    from ..trust.limiter import Limiter
    from ..trust.peers import Peers

    with opened(config) as store:
        now, ahead = now_and_ahead(store)
        secret = int.from_bytes(store.secret()[:8], "big")
    try:
        place = os.open(Path(config.store.data) / "limits", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        yield None, now, ahead
        return
    try:
        memory = mmap.mmap(place, 0)
    finally:
        os.close(place)
    yield Limiter(config.rates, secret, memory, Peers(config.peer)), now, ahead
