"""What is said of things that go wrong although they should not: one line for each kind, and not again for a while."""

from __future__ import annotations

import logging
from collections.abc import Callable

COMPLAIN_EVERY = 60.0  # seconds


class Complaints:
    """Logs what goes wrong while messages are handled: each kind once, then at most once a minute with a count.

    A kind is an event with the exception's type and the line that raised it, so that a peer who can provoke one error
    at will neither fills the disk nor hides another one.
    """

    def __init__(self, logger: logging.Logger, clock: Callable[[], float]) -> None:
        self._logger = logger
        self._clock = clock
        self._kinds: dict[tuple[str, type[BaseException], str, int], tuple[float, int]] = {}

    def __call__(self, event: str, error: BaseException, **about: object) -> None:
        """Take one complaint, and what the line is to say of it. Never raises."""
        at = error.__traceback__
        while at is not None and at.tb_next is not None:
            at = at.tb_next
        place = (at.tb_frame.f_code.co_filename, at.tb_lineno) if at is not None else ("", 0)
        kind = (event, type(error), *place)
        now = self._clock()
        last, silent = self._kinds.get(kind, (-COMPLAIN_EVERY, 0))
        if now - last < COMPLAIN_EVERY:
            self._kinds[kind] = (last, silent + 1)
            return
        self._kinds[kind] = (now, 0)
        self._logger.error(event, exc_info=error, extra={"sip": about | ({"suppressed": silent} if silent else {})})
