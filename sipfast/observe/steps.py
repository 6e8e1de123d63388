"""A step of a watch's life as one JSON line: what each field is, docs/events.md says.

All lines have all fields, so that they load into one table; what does not apply is null.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple

import msgspec

from .printable import text_of

_encode = msgspec.json.Encoder().encode

# How a watch ended: reason as stored -> (event, who has asked for it). All other ends are "ended".
ENDS = {
    "answered": ("answered", None),
    "monitoring period over": ("expired", None),
    "attempts used up": ("given-up", None),
    "told": ("told", None),
    "cancelled by the caller": ("cancelled", "caller"),
    "cancelled by hand": ("cancelled", "operator"),
}


class Step(NamedTuple):
    """What has happened, as the core tells it. Times in ms, of the store's clock; "" where there is nothing to say."""

    event: str
    at: int
    callee: bytes
    caller: bytes
    armed_at: int
    expires_at: int
    mode: bytes
    attempt: int
    method: str = ""
    result: str = ""
    reason: str = ""


@lru_cache(4096)
def life_of(callee: bytes, caller: bytes, armed_at: int) -> str:
    """The id of a watch's life: the same from its first arming to its end, whoever tells of it."""
    return blake2b(b"%b\0%b\0%d" % (callee, caller, armed_at), digest_size=8).hexdigest()


def end_of(reason: str) -> tuple[str, str | None]:
    """The event of a watch's end, and who has asked for it."""
    return ENDS.get(reason, ("ended", None))


class Line(msgspec.Struct):
    """The fields, in their order."""

    time: str  # RFC 3339, UTC, to the millisecond
    ms: int  # the same, since the epoch
    event: str
    id: str
    callee: str
    caller: str
    mode: str
    method: str | None
    attempt: int
    result: str | None
    reason: str | None
    by: str | None
    period: int  # seconds that are left of the monitoring period
    node: str
    worker: int | None  # None: told by the command line


def line(step: Step, time: str, ms: int, node: str, worker: int | None) -> bytes:
    """A step as JSON, without a line's end. `time` and `ms`: when it was, by the machine's clock."""
    event, by = end_of(step.reason) if step.event == "ended" else (step.event, None)
    return _encode(
        Line(
            time=time,
            ms=ms,
            event=event,
            id=life_of(step.callee, step.caller, step.armed_at),
            callee=text_of(step.callee),
            caller=text_of(step.caller),
            mode=step.mode.decode("ascii", "replace"),
            method=step.method or None,
            attempt=step.attempt,
            result=step.result or None,
            reason=step.reason or None,
            by=by,
            period=-(min(step.at - step.expires_at, 0) // 1000),  # begun ones count
            node=node,
            worker=worker,
        )
    )
