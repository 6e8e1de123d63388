"""What the server does with the signals that would end a process: it says so, and ends only where that is asked for."""

from __future__ import annotations

import logging
import os
import signal
import sys
from asyncio import AbstractEventLoop
from collections.abc import Callable
from contextlib import suppress

log = logging.getLogger(__name__)

ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
# The rest of signal(7) that ends a process by default and does not tell of a fault in it. Python itself ignores SIGPIPE
# and SIGXFSZ: then they are errors of the write.
IGNORED = tuple(
    getattr(signal, name)
    for name in ("SIGHUP", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGVTALRM", "SIGPROF", "SIGIO", "SIGPWR", "SIGSTKFLT")
    if hasattr(signal, name)
)
ALL = (*ENDING, *IGNORED)


def name(number: int) -> str:
    """SIGTERM and the like."""
    return signal.Signals(number).name


def ignored(number: int) -> None:
    """Say that a signal came that does nothing."""
    event = {"signal": name(number), "process": os.getpid(), "hint": "SIGTERM ends the server; nothing is read again"}
    log.warning("signal-ignored", extra={"sip": event})


def take_over(event: str, **fields: object) -> None:
    """Until `listen`: a signal that ends is logged as `event` with `fields`, and ends the process with status 0.

    Nothing was promised yet. An exception would not do: raised in a finaliser, Python drops it, and the server goes on.
    """

    def come(number: int, frame: object) -> None:
        if number in IGNORED:
            ignored(number)
            return
        log.info(event, extra={"sip": {"signal": name(number), **fields}})
        with suppress(OSError, ValueError, RuntimeError):
            sys.stdout.flush()
        os._exit(0)

    for each in ALL:
        signal.signal(each, come)


def listen(loop: AbstractEventLoop, end: Callable[[str], object]) -> None:
    """From now on the loop takes them: `end` gets the name of one that ends."""
    for number in ENDING:
        loop.add_signal_handler(number, end, name(number))
    for number in IGNORED:
        loop.add_signal_handler(number, ignored, number)
