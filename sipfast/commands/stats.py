"""`sipfast stats`: what the running server has counted."""

from __future__ import annotations

import argparse
from typing import Any

from .console import DONE, FAILED, as_json, complain, print_table
from .stored import configuration, say_where


def add_to(commands: Any) -> None:
    """Its line of the command line."""
    command = commands.add_parser("stats", help="what the running server has counted", allow_abbrev=False)
    say_where(command)
    command.add_argument("--json", action="store_true", help="as JSON")
    command.add_argument("--explain", action="store_true", help="what each counter says, without asking a server")
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print what the workers have counted, all together and each; or what their counters say."""
    from ..node import admin
    from ..observe.counters import COUNTERS

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
