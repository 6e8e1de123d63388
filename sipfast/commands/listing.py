"""A command that lists records, with verbs about one of them."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .stored import say_where

Verbs = Mapping[str, tuple[Sequence[str], Callable[[argparse.Namespace], int]]]
"""What can be done with one record: its operands, and who does it."""


def add_listing(
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
        say_where(each, default)
    command.add_argument("--json", action="store_true", help="as JSON")
    lister.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="as JSON")
    command.set_defaults(run=show)
    lister.set_defaults(run=show)
    return command, lister
