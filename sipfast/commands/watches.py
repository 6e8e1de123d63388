"""`sipfast watches`: who waits for whom, what became of those who waited, and one watch ended by hand."""

from __future__ import annotations

import argparse
from contextlib import suppress
from typing import Any

from ..config import Config
from ..errors import StoreCorrupt
from ..observe.printable import text_of
from ..observe.steps import Step, life_of
from ..store.records import Ended
from . import history
from .console import DONE, FAILED, complain, duration, iso, local, person, print_json, print_table, until
from .listing import Verbs, add_listing
from .stored import aor, configuration, now_and_ahead, opened


def add_to(commands: Any) -> None:
    """Its line of the command line."""
    pair = ("CALLEE", "CALLER")
    verbs: Verbs = {"show": (pair, show_watch), "cancel": (pair, cancel_watch)}
    for each in add_listing(commands, "watches", "who waits for whom", list_watches, verbs):
        each.add_argument(
            "--ended", action="store_true", default=argparse.SUPPRESS, help="those that are over, the last one first"
        )


def list_watches(arguments: argparse.Namespace) -> int:
    """Print the watches that still run, or those that are over."""
    if "ended" in arguments:
        return list_ended(arguments)
    config = configuration(arguments)
    with opened(config) as store:
        now, ahead = now_and_ahead(store)
        watches = [watch for watch in store.each_watch() if watch.expires_at > now]
    if arguments.json:
        return print_json(
            {
                "id": life_of(watch.callee, watch.caller, watch.armed_at),
                "callee": text_of(watch.callee),
                "caller": text_of(watch.caller),
                "mode": watch.mode,
                "state": watch.state,
                "armed_at": iso(watch.armed_at + ahead),
                "expires_at": iso(watch.expires_at + ahead),
                "remaining": (watch.expires_at - now) // 1000,
                "attempts": watch.attempts,
                "last_result": watch.last_result,
                "recalled_at": iso(watch.recalled_at + ahead) if watch.recalled_at else None,
                "contact": text_of(watch.contact),
                "call_id": text_of(watch.call_id),
            }
            for watch in watches
        )
    return print_table(
        ("callee", "caller", "mode", "state", "armed at", "expires at", "attempts", "last result"),
        [
            (
                person(watch.callee),
                person(watch.caller),
                watch.mode,
                watch.state,
                local(watch.armed_at + ahead),
                until(watch.expires_at, now, ahead),
                str(watch.attempts),
                watch.last_result,
            )
            for watch in watches
        ],
        f"no watches in {config.store.data}",
    )


def list_ended(arguments: argparse.Namespace) -> int:
    """Print the last watches that are over, and what came of their recalls."""
    config = configuration(arguments)
    with opened(config) as store:
        _, ahead = now_and_ahead(store)
        found = store.ended()
    if arguments.json:
        return print_json(
            {
                "id": life_of(ended.watch.callee, ended.watch.caller, ended.watch.armed_at),
                "callee": text_of(ended.watch.callee),
                "caller": text_of(ended.watch.caller),
                "mode": ended.watch.mode,
                "armed_at": iso(ended.watch.armed_at + ahead),
                "ended_at": iso(ended.ended_at + ahead),
                "reason": ended.reason,
                "attempts": ended.watch.attempts,
                "recalls": [{"at": iso(at + ahead), "result": result} for at, result in ended.attempts],
                "contact": text_of(ended.watch.contact),
                "call_id": text_of(ended.watch.call_id),
            }
            for ended in found
        )
    rows = []
    for ended in found:
        watch = ended.watch
        waited = duration((ended.ended_at - watch.armed_at) // 1000)
        rows.append((local(ended.ended_at + ahead), person(watch.callee), person(watch.caller), waited, ended.reason))
        rows += [(f"  {local(at + ahead)}", "", "", "recall", result) for at, result in ended.attempts]
    return print_table(
        ("ended at", "callee", "caller", "waited", "what became of it"),
        rows,
        f"no watch in {config.store.data} has ended yet",
    )


def show_watch(arguments: argparse.Namespace) -> int:
    """Print what became of one caller's waiting for one callee: now, and as far back as is kept."""
    callee, caller = aor(arguments.callee), aor(arguments.caller)
    config = configuration(arguments)
    with opened(config) as store:
        now, ahead = now_and_ahead(store)
        lives = history.lives(store, callee, caller, now)
    if arguments.json:
        print_json(history.as_fields(life, ahead) for life in lives)
    else:
        print("\n\n".join(history.as_text(life, now, ahead) for life in lives) or history.nothing(callee, caller))
    return DONE if lives else FAILED


def cancel_watch(arguments: argparse.Namespace) -> int:
    """End one watch before its time."""
    callee, caller = aor(arguments.callee), aor(arguments.caller)
    config = configuration(arguments)
    with opened(config, write=True) as store:
        store.for_update()
        ended = None
        with suppress(StoreCorrupt):  # what cannot be read can be removed
            watch = store.watch(callee, caller)
            attempts = store.attempts(callee, caller)
            ended = watch and Ended(watch.unpacked(), now_and_ahead(store)[0], "cancelled by hand", attempts)
        if not store.delete_watch(callee, caller):
            return complain(f"{config.store.data}: no watch of {person(caller)} for {person(callee)}", FAILED)
        if ended:
            store.put_ended(ended)
        store.commit()
        if ended:
            tell_ended(config, ended, store)
    print(f"cancelled: {person(caller)} does not wait for {person(callee)} any more")
    return DONE


def tell_ended(config: Config, ended: Ended, store: Any) -> None:
    """The event of a watch that was ended here. One that nobody takes undoes nothing."""
    from ..node import clock, outlet

    watch = ended.watch
    step = Step(
        "ended", ended.ended_at, watch.callee, watch.caller, watch.armed_at, watch.expires_at, watch.mode.encode(),
        watch.attempts, reason=ended.reason,
    )  # fmt: skip
    try:
        outlet.tell_once(config, step, clock.clock_of(store))
    except OSError as error:
        complain(f"events.to: no event of it: {error.strerror or error}", DONE)
