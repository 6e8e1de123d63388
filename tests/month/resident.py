"""Who lives in the town: a person with a phone, who comes and goes, calls, answers, declines and hears nothing.

The phone is one of the simulated ones (`net/stubborn.py`). What it saw is kept for the chronicle, for some hours.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from net.endpoint import ServerTransaction
from net.nat import Nat
from net.phone import Call
from net.sipwire import Address, Sip, uri_of
from net.stubborn import PHONES, Stubborn

SECOND, MINUTE, HOUR = 1_000, 60_000, 3_600_000
RINGS_AT_MOST = 2 * MINUTE  # then a phone stops by itself: 480
KEPT = 3 * HOUR  # of calls and of what was asked: longer than a recall and its call

# What phones are like, by the columns of the table in docs/phones.md and more. "able": a recall brings its call about.
KINDS: dict[str, dict[str, Any]] = {
    **PHONES,
    "obeys REFER": {"outside": "accept"},
    "obeys REFER too": {"outside": "accept", "early": "501"},
    "picked up only": {"early": "501"},
    "joined only": {"early": "idle", "inside": "idle"},
    "takes every REFER and calls not": {"outside": "idle", "early": "idle", "inside": "idle"},
    "refuses every REFER": {"early": "501", "inside": "501"},
    "refuses to be called back": {"outside": "403", "refuses_recalls": "488"},
    "takes messages only": {"outside": "403", "refuses_recalls": "488", "on_message": "200"},
}
UNABLE = {"refuses to be called back", "takes messages only"}


@dataclass
class Asked:
    """A request of a recall that came: what for, and what was said to it."""

    at: int
    callee: str
    transaction: ServerTransaction
    rang: bool = False

    @property
    def status(self) -> int:
        """Of the last response; 0: none yet."""
        last = self.transaction.last
        return int(last[8:11]) if last else 0


def is_recall(message: Sip) -> bool:
    return "recall:callback" in message.first("alert-info")


def party(call: Call) -> str:
    """Who is at the other end."""
    return uri_of(call.remote).partition(":")[2].partition("@")[0]


class Resident(Stubborn):
    """A person and a phone. `ready` is what the model asks: there, in no other call, and saying yes to whatever comes."""

    def __init__(self, name: str, address: Address, proxy: Address, kind: str, draw: random.Random, nat: Nat | None) -> None:
        super().__init__(name, address, proxy)
        self.kind, self.draw, self.nat = kind, draw, nat
        self.refuses_recalls = ""
        for key, value in KINDS[kind].items():
            assert hasattr(self, key), key
            setattr(self, key, value)
        self.able = kind not in UNABLE
        self.re_register_after = MINUTE
        self.lasts = 3600  # seconds that it registers for
        # The person
        self.away = True
        self.willing = True
        self.rung: Callable[[Resident, str, str], None] = lambda who, callee, how: None
        # What it knows of itself
        self.lost = True  # whoever sends to where it was registered does not reach it
        self.settled_at = 0  # since when nothing of this has changed
        self.back_at = 0  # when it was last to be reached again
        self.out_since = 0  # since when it has no binding; -1: it has one
        self.login_at = 0  # when it had a binding again, after it had surely none
        self.tried_at = 0  # when it first tried to
        self.registered_at = 0
        self.binding_until = 0
        self.disturbed: dict[str, int] = {}  # party -> when its last call with it ended
        self.asked: deque[Asked] = deque()
        self.wanted: dict[str, tuple[int, str, int | None]] = {}  # Call-ID -> when, whom, Expires
        self.noes: deque[tuple[int, str, int]] = deque()  # when, to whom, how: 603, 486; 487: hung up; 0: let it ring

    # ---- the phone

    def on_request(self, transaction: ServerTransaction) -> None:
        message = transaction.request
        if (not message.to_tag and message.method in ("REFER", "MESSAGE")) or (is_recall(message) and not message.to_tag):
            self._note(transaction)
        if message.method == "REFER" and not message.to_tag and self.outside in ("accept", "idle"):
            self.on_refer = self.outside
            self._referred(transaction)
            if not self.busy and self.outside == "accept":
                self.rung(self, party_of(message), "refer")
        elif is_recall(message) and self.refuses_recalls:
            transaction.answer(int(self.refuses_recalls), self.token("x"))
        else:
            super().on_request(transaction)

    def _note(self, transaction: ServerTransaction) -> None:
        self.asked.append(Asked(self.now, party_of(transaction.request), transaction))

    def _asked_in(self, transaction: ServerTransaction, call: Call) -> None:
        if not (call.state == "answered" and self.needs_ack):
            self._note(transaction)
        super()._asked_in(transaction, call)

    def call(self, whom: str, expires: int | None = None, *, to: str = "", headers: Any = None) -> Call:
        self.patience = self.draw.randint(60 if self.willing else 4, 90) * SECOND
        call = super().call(whom, expires, to=to, headers=headers)
        self.wanted[call.call_id] = (self.now, party(call), expires)
        return call

    def _ring(self, transaction: ServerTransaction) -> None:
        before = len(self.calls)
        recall = is_recall(transaction.request)
        self.on_invite = "ring"
        if not self.willing and not recall and self.draw.random() < 0.15:
            self.on_invite = self.draw.choice(("480", "486", "603"))
            self.noes.append((self.now, party_of(transaction.request), int(self.on_invite)))
        super()._ring(transaction)
        if len(self.calls) == before:
            return
        call = self.calls[-1]
        if recall:
            self.asked[-1].rang = True
            self.rung(self, party(call), "callback")
        self.after(RINGS_AT_MOST, self._rung_out, call)
        self._decide(call)

    def _decide(self, call: Call) -> None:
        """What the person does about a phone that rings."""
        chance = 0.0 if self.willing else self.draw.random()
        when = self.draw.randint(1, 8) * SECOND
        if chance < 0.55:
            self.after(when, self.pick_up, call)
        elif chance < 0.8:
            self.after(when, self.decline, call, self.draw.choice((603, 486)))

    def decline(self, call: Call, status: int) -> None:
        if call.state == "ringing" and call.server is not None:
            self.noes.append((self.now, party(call), status))
            call.server.answer(status, call.local_tag)
            call.status = status
            self._over(call)

    def _rung_out(self, call: Call) -> None:
        if call.state == "ringing" and call.server is not None:
            self.noes.append((self.now, party(call), 0))
            call.server.answer(480, call.local_tag)
            call.status = 480
            self._over(call)

    def on_cancel(self, invite: ServerTransaction) -> None:
        for call in self.calls:
            if call.server is invite and call.state == "ringing" and self.now - call.started > 10 * SECOND:
                self.noes.append((self.now, party(call), 0))
        super().on_cancel(invite)

    def hang_up(self, call: Call) -> None:
        if not call.over:
            self.noes.append((self.now, party(call), 487))
        super().hang_up(call)

    def _impatient(self, call: Call) -> None:
        if call.state in ("calling", "ringing"):
            self.noes.append((self.now, party(call), 487))
        super()._impatient(call)

    def _talking(self, call: Call) -> None:
        self.talk_time = self.draw.randint(90, 600) * SECOND
        super()._talking(call)

    def _over(self, call: Call) -> None:
        super()._over(call)
        self.disturbed[party(call)] = self.now

    def _send_register(self, data: bytes, expires: int, *, again: bool = False) -> None:
        if expires and not self.tried_at >= self.out_since >= 0:
            self.tried_at = self.now
        super()._send_register(data, expires, again=again)

    def _registered(self, answer: Sip | None, expires: int) -> None:
        super()._registered(answer, expires)
        if answer is None or answer.status != 200:
            return
        if not self.registered:
            self.out_since = self.now
            return
        if 0 <= self.out_since <= self.tried_at:
            self.login_at = self.tried_at
        self.out_since = -1
        self.registered_at = self.now
        self.binding_until = self.now + self.lasts * SECOND
        if self.lost and not self.away:
            self.lost = False
            self.settled_at = self.now

    def stop_refreshing(self) -> None:
        """Let its binding run out."""
        if self._refresh is not None:
            self._refresh.cancel()
            self._refresh = None

    # ---- the model's questions

    @property
    def there(self) -> bool:
        return not self.away and not self.lost

    def ready_since(self, other: str) -> int:
        """Since when it could and would have talked with somebody, whatever the two did meanwhile; -1: it could not."""
        if not self.there or not self.willing or any(not call.over and party(call) != other for call in self.calls):
            return -1
        return max([self.settled_at, *(when for who, when in self.disturbed.items() if who != other)])

    def change(self) -> None:
        """What it is like is different from now on."""
        self.settled_at = self.now

    def forget(self) -> None:
        """What nobody asks about any more."""
        long_ago = self.now - KEPT
        self.calls = [call for call in self.calls if not call.over or call.ended_at > long_ago]
        self.refers = self.refers[-20:]
        for kept in (self.asked, self.noes):
            while kept and when_of(kept[0]) < long_ago:
                kept.popleft()
        for call_id in [call_id for call_id, (when, _, _) in self.wanted.items() if when < long_ago]:
            del self.wanted[call_id]
        if not self.busy:
            self.acked.clear()
            self.media.clear()
        self.messages.clear()
        self.register_statuses.clear()


def when_of(kept: Any) -> int:
    return int(kept.at if isinstance(kept, Asked) else kept[0])


def party_of(message: Sip) -> str:
    """Who a request is from."""
    return uri_of(message.first("from")).partition(":")[2].partition("@")[0]
