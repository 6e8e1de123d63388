"""What may become of a watch, by what the phones saw: a model of its own, which knows nothing of the server's inside.

It hears each step that the server tells of a watch's life, and looks at the phones of the two. What it asks:

1. No watch is spent without cause. One that was answered has had its call; one that was declined, somebody declined; one
   that is given up was tried `attempts` times with a phone that accepted, and whose callee was not just busy; one that was
   cancelled, its caller cancelled; and one that expired has had its period.
2. None outlives its period: nothing begins after it, and no record is left.
3. Two who are both there, free and willing for longer than `bound` have had their call.
4. No phone rings twice for one attempt by the same method, nor after a person's no until the callee has been away.
5. Nothing vanishes: what the store has is what was told and has not ended. When everybody has gone, nothing is left.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from net.phone import Call

from month.resident import HOUR, MINUTE, SECOND, Asked, Resident, party
from sipfast.config import Redial
from sipfast.observe.steps import Step, life_of
from sipfast.store.records import OFFERED

LINGERS = 33 * SECOND  # 64*T1 and what is on its way: what a phone did is known here, and what it was told there
DOZE = 15 * SECOND  # the server is woken for its timers no more often (town.Drowsy)
LATER = 40 * SECOND  # until the phones know what the server knows
LONGEST_PAUSE = 900 * SECOND * 5 // 4  # docs/redial.md: at most 15 min, and up to a quarter more
LONGEST_RECALL = 2 * MINUTE  # of one caller with all methods, until the next one's turn
CALLEE_BUSY = (486, 600, 500, 503)


@dataclass
class Attempt:
    """One recall, from its claim until it came to nothing or ended the watch."""

    number: int
    began: int
    ended: int = -1
    method: str = ""
    rings: Counter[tuple[str, str]] = field(default_factory=Counter)
    declined: bool = False  # its caller said no
    counted: bool = False
    result: str = ""


@dataclass
class Life:
    """One watch."""

    callee: str
    caller: str
    armed_at: int
    expires_at: int
    asked_at: int  # when its caller last called
    attempts: list[Attempt] = field(default_factory=list)
    story: list[str] = field(default_factory=list)
    seen_at: int = -1  # when its callee registered first after that
    waits_since: int = -1  # for the callee's next login
    ended_at: int = -1
    reason: str = ""

    @property
    def last(self) -> Attempt | None:
        return self.attempts[-1] if self.attempts else None


def user(aor: bytes) -> str:
    return aor.decode().partition(":")[2].partition("@")[0]


class Chronicle:
    """All lives, and what is wrong with them."""

    def __init__(
        self, people: dict[str, Resident], redial: Redial, now: Callable[[], int], later: Callable[..., None]
    ) -> None:  # fmt: skip
        self.people, self.redial, self.now, self.later = people, redial, now, later
        self.open: dict[tuple[str, str], Life] = {}
        self.over: dict[tuple[str, str], Life] = {}  # the last of each pair
        self.ends: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.down: list[tuple[int, int]] = []  # when nobody served, or not all workers

    def complain(self, life: Life | None, what: str) -> None:
        story = "\n    ".join(life.story) if life is not None else ""
        who = f"{life.caller} -> {life.callee}" if life is not None else ""
        kinds = f" ({self.people[life.caller].kind}; {self.people[life.callee].kind})" if life is not None else ""
        self.wrong.append(f"{self.when(self.now())} {who}{kinds}: {what}\n    {story}")

    @staticmethod
    def when(ms: int) -> str:
        return f"{ms / 1000:.3f}"

    def was_down(self, since: int, until: int) -> bool:
        return any(begin <= until and end >= since for begin, end in self.down)

    # ---- what the server tells

    def told(self, steps: list[Step]) -> None:
        for step in steps:
            self.hear(step)

    def hear(self, step: Step) -> None:
        pair = user(step.callee), user(step.caller)
        life = self.open.get(pair)
        if step.event == "armed":
            if life is not None:
                self.complain(life, "armed a second time")
            life = self.open[pair] = Life(*pair, step.armed_at, step.expires_at, self.now())
            self.over.pop(pair, None)
        if life is None:
            before = self.over.get(pair)
            self.complain(before, f"{step.event} of no watch that is open ({step.reason})")
            return
        life.story.append(f"{self.when(self.now())} {step.event} {step.method} {step.attempt} {step.result} {step.reason}")
        if life.armed_at != step.armed_at:
            self.complain(life, f"{step.event}: id {life_of(step.callee, step.caller, step.armed_at)} is of another life")
        self.counts[step.event] += 1
        getattr(self, f"_{step.event}")(life, step)

    def _armed(self, life: Life, step: Step) -> None:
        life.expires_at, life.asked_at, life.seen_at, life.waits_since = step.expires_at, self.now(), -1, -1
        life.attempts.clear()
        periods = [
            when + self.granted(asked) * SECOND
            for when, whom, asked in self.people[life.caller].wanted.values() if whom == life.callee and self.granted(asked)
        ]  # fmt: skip
        if not any(begins <= step.expires_at <= begins + LINGERS for begins in periods):
            self.complain(life, f"{step.event} until {step.expires_at}, which no INVITE asked for")

    _renewed = _armed

    def granted(self, asked: int | None) -> int:
        if asked is not None and asked >= self.redial.min_period:
            return min(asked, self.redial.max_period)
        return self.redial.default_period

    def _claimed(self, life: Life, step: Step) -> None:
        self.in_time(life, "claimed")
        callee = self.people[life.callee]
        if life.waits_since >= 0 and callee.back_at < life.waits_since - LATER and not callee.away:
            self.complain(life, f"recalled after a no at {self.when(life.waits_since)}, and its callee was never away")
        life.waits_since = -1
        life.attempts.append(Attempt(step.attempt, self.now(), method=step.method))

    def _begun(self, life: Life, step: Step) -> None:
        self.in_time(life, "begun")
        if life.last is None or life.last.ended >= 0:
            self.complain(life, "begun without a claim")
        else:
            life.last.method = step.method

    def _outcome(self, life: Life, step: Step) -> None:
        if life.last is not None and step.reason == "declined":
            life.last.declined = True
            self.later(LATER, self.explain_no, life, self.now())

    def _called(self, life: Life, step: Step) -> None:
        pass

    _climbed = _resumed = _called

    def in_time(self, life: Life, what: str) -> None:
        if self.now() > life.expires_at + SECOND:
            self.complain(life, f"{what} after its period")

    def close(self, life: Life, step: Step, counted: bool) -> None:
        attempt = life.last
        if attempt is None or attempt.ended >= 0:
            return
        attempt.ended, attempt.counted, attempt.result = self.now(), counted, step.reason or step.result
        self.later(LATER, self.judge, life, attempt)

    def _failed(self, life: Life, step: Step) -> None:
        if life.last is None or life.last.ended >= 0:
            self.complain(life, f"{step.event} without a claim")
            return
        self.close(life, step, counted=step.attempt >= life.last.number)
        if life.last.declined or step.reason.endswith("rang and was not answered"):
            life.waits_since = self.now()

    _suspended = _failed

    def _ended(self, life: Life, step: Step) -> None:
        pair = life.callee, life.caller
        life.ended_at, life.reason = self.now(), step.reason
        del self.open[pair]
        self.over[pair] = life
        self.ends["declined" if "got" in step.reason else step.reason] += 1
        self.close(life, step, counted=step.reason == "attempts used up")
        if step.reason == "monitoring period over":
            late = self.now() - life.expires_at
            if not 0 <= late <= DOZE and not self.was_down(life.expires_at, self.now()):
                self.complain(life, f"expired, and its period was until {self.when(life.expires_at)}")
        else:
            self.later(LATER, self.explain, life)

    # ---- what the phones say to that, a while later

    def explain(self, life: Life) -> None:
        reason = life.reason
        since, until = life.ended_at - LINGERS, life.ended_at + SECOND
        caller, callee = self.people[life.caller], self.people[life.callee]
        if reason == "answered":
            good = self.have_talked(caller, callee, life.ended_at)
        elif reason == "cancelled by the caller":
            good = any(
                whom == life.callee and asked == 0 and since <= when <= until for when, whom, asked in caller.wanted.values()
            )
        elif reason == "told":
            good = any(
                each.transaction.request.method == "MESSAGE" and 200 <= each.status < 300
                for each in self.asked_of(life, since, until)
            )
        elif reason == "attempts used up":
            good = sum(attempt.counted for attempt in life.attempts) >= self.redial.attempts
        elif reason.endswith("declined"):
            good = any(whom == life.caller and how == 603 and since <= when <= until for when, whom, how in callee.noes)
        elif reason.endswith("the caller hung up"):
            good = any(whom == life.callee and how == 487 and since <= when <= until for when, whom, how in caller.noes)
        else:
            good = self.redial.declined == "end" and life.last is not None and life.last.declined
        if not good:
            self.complain(life, f"ended without cause: {reason}")

    def explain_no(self, life: Life, when: int) -> None:
        """A no of the caller's."""
        said = [how for at, whom, how in self.people[life.caller].noes if whom == life.callee and abs(when - at) < LINGERS]
        if not said:
            self.complain(life, "its caller declined nothing")

    def have_talked(self, caller: Resident, callee: Resident, when: int) -> bool:
        """Whether there was a call of the two, whose ACK passed about then."""
        for one, other in ((caller, callee), (callee, caller)):
            for call in one.calls:
                if call.was_answered and call.answered_at >= when - LINGERS and party(call) == other.name:
                    recall = not call.outgoing and one is caller  # joined: a call of the server's with each
                    if any(self.is_end_of(call, end, recall, one.name) for end in other.calls):
                        return True
        return any(  # joined: picked up long before perhaps
            party(call) == caller.name and call.was_answered and call.answered_at >= when - LINGERS
            and any(party(near) == callee.name and near.was_answered and not near.outgoing for near in caller.calls)
            for call in callee.calls
        )  # fmt: skip

    def is_end_of(self, call: Call, end: Call, recall: bool, name: str) -> bool:
        if end.outgoing or party(end) != name or end.status != 200:
            return False
        return recall or end.call_id == call.call_id

    def asked_of(self, life: Life, since: int, until: int) -> list[Asked]:
        return [each for each in self.people[life.caller].asked if each.callee == life.callee and since <= each.at <= until]

    def judge(self, life: Life, attempt: Attempt) -> None:
        """Whether an attempt may count: its phone has accepted, rung or called, or its user has said no."""
        if not attempt.counted:
            return
        took_part = attempt.declined or any(
            each.rang or 200 <= each.status < 300 or each.status == 482
            for each in self.asked_of(life, attempt.began - SECOND, attempt.ended)
        )
        if not took_part:
            self.complain(life, f"attempt {attempt.number} is counted, and the caller's phone took no part in it")
        finals = [
            call.status for call in self.people[life.caller].calls
            if call.recalled and party(call) == life.callee and attempt.began <= call.started <= attempt.ended
        ]  # fmt: skip
        if finals and finals[-1] in CALLEE_BUSY:
            self.complain(life, f"attempt {attempt.number} is counted, and the callee was busy: {finals}")

    def rung(self, who: Resident, callee: str, how: str) -> None:
        """A caller's phone rings, or begins to call, because of a recall."""
        pair = callee, who.name
        life = self.open.get(pair)
        if life is None:
            before = self.over.get(pair)
            if before is None or self.now() - before.ended_at > LINGERS:
                self.complain(before, f"{who.name}'s phone rings for no watch ({how})")
            return
        attempt = life.last
        if attempt is None or (attempt.ended >= 0 and self.now() - attempt.ended > LINGERS):
            self.complain(life, f"its caller's phone rings and nothing was begun ({how})")
            return
        key = attempt.method, how
        attempt.rings[key] += 1
        if attempt.rings[key] == 2:
            self.complain(life, f"its caller's phone rings again for the same attempt ({how})")

    # ---- what should have been

    def bound(self, callee: str) -> int:
        """How long two can be ready for each other without a call: the longest pause, then those whose turn it is."""
        others = sum(each == callee for each, _ in self.open)
        return LONGEST_PAUSE + others * LONGEST_RECALL + (round(self.redial.max_talk * SECOND) if others > 1 else 0)

    def look(self, stored: list[Any]) -> None:
        """Every now and then: at the store, and at those who should have talked."""
        now = self.now()
        there = {(user(watch.callee), user(watch.caller)): watch for watch in stored}
        for pair in there.keys() - self.open.keys():
            if there[pair].state == OFFERED:  # the ACK of its 480 is still to come
                continue
            self.complain(self.over.get(pair), f"{pair}: in the store, and it has not been told or is over")
        for pair in self.open.keys() - there.keys():
            self.complain(self.open.pop(pair), "vanished from the store")
        for pair, watch in there.items():
            if now > watch.expires_at + DOZE:
                self.complain(self.open.get(pair), "outlives its period")
        for life in self.open.values():
            since = self.ready_since(life)
            if since >= 0 and now - since > self.bound(life.callee) + sum(
                    min(end, now) - max(begin, since) for begin, end in self.down if end > since):  # fmt: skip
                self.complain(life, f"both ready since {self.when(since)}, and no call")
                life.seen_at = now + 9 * HOUR  # told once

    def ready_since(self, life: Life) -> int:
        caller, callee = self.people[life.caller], self.people[life.callee]
        here, there = caller.ready_since(life.callee), callee.ready_since(life.caller)
        if life.seen_at < 0 and callee.registered_at > life.asked_at:
            life.seen_at = callee.registered_at
        if here < 0 or there < 0 or not caller.able or life.seen_at < 0:
            return -1
        if life.waits_since >= 0 and callee.login_at <= life.waits_since:
            return -1
        return max(here, there, life.seen_at, life.waits_since)

    def forget(self) -> None:
        long_ago = self.now() - 3 * HOUR
        self.down = [each for each in self.down if each[1] > long_ago]
        self.over = {pair: life for pair, life in self.over.items() if life.ended_at > long_ago}
