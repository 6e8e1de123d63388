"""`sipfast check-config`: a configuration file checked, and what it comes to."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..config import Config, load
from ..config.schema import is_secret, listen_unset, settings
from .console import as_json, print_table


def add_to(commands: Any) -> None:
    """Its line of the command line."""
    command = commands.add_parser("check-config", help="check a configuration file and show what it comes to")
    command.add_argument("file", metavar="FILE", type=Path)
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Check a file and print every key with its value."""
    config = load(arguments.file)
    defaults = {**dict(settings(Config())), "listen": listen_unset(config)}
    rows = []
    for key, value in settings(config):
        shown = '"..."' if is_secret(key) and value else as_json(value)
        rows.append((key, shown, "" if defaults.get(key) == value else "set"))
    print(f"{arguments.file}: good")
    return print_table(("key", "value", ""), rows, "")
