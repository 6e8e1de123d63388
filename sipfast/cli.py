"""The `sipfast` command. What goes wrong is one line on stderr that names the thing, the place and the way out.

Exit status: 0 done; 1 not found, or failed while running; 2 wrong usage, configuration or data, and nothing was done.
"""

from __future__ import annotations

import argparse
import logging
import os
import re
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn, TextIO

from msgspec import to_builtins

from . import __version__
from .commands.console import as_json, duration, iso, local, person, print_json, print_table, until
from .config import Config, Phone, load
from .config.explain import Source
from .config.schema import is_secret, settings
from .errors import ConfigError, ParseError, SipFastError, StoreCorrupt, StoreError, TransportError
from .observe.printable import printable, text_of
from .observe.steps import Step, life_of
from .store.records import DEVICE, Ended

log = logging.getLogger("sipfast.cli")

DONE, FAILED, WRONG = 0, 1, 2
OWN_PROGRAM = "sipfast"


class Parser(argparse.ArgumentParser):
    """argparse with one line for an error."""

    def error(self, message: str) -> NoReturn:
        """Print it and exit with status 2."""
        self.exit(WRONG, f"{self.prog}: {printable(message)}; see {self.prog} --help\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line (default: the process's). Returns the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        if arguments[:1] == ["demo"]:
            from .commands.demo import run  # it has a command line of its own

            return run(arguments[1:])
        parsed = command_line().parse_args(arguments)
        status: int = parsed.run(parsed)
        sys.stdout.flush()
        return status
    except (ConfigError, TransportError, StoreError) as error:
        return complain(error, WRONG)
    except BrokenPipeError:  # the reader of our output has seen enough
        silence(sys.stdout)
        return FAILED
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        return complain(error, FAILED)
    except Exception as error:  # a bug of ours; the server logs its own with the stack
        return complain(f"internal error, please report it: {error!r}", FAILED)


def complain(error: object, status: int) -> int:
    """Say what is wrong in one line; returns the status."""
    print(f"{OWN_PROGRAM}: {printable(str(error))}", file=sys.stderr)
    return status


def command_line() -> Parser:
    """The grammar of the command line."""
    parser = Parser(prog=OWN_PROGRAM, description="A SIP server with automatic redial.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"sipfast {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    command = commands.add_parser("serve", help="run the server", allow_abbrev=False)
    command.add_argument("--config", metavar="FILE", type=Path, help="a TOML file; flags override it")
    command.add_argument(
        "--listen", metavar="udp:HOST:PORT", action="append", help="an address to listen on (udp:0.0.0.0:5060)"
    )
    command.add_argument(
        "--domain", metavar="NAME", action="append", help="a domain to serve (this machine's names and addresses)"
    )
    command.add_argument("--data", metavar="DIR", help="where watches and bindings are kept (./sipfast-data)")
    command.add_argument(
        "--upstream",
        metavar="sip:HOST:PORT[,...]",
        action="append",
        help="a SIP server behind this one, and by commas others that stand in for it; DOMAIN=sip:... for one domain only",
    )
    command.add_argument("--workers", metavar="N", type=int, help="processes that serve together (0: one a core)")
    command.add_argument(
        "--default-period",
        metavar="SECONDS",
        type=int,
        help="offer redial for so long to every call to somebody who is not there (0: only where its Expires asks for it)",
    )
    command.add_argument("--log-level", metavar="LEVEL", help="debug, info, warning or error (info)")
    command.add_argument("--hints", action="store_true", help="say how to stop it and what to try (so on a terminal)")
    command.set_defaults(run=serve)

    pair = ("CALLEE", "CALLER")
    verbs: Verbs = {"show": (pair, show_watch), "cancel": (pair, cancel_watch)}
    for each in listing(commands, "watches", "who waits for whom", list_watches, verbs):
        each.add_argument(
            "--ended", action="store_true", default=argparse.SUPPRESS, help="those that are over, the last one first"
        )
    verbs = {"remove": (("AOR", "[CONTACT]"), remove_bindings)}
    listing(commands, "bindings", "who is registered", list_bindings, verbs)

    command = commands.add_parser("phones", help="what phones did when they were recalled, and by what", allow_abbrev=False)
    command.add_argument("--data", metavar="DIR", help="the server's data directory")
    command.add_argument("--config", metavar="FILE", type=Path, help="the server's configuration")
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
    command.set_defaults(run=show_phones)

    command = commands.add_parser("backup", help="copy the store to a file, while the server runs", allow_abbrev=False)
    command.add_argument("file", metavar="FILE", type=Path, help="where to; replaced where it is a backup")
    command.add_argument("--data", metavar="DIR", help="the server's data directory")
    command.add_argument("--config", metavar="FILE", type=Path, help="the server's configuration")
    command.set_defaults(run=backup)

    command = commands.add_parser("stats", help="what the running server has counted", allow_abbrev=False)
    command.add_argument("--data", metavar="DIR", help="the server's data directory")
    command.add_argument("--config", metavar="FILE", type=Path, help="the server's configuration")
    command.add_argument("--json", action="store_true", help="as JSON")
    command.add_argument("--explain", action="store_true", help="what each counter says, without asking a server")
    command.set_defaults(run=show_stats)

    command = commands.add_parser("check-config", help="check a configuration file and show what it comes to")
    command.add_argument("file", metavar="FILE", type=Path)
    command.set_defaults(run=check_config)
    commands.add_parser("demo", help="play a whole redial on loopback and print its messages", add_help=False)
    return parser


Verbs = Mapping[str, tuple[Sequence[str], Callable[[argparse.Namespace], int]]]
"""What can be done with one record: its operands, and who does it."""


def listing(
    commands: Any, name: str, summary: str, show: Callable[[argparse.Namespace], int], verbs: Verbs
) -> Sequence[argparse.ArgumentParser]:
    """A command that lists records, or with a verb is about one; its options may stand before or after the verb.

    Returns what takes the options of its list.
    """
    command = commands.add_parser(name, help=f"{summary}: list, {', '.join(verbs)}", allow_abbrev=False)
    parsers = command.add_subparsers(metavar=" | ".join(("list", *verbs)))
    lister = parsers.add_parser("list", help="show them (also without a verb)", allow_abbrev=False)
    takers = [(command, None), (lister, argparse.SUPPRESS)]
    for verb, (operands, run) in verbs.items():
        parser = parsers.add_parser(verb, help=f"{verb} {' '.join(operands)}", allow_abbrev=False)
        for operand in operands:
            optional = operand.startswith("[")
            parser.add_argument(operand.strip("[]").lower(), metavar=operand.strip("[]"), nargs="?" if optional else None)
        parser.set_defaults(run=run)
        takers.append((parser, argparse.SUPPRESS))
        if verb == "show":
            parser.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="as JSON")
    for each, default in takers:
        each.add_argument("--data", metavar="DIR", default=default, help="the server's data directory")
        each.add_argument("--config", metavar="FILE", type=Path, default=default, help="the server's configuration")
    command.add_argument("--json", action="store_true", help="as JSON")
    lister.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="as JSON")
    command.set_defaults(run=show)
    lister.set_defaults(run=show)
    return command, lister


# Commands


def serve(arguments: argparse.Namespace) -> int:
    """Run the server until it is told to end."""
    flags = {
        "listen": arguments.listen,
        "domains": arguments.domain,
        "store.data": arguments.data,
        "upstream": [upstream_flag(text) for text in arguments.upstream] if arguments.upstream else None,
        "workers": arguments.workers,
        "log_level": arguments.log_level,
        "redial.default_period": arguments.default_period,
    }
    given = {key: value for key, value in flags.items() if value is not None}
    config = load(arguments.config, given)
    from .node import signals, supervisor
    from .observe import logs

    hints = start_hints(config) if arguments.hints or sys.stdout.isatty() else ""
    to = sys.stderr if config.events.to == "stdout" else sys.stdout  # events are alone there
    logs.setup(config.log_level)
    signals.take_over("stopped", process=os.getpid(), served=False)
    try:
        supervisor.serve(config, lambda line: announce(line + hints, to))
    except ConfigError as error:  # what only shows at the start: a name that cannot be resolved
        raise ConfigError(Source(arguments.config, given).blame(error.key, error.reason)) from None
    except SipFastError:
        raise
    except Exception:
        log.critical("crashed", exc_info=True)
        return FAILED
    return DONE


def announce(line: str, to: TextIO) -> None:
    """Tell who started the server; that nobody listens does not end it."""
    try:
        print(line, file=to, flush=True)
    except OSError:
        silence(to)


def start_hints(config: Config) -> str:
    """What somebody who sees the server for the first time wants to know."""
    program = sys.argv[0] if Path(sys.argv[0]).name == OWN_PROGRAM else OWN_PROGRAM
    where = "" if config.store.data == Config().store.data else f" --data {shlex.quote(config.store.data)}"
    redial = config.redial
    if not redial.enabled:
        asks = "Redial is off (redial.enabled)."
    elif redial.policy == "never":
        asks = "Redial: for users and domains only whose tables say so (redial.user, redial.domain); redial.policy is never."
    elif redial.default_period:
        asks = f"Redial: whoever calls somebody that is not there is called back, for {duration(redial.default_period)}."
    else:
        asks = (
            f"Redial: only for calls with an Expires of {redial.min_period} or more, and phones send none; "
            "--default-period 3600 is for every call."
        )
    lines = [
        "",
        f"Stop it by Ctrl-C. What it knows stays in {Path(config.store.data).absolute()} and is there at the next start.",
        asks,
        "Try it: let two phones register here, by any user name and password. And in another terminal:",
    ]
    commands = {
        "demo": "a whole redial, with a server and two phones of its own",
        f"bindings list{where}": "who is registered",
        f"watches list{where}": "who waits for whom",
        f"stats{where}": "what the server has counted",
    }
    width = max(map(len, commands))
    lines += [f"  {program} {command.ljust(width)}  {what}" for command, what in commands.items()]
    if redial.enabled:
        lines.append("A phone may refuse to call by itself: the log has its answer (event=recall), docs/redial.md has more.")
    return "\n".join(printable(line) for line in lines)


def upstream_flag(text: str) -> dict[str, Any]:
    """An [[upstream]] table out of [DOMAIN=]sip:HOST:PORT[,sip:HOST:PORT...]."""
    domain, equals, rest = text.rpartition("=")
    uris = rest.split(",")
    table: dict[str, Any] = {"uri": uris if len(uris) > 1 else rest}
    return table | {"domains": [domain]} if equals else table


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
    from .commands import history

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
    from .node import clock, outlet

    watch = ended.watch
    step = Step(
        "ended", ended.ended_at, watch.callee, watch.caller, watch.armed_at, watch.expires_at, watch.mode.encode(),
        watch.attempts, reason=ended.reason,
    )  # fmt: skip
    try:
        outlet.tell_once(config, step, clock.clock_of(store))
    except OSError as error:
        complain(f"events.to: no event of it: {error.strerror or error}", DONE)


def list_bindings(arguments: argparse.Namespace) -> int:
    """Print the bindings that have not expired."""
    config = configuration(arguments)
    with opened(config) as store:
        now, ahead = now_and_ahead(store)
        rows = [
            (owner, binding) for owner, bindings in store.each_bindings() for binding in bindings if binding.expires > now
        ]
    if arguments.json:
        return print_json(
            {
                "aor": text_of(owner),
                "contact": text_of(binding.contact),
                "expires_at": iso(binding.expires + ahead),
                "remaining": (binding.expires - now) // 1000,
                "q": binding.q / 1000,
                "path": text_of(binding.path),
                "instance": text_of(binding.instance),
                "received_from": source(binding.flow),
                "call_id": text_of(binding.call_id),
                "cseq": binding.cseq,
            }
            for owner, binding in rows
        )
    return print_table(
        ("aor", "contact", "expires at", "q", "received from"),
        [
            (
                person(owner),
                text_of(binding.contact),
                until(binding.expires, now, ahead),
                f"{binding.q / 1000:g}",
                source(binding.flow),
            )
            for owner, binding in rows
        ],
        f"no bindings in {config.store.data}",
    )


def remove_bindings(arguments: argparse.Namespace) -> int:
    """Remove one binding of an AOR, or all."""
    from ._uri import same_uri

    owner = aor(arguments.aor)
    config = configuration(arguments)
    with opened(config, write=True) as store:
        store.for_update()  # a REGISTER of this moment comes before or after, not in between
        stored = store.bindings(owner)
        kept = []
        if arguments.contact:
            contact = arguments.contact.strip("<>").encode()
            try:
                kept = [binding for binding in stored if not same_uri(binding.contact, contact)]
            except ParseError:
                raise ConfigError(f"{arguments.contact!r} is not a contact URI such as sip:bob@192.0.2.1:5060") from None
        if len(kept) == len(stored):
            which = f"binding {arguments.contact}" if arguments.contact else "bindings"
            return complain(f"{config.store.data}: {person(owner)} has no {which}", FAILED)
        store.put_bindings(owner, kept)
        store.commit()
    print(f"removed: {len(stored) - len(kept)} of {person(owner)}, {len(kept)} left")
    return DONE


def show_phones(arguments: argparse.Namespace) -> int:
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
    from .redial.order import profiles_in_force

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


def backup(arguments: argparse.Namespace) -> int:
    """Copy the store, as it is at this moment, to a file."""
    config = configuration(arguments)
    with opened(config) as store:
        size = store.tables.directory.backup(arguments.file)
    print(f"{arguments.file}: {size} bytes, a copy of {config.store.data}; as data.mdb in an empty directory it is a store")
    return DONE


def show_stats(arguments: argparse.Namespace) -> int:
    """Print what the workers have counted, all together and each; or what their counters say."""
    from .node import admin
    from .observe.counters import COUNTERS

    if arguments.explain:
        if arguments.json:
            print(as_json([counter._asdict() for counter in COUNTERS]))
            return DONE
        return print_table(("counter", "kind", "unit", "what it says"), COUNTERS, "")
    data = configuration(arguments).store.data
    places = admin.places(data)
    asked = {place.stem: admin.ask(place) for place in places}
    workers = [told for told in asked.values() if told is not None]
    if not workers:
        return complain(f"{data}: no server runs on this data directory, or none that this user may ask", FAILED)
    names = dict.fromkeys(name for told in workers for name in told["counters"])
    total = {name: sum(told["counters"].get(name, 0) for told in workers) for name in names}
    silent = [number for number, told in asked.items() if told is None]
    if silent:
        complain(f"worker {', '.join(silent)} does not answer: what it has counted is missing", FAILED)
    if arguments.json:
        print(as_json({"total": total, "workers": workers}))
        return FAILED if silent else DONE
    several = workers if len(workers) > 1 else []
    rows = [("seconds since its start", *[str(told["uptime"]) for told in several or workers])]
    if several:
        rows = [(rows[0][0], "", *rows[0][1:])]
    rows += [(name, str(total[name]), *[str(told["counters"].get(name, 0)) for told in several]) for name in names]
    print_table(("counter", "total", *[f"worker {told['worker']}" for told in several]), rows, "")
    return FAILED if silent else DONE


def check_config(arguments: argparse.Namespace) -> int:
    """Check a file and print every key with its value."""
    config = load(arguments.file)
    defaults = dict(settings(Config()))
    rows = []
    for key, value in settings(config):
        shown = '"..."' if is_secret(key) and value else as_json(value)
        rows.append((key, shown, "" if defaults.get(key) == value else "set"))
    print(f"{arguments.file}: good")
    return print_table(("key", "value", ""), rows, "")


# What they share


def configuration(arguments: argparse.Namespace) -> Config:
    """The configuration of a command that works on a store."""
    return load(arguments.config, {} if arguments.data is None else {"store.data": arguments.data})


def opened(config: Config, *, write: bool = False) -> Any:
    """The store, beside a server that may be running; it is never made where there is none."""
    from contextlib import closing

    from .store.backends.lmdb import LmdbTables
    from .store.repository import Store

    storage = config.store
    tables = LmdbTables(storage.data, map_size_gib=storage.map_size, readonly=True)
    if write:
        tables.close()
        tables = LmdbTables(storage.data, map_size_gib=storage.map_size, durability=storage.durability)
    return closing(Store(tables))


def aor(text: str) -> bytes:
    """An address of record as people type it: with or without sip: in front. Raises ConfigError."""
    from ._uri import aor as canonical

    has_scheme = re.match(r"(?i)(sips?|tel):", text)
    try:
        found = canonical((text if has_scheme else f"sip:{text}").encode())
    except (ParseError, UnicodeEncodeError):
        found = b""
    if not (found.startswith(b"tel:") or b"@" in found):
        raise ConfigError(f"{text!r} is not an address of record such as bob@example.com")
    return found


def source(packed: bytes) -> str:
    """Where a REGISTER came from."""
    from ._flow import Flow
    from .config.addresses import in_uri

    try:
        flow = Flow.unpack(packed)
    except ValueError:
        return ""
    return f"{flow.transport_name.lower()}:{in_uri(flow.host)}:{flow.port}"


def silence(stream: TextIO) -> None:
    """Let what is still to be printed go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def now_and_ahead(store: Any) -> tuple[int, int]:
    """The store's time, and how many ms the machine's clock, which people are shown, is ahead of it."""
    from .node import clock

    return clock.now_and_ahead(store)
