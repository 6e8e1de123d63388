"""A command's way to what the server keeps: which store, how it is opened, its time, whom a record is of."""

from __future__ import annotations

import argparse
import re
from contextlib import closing
from pathlib import Path
from typing import Any

from ..config import Config, load
from ..errors import ConfigError, ParseError


def say_where(command: argparse.ArgumentParser, default: str | None = None) -> None:
    """The options by which a command finds the store of a server."""
    command.add_argument("--data", metavar="DIR", default=default, help="the server's data directory")
    command.add_argument("--config", metavar="FILE", type=Path, default=default, help="the server's configuration")


def configuration(arguments: argparse.Namespace) -> Config:
    """The configuration of a command that works on a store."""
    return load(arguments.config, {} if arguments.data is None else {"store.data": arguments.data})


def opened(config: Config, *, write: bool = False) -> Any:
    """The store, beside a server that may be running; it is never made where there is none."""
    from ..store.backends.lmdb import LmdbTables
    from ..store.repository import Store

    storage = config.store
    tables = LmdbTables(storage.data, map_size_gib=storage.map_size, readonly=True)
    if write:
        tables.close()
        tables = LmdbTables(storage.data, map_size_gib=storage.map_size, durability=storage.durability)
    return closing(Store(tables))


def aor(text: str) -> bytes:
    """An address of record as people type it: with or without sip: in front. Raises ConfigError."""
    from .._uri import aor as canonical

    has_scheme = re.match(r"(?i)(sips?|tel):", text)
    try:
        found = canonical((text if has_scheme else f"sip:{text}").encode())
    except (ParseError, UnicodeEncodeError):
        found = b""
    if not (found.startswith(b"tel:") or b"@" in found):
        raise ConfigError(f"{text!r} is not an address of record such as bob@example.com")
    return found


def now_and_ahead(store: Any) -> tuple[int, int]:
    """The store's time, and how many ms the machine's clock, which people are shown, is ahead of it."""
    from ..node import clock

    return clock.now_and_ahead(store)
