"""A store for the commands to work on."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from sipfast._flow import Flow
from sipfast.store.backends.lmdb import LmdbTables
from sipfast.store.records import Binding, Watch
from sipfast.store.repository import Store

ALICE, BOB, CAROL = b"sip:alice@example.com", b"sip:bob@example.com", b"sip:carol@example.com"
HOUR = 3_600_000


@pytest.fixture
def data(tmp_path) -> Path:
    """A store with two watches and three bindings, and one of each that has run out."""
    path = tmp_path / "data"
    store = Store(LmdbTables(path))
    at = time.time_ns() // 1_000_000
    store.put_watch(Watch(BOB, ALICE, at, at + HOUR - 60_000, b"call-1", b"sip:alice@192.0.2.1:5060"))
    store.put_watch(
        Watch(CAROL, BOB, at, at + 26 * HOUR, b"call-2", b"sip:bob@192.0.2.2", state="recalling", attempts=2,
              last_result="486", recalled_at=at)
    )  # fmt: skip
    store.put_watch(Watch(CAROL, ALICE, at - HOUR, at - 1, b"call-3", b"sip:alice@192.0.2.1"))
    here = Flow("192.0.2.1", 5062).pack()
    store.put_bindings(
        ALICE,
        [
            Binding(b"sip:alice@192.0.2.1:5062", at + HOUR, b"c", 1, q=500, flow=here),
            Binding(b"sip:alice@192.0.2.9", at + HOUR, b"d", 1),
            Binding(b"sip:alice@198.51.100.1", at - 1, b"e", 1),
        ],
    )
    store.put_bindings(CAROL, [Binding(b"sip:\x1b[2J\xff@h", at + HOUR, b"c", 1)])
    store.commit()
    store.close()
    return path
