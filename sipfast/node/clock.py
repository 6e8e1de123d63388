"""The time that everything in the store is in: one for all workers and the command line, whatever is done to the machine's.

It is the time since the machine's boot (CLOCK_BOOTTIME: nobody sets it, and it goes on while the machine sleeps), counted
from an anchor in the store: what the machine's clock said of the boot's beginning when a server first looked. So a clock
that is set, by hand, by NTP or by whoever runs the machine, moves nothing until the next boot. Then the later of that
clock and of the latest time in the store is taken: with a clock that fell back, bindings and watches live on as if the
machine had not been off; they never end early.

What people read is in the machine's time of the moment: `ahead` says how far that is ahead of ours.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path

from msgspec.structs import replace

from ..driver.clock import Clock
from ..errors import StoreCorrupt, StoreUnavailable
from ..store.records import Anchor
from ..store.repository import Store

log = logging.getLogger(__name__)

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")  # proc(5), random(4): made anew at each boot
SINCE_BOOT = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
WORTH_A_LINE = 10_000  # ms between the machine's clock and ours


def boot_id() -> str:
    """The kernel's name of this boot; "" where it gives none."""
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return ""


def since_boot() -> int:
    """Milliseconds since the machine's boot."""
    return time.clock_gettime_ns(SINCE_BOOT) // 1_000_000


def machine_time() -> int:
    """What the machine's clock says, ms since the epoch."""
    return time.time_ns() // 1_000_000


def anchored(stored: Anchor | None, boot: str, passed: int, machine: int) -> Anchor:
    """The anchor for a boot that began `passed` ms ago, while the machine's clock says `machine`.

    It is the stored one while the boot is the same. A time since the boot that has gone back is another boot's, whatever
    its id says: a container may have a time of its own (time_namespaces(7)).
    """
    if stored is not None and boot and stored.boot == boot and stored.zero + passed >= stored.latest:
        return stored
    now = machine if stored is None else max(machine, stored.latest)
    return Anchor(boot, now - passed, now)


def look(store: Store) -> Anchor:
    """The anchor that holds now, out of a store that is not written to. Raises StoreUnavailable."""
    return anchored(_stored(store), boot_id(), since_boot(), machine_time())


def _stored(store: Store) -> Anchor | None:
    try:
        return store.anchor()
    except StoreCorrupt as error:
        log.error("clock-lost", extra={"sip": {"reason": str(error), "taken": "the machine's time"}})
        return None


def begin(store: Store) -> Clock:
    """The clock of a server that starts, and its anchor in the store. Raises StoreUnavailable.

    Where an anchor of this boot is in the store, one that cannot be written (a full disk) keeps no server from starting.
    """
    store.for_update()
    stored = _stored(store)
    anchor = anchored(stored, boot_id(), since_boot(), machine_time())
    clock = Clock(anchor.zero)
    try:
        store.put_anchor(replace(anchor, latest=max(anchor.latest, clock.now())))
        store.commit()
    except StoreUnavailable as error:
        store.abort()
        if anchor is not stored:  # others would take another time
            raise
        log.warning("time-not-kept", extra={"sip": {"reason": str(error)}})
    ahead = machine_time() - clock.now()
    if abs(ahead) >= WORTH_A_LINE:
        log.warning("clock-was-set", extra={"sip": {"machine_ahead": round(ahead / 1000), "kept": "the store's time"}})
    return clock


def keep(store: Store, clock: Clock) -> None:
    """Note in the store how late it is, for the next boot. Raises StoreError."""
    store.for_update()
    store.put_anchor(Anchor(boot_id(), clock.zero, clock.now()))
    store.commit()


def now_and_ahead(store: Store) -> tuple[int, int]:
    """The store's time now, and how many ms the machine's clock is ahead of it."""
    clock = clock_of(store)
    return clock.now(), ahead(clock)


def clock_of(store: Store) -> Clock:
    """The clock of a store that is not written to. Raises StoreUnavailable."""
    return Clock(look(store).zero)


def ahead(clock: Clock) -> int:
    """How many ms the machine's clock is ahead; 0 for less than a second, so that times compare."""
    found = machine_time() - clock.now()
    return found if abs(found) >= 1000 else 0
