"""The `sipfast` command. What goes wrong is one line on stderr that names the thing, the place and the way out.

Exit status: 0 done; 1 not found, or failed while running; 2 wrong usage, configuration or data, and nothing was done.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn

from . import __version__
from .commands import backup, bans, bindings, check_config, phones, serve, stats, users, watches
from .commands.console import FAILED, OWN_PROGRAM, WRONG, complain, silence
from .errors import ConfigError, StoreError, TransportError
from .observe.printable import printable

COMMANDS = (serve, users, watches, bindings, phones, bans, backup, stats, check_config)
"""In the order of the help; `add_to` of each says what its command line looks like, and who runs it."""


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
            from .commands.demo import run

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


def command_line() -> Parser:
    """The grammar of the command line."""
    parser = Parser(prog=OWN_PROGRAM, description="A SIP server with automatic redial.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"sipfast {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add_to(commands)
    # With a command line of its own, which `main` hands it: what it imports is for nobody else
    commands.add_parser("demo", help="play a whole redial on loopback and print its messages", add_help=False)
    return parser
