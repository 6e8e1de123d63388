"""What became of one caller's waiting for one callee: each life of a watch of theirs, and why there was no call yet."""

from __future__ import annotations

from typing import Any

import msgspec

from ..errors import StoreCorrupt
from ..observe.printable import printable, text_of
from ..observe.steps import life_of
from ..store.records import CLAIMED, MOST_ENDED, OFFERED, PAUSES_CUT_SHORT, SUSPENDED, Ended, Watch
from .console import duration, iso, local, person, until

WAITS = "not logged in"  # RFC 6910 m=NL, for people


class Life(msgspec.Struct, frozen=True):
    """One watch, from its arming to its end or to now."""

    watch: Watch
    recalls: tuple[tuple[int, str], ...]  # when each began, and what came of it
    ended_at: int  # 0: it has not
    why: str  # it ended, or there was no call yet

    @property
    def id(self) -> str:
        """The same as in its events."""
        return life_of(self.watch.callee, self.watch.caller, self.watch.armed_at)


def lives(store: Any, callee: bytes, caller: bytes, now: int) -> list[Life]:
    """All that is kept of the two, the oldest first."""
    found = [of_ended(each) for each in store.ended() if (each.watch.callee, each.watch.caller) == (callee, caller)]
    found.reverse()
    stored = store.watch(callee, caller)
    if stored is not None:
        watch = stored.unpacked()
        try:
            recalls = store.attempts(callee, caller)
        except StoreCorrupt:
            recalls = ()
        if watch.state in CLAIMED:
            recalls = (*recalls, (watch.recalled_at, watch.last_result))
        found.append(Life(watch, recalls, 0, why_not_yet(store, watch, now)))
    return found


def of_ended(ended: Ended) -> Life:
    """Of a watch that is over."""
    return Life(ended.watch, ended.attempts, ended.ended_at, ended.reason)


def why_not_yet(store: Any, watch: Watch, now: int) -> str:
    """Why a caller who still waits has not been called back."""
    callee = person(watch.callee)
    if watch.expires_at <= now:
        return "its monitoring period is over"
    caller = person(watch.caller)
    if watch.state == SUSPENDED:
        pause = f"in {duration((watch.not_before - now) // 1000)}, or " if watch.not_before > now else ""
        said = f": {watch.last_result}" if watch.last_result else ""
        return f"{caller} cannot take a recall now{said}; again {pause}when {caller} registers or has hung up"
    if watch.state == OFFERED:
        return f"it is not armed: no ACK has come yet for the 480 that offers it to {caller}"
    if watch.state in CLAIMED:
        return f"the recall goes on, by {watch.method or 'refer'}: {watch.last_result}"
    try:
        bindings = [binding for binding in store.bindings(watch.callee) if binding.expires > now]
    except StoreCorrupt:
        return f"the bindings of {callee} cannot be read"
    if not bindings:
        return f"{callee} is not registered"
    if all(binding.doubtful for binding in bindings):
        return f"{callee} is registered, and no phone of theirs answers: waiting until one registers and answers again"
    if watch.not_before >= watch.expires_at:
        return f"{watch.last_result}; again at {callee}'s next login"
    if watch.not_before > now:
        login = f", or at {callee}'s next login" if watch.pauses <= PAUSES_CUT_SHORT else ""
        return f"{watch.last_result}; again in {duration((watch.not_before - now) // 1000)}{login}"
    return watch.last_result or f"{callee} is registered, and it is another caller's turn, or this one's in a moment"


def as_text(life: Life, now: int, ahead: int) -> str:
    """For people."""
    watch = life.watch
    end = life.ended_at or now
    waits = "waited" if life.ended_at else "is to wait" if watch.state == OFFERED else "waits"
    lines = [
        f"{person(watch.caller)} {waits} for {person(watch.callee)}, {WAITS} ({watch.mode})",
        f"id          {life.id}",
        f"armed at    {local(watch.armed_at + ahead)}, by {text_of(watch.contact)}",
    ]
    if watch.agent:
        lines.append(f"phone       {text_of(watch.agent)}")
    lines += [f"recalled at {local(at + ahead)}: {result}" for at, result in life.recalls]
    if life.ended_at:
        lines.append(f"ended at    {local(end + ahead)}, after {duration((end - watch.armed_at) // 1000)}: {life.why}")
    else:
        lines.append(f"expires at  {until(watch.expires_at, now, ahead)}")
        lines.append(f"state       {watch.state}: {life.why}")
    return "\n".join(printable(line) for line in lines)


def as_fields(life: Life, ahead: int) -> dict[str, Any]:
    """For programs."""
    watch = life.watch
    return {
        "id": life.id,
        "callee": text_of(watch.callee),
        "caller": text_of(watch.caller),
        "mode": watch.mode,
        "state": "ended" if life.ended_at else watch.state,
        "armed_at": iso(watch.armed_at + ahead),
        "expires_at": iso(watch.expires_at + ahead),
        "ended_at": iso(life.ended_at + ahead) if life.ended_at else None,
        "why": life.why,
        "method": watch.method or None,
        "attempts": watch.attempts,
        "recalls": [{"at": iso(at + ahead), "result": result} for at, result in life.recalls],
        "contact": text_of(watch.contact),
        "agent": text_of(watch.agent),
        "call_id": text_of(watch.call_id),
    }


def nothing(callee: bytes, caller: bytes) -> str:
    """Where nothing is kept of the two."""
    return (
        f"{person(caller)} does not wait for {person(callee)}, and has not among the last {MOST_ENDED} watches that ended: "
        "what a call armed, or why it armed nothing, the log says (watch-armed, call-not-watched)"
    )
