"""`sipfast phones`: what phones did when they were recalled, and the profiles that say what a make does."""

from __future__ import annotations

import argparse
from typing import Any

from msgspec import to_builtins

from ..config import Phone, load
from ..observe.printable import text_of
from ..store.records import DEVICE
from .console import DONE, FAILED, as_json, complain, iso, local, print_json, print_table, until
from .stored import configuration, now_and_ahead, opened, say_where


def add_to(commands: Any) -> None:
    """Its line of the command line."""
    command = commands.add_parser("phones", help="what phones did when they were recalled, and by what", allow_abbrev=False)
    say_where(command)
    command.add_argument("--json", action="store_true", help="as JSON")
    instead = command.add_mutually_exclusive_group()
    instead.add_argument("--profiles", action="store_true", help="the phone profiles that are in force, with their sources")
    instead.add_argument(
        "--forget",
        metavar="PHONE",
        nargs="?",
        const="",
        help="forget what is known of a device or a User-Agent, as it is listed; without one, of all",
    )
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print what is remembered of phones, or forget it; or print the profiles."""
    if arguments.profiles:
        return list_profiles(arguments)
    if arguments.forget is not None:
        return forget_phones(arguments)
    config = configuration(arguments)
    with opened(config) as store:
        now, ahead = now_and_ahead(store)
        rows = [(phone, note) for phone in store.each_phone() for note in phone.notes if note.until > now]
    if arguments.json:
        return print_json(
            {
                "device": text_of(phone.name) if phone.kind == DEVICE else None,
                "agent": text_of(phone.agent),
                "method": note.method,
                "worked": note.worked,
                "at": iso(note.at + ahead),
                "until": iso(note.until + ahead),
            }
            for phone, note in rows
        )
    return print_table(
        ("device", "User-Agent", "method", "it", "last seen", "forgotten"),
        [
            (
                text_of(phone.name) if phone.kind == DEVICE else "any",
                text_of(phone.agent),
                note.method,
                "worked" if note.worked else "was refused",
                local(note.at + ahead),
                until(note.until, now, ahead),
            )
            for phone, note in rows
        ],
        f"nothing is known of any phone in {config.store.data}",
    )


def forget_phones(arguments: argparse.Namespace) -> int:
    """Remove what is remembered of one device or User-Agent, or of all."""
    config = configuration(arguments)
    with opened(config, write=True) as store:
        store.for_update()
        gone = [phone for phone in store.each_phone() if arguments.forget in ("", text_of(phone.name))]
        if not gone and arguments.forget:
            where = config.store.data
            return complain(f"{where}: nothing is known of {arguments.forget}: `phones` lists who is known", FAILED)
        for phone in gone:
            store.delete_phone(phone.kind, phone.name)
        store.commit()
    print(f"forgotten: {len(gone)}; a server that runs follows within a minute, with thousands of them within some")
    return DONE


def list_profiles(arguments: argparse.Namespace) -> int:
    """Print the phone profiles, in the order that they are asked in."""
    from ..redial.order import profiles_in_force

    found = profiles_in_force(load(arguments.config).redial)
    if arguments.json:
        return print_json(
            {"from": place, **{key: value for key, value in to_builtins(phone).items() if key != "credentials"}}
            for place, phone in found
        )
    return print_table(
        ("User-Agent", "obeys", "refuses", "how", "from", "source"),
        [
            (
                phone.agent or "none is sent",
                ", ".join(phone.obeys),
                ", ".join(phone.refuses),
                ", ".join(f"{key} = {as_json(value)}" for key, value in how_in(phone)),
                place,
                phone.source,
            )
            for place, phone in found
        ],
        "",
    )


def how_in(phone: Phone) -> list[tuple[str, Any]]:
    """What else a profile says; of credentials, whose they are."""
    said: list[tuple[str, Any]] = [("methods", phone.methods), ("start", phone.start), ("norefersub", phone.norefersub)]
    said += [("headers", phone.headers), ("refer_after", phone.refer_after), ("hangs_up", phone.hangs_up)]
    said.append(("credentials", tuple(each.user for each in phone.credentials)))
    return [(key, value) for key, value in said if value not in ("", (), None)]
