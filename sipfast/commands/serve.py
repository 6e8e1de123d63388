"""`sipfast serve`: the server itself."""

from __future__ import annotations

import argparse
import logging
import os
import shlex
import sys
from pathlib import Path
from typing import Any, TextIO

from ..config import Config, load
from ..config.explain import Source
from ..config.schema import is_for_anybody
from ..errors import ConfigError, SipFastError
from ..observe.printable import printable
from .console import DONE, FAILED, OWN_PROGRAM, duration, silence

log = logging.getLogger("sipfast.serve")


def add_to(commands: Any) -> None:
    """Its line of the command line."""
    command = commands.add_parser("serve", help="run the server", allow_abbrev=False)
    command.add_argument("--config", metavar="FILE", type=Path, help="a TOML file; flags override it")
    command.add_argument(
        "--listen",
        metavar="udp:HOST:PORT",
        action="append",
        help="an address to listen on (udp:0.0.0.0:5060; where anybody may register, udp:127.0.0.1:5060)",
    )
    command.add_argument(
        "--domain", metavar="NAME", action="append", help="a domain to serve (this machine's names and addresses)"
    )
    command.add_argument(
        "--users", metavar="FILE", help="who has a password (see sipfast users); without it nobody is asked for one"
    )
    command.add_argument(
        "--open", action="store_true", help="let anybody register, without passwords, from other machines, too"
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
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the server until it is told to end."""
    flags = {
        "listen": arguments.listen,
        "domains": arguments.domain,
        "users": arguments.users,
        "open": arguments.open or None,
        "store.data": arguments.data,
        "upstream": [upstream_flag(text) for text in arguments.upstream] if arguments.upstream else None,
        "workers": arguments.workers,
        "log_level": arguments.log_level,
        "redial.default_period": arguments.default_period,
    }
    given = {key: value for key, value in flags.items() if value is not None}
    config = load(arguments.config, given)
    from ..node import signals, supervisor
    from ..observe import logs

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
        "Try it: let two phones register here"
        + (", by any user name and password" if is_for_anybody(config) else "")
        + ". And in another terminal:",
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
