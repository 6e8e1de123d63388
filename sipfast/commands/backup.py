"""`sipfast backup`: a copy of the store while the server runs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .console import DONE
from .stored import configuration, opened, say_where


def add_to(commands: Any) -> None:
    """Its line of the command line."""
    command = commands.add_parser("backup", help="copy the store to a file, while the server runs", allow_abbrev=False)
    command.add_argument("file", metavar="FILE", type=Path, help="where to; replaced where it is a backup")
    say_where(command)
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Copy the store, as it is at this moment, to a file."""
    config = configuration(arguments)
    with opened(config) as store:
        size = store.tables.directory.backup(arguments.file)
    print(f"{arguments.file}: {size} bytes, a copy of {config.store.data}; as data.mdb in an empty directory it is a store")
    return DONE
