"""Phones as they are: none of them obeys a REFER out of a dialog, and each has its own way with one within a call.

What they do is what eight real stacks were seen to do; `PHONES` has them by name. Such a phone answers with a description of
its audio, knows where that of the other side is, and takes offence where a real one did.
"""

from __future__ import annotations

from typing import Any

from net.endpoint import ServerTransaction
from net.phone import Call, Phone, Refer
from net.sipwire import Sip, request, uri_of

SDP_TYPE = ("Content-Type", "application/sdp")


class Stubborn(Phone):
    """A phone that wants to be called before it calls."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        # What it says to a REFER out of a dialog: a final status, "silence", "accept", "idle" (202, and no call), or "fails"
        # (202, and a NOTIFY that it could not)
        self.outside = "501"
        self.no = ""  # what it says to a call that has rung for `ring_time`, in place of being picked up
        self.agent = ""  # its User-Agent
        self.early = "accept"  # to one in its early dialog: "accept", "idle" (202, and no call), or a final status
        self.inside = "accept"  # to one in a call that it has answered: the same
        self.too_soon = 0  # ms from the ACK in which it is not ready for that: it says so in a NOTIFY
        self.needs_ack = True  # until the ACK it says nothing to a REFER
        self.asks_user = False  # the early REFER: it calls once somebody picks up
        self.hangs_up = False  # ends the old call itself, when the new one is answered
        self.reinvites_after: int | None = None  # ms from its answer to a re-INVITE of its own
        self.ring_time = 4_000
        self.dial_delay = 40
        self.port = 4000
        self.version = 0
        self.media: dict[str, bytes] = {}  # Call-ID -> the last description that came from the other side
        self.acked: set[tuple[str, int]] = set()  # Call-ID and CSeq of the ACKs that came
        self.odd = ""  # the reason of a NOTIFY's end, as linphone writes it

    # Media

    def describe(self, direction: str = "sendrecv") -> bytes:
        self.version += 1
        host = self.address[0]
        return (
            f"v=0\r\no={self.user} 1 {self.version} IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\n"
            f"m=audio {self.port} RTP/AVP 0 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\n"
            f"a={direction}\r\n"
        ).encode()

    def listen(self, message: Sip) -> None:
        """Take note of where the other side's audio is."""
        if message.body.startswith(b"v="):
            assert b"a=inactive" not in message.body, "a phone that was seen crashes at this"
            self.media[message.call_id] = message.body

    def call(self, whom: str, expires: int | None = None, *, to: str = "", headers: Any = None) -> Call:
        agent = [("User-Agent", self.agent)] if self.agent else []
        return super().call(whom, expires, to=to, headers=[*(headers or []), *agent, SDP_TYPE])

    def _send_invite(self, call: Call, data: bytes) -> None:
        head, _, _ = data.partition(b"\r\n\r\n")
        body = self.describe()
        head = head.replace(b"Content-Length: 0", f"Content-Length: {len(body)}".encode())
        super()._send_invite(call, head + b"\r\n\r\n" + body)

    def _call_answered(self, call: Call, answer: Sip) -> None:
        self.listen(answer)
        super()._call_answered(call, answer)

    def _report(self, call: Call, answer: Sip | None) -> None:
        super()._report(call, answer)
        if self.hangs_up and call.report_to is not None and call.was_answered:
            for other in self.calls:
                if other.call_id == call.report_to.request.call_id and other.state == "talking":
                    self.hang_up(other)

    def pick_up(self, call: Call) -> None:
        if call.state != "ringing" or call.server is None:
            return
        if self.no:
            call.server.answer(int(self.no), call.local_tag)
            call.status = int(self.no)
            self._over(call)
            return
        call.server.answer(200, call.local_tag, headers=[("Contact", self.contact), SDP_TYPE], body=self.describe())
        call.state, call.status = "answered", 200
        call.ok_timer = self.after(500, self._repeat_ok, call)
        self.after(32_000, self._no_ack, call)

    def _ring(self, transaction: ServerTransaction) -> None:
        self.listen(transaction.request)
        super()._ring(transaction)

    def _talking(self, call: Call) -> None:
        super()._talking(call)
        if self.reinvites_after is not None and not call.outgoing:
            self.after(self.reinvites_after, self.reinvite, call)
        if self.asks_user:
            for refer in self.refers:
                if refer.request.call_id == call.call_id and refer.status == 202:
                    self.after(self.dial_delay, self._dial, refer)

    def reinvite(self, call: Call, direction: str = "sendrecv") -> None:
        """A re-INVITE of its own."""
        if call.state == "talking":
            self.offer_again(call, self.describe(direction))

    def offer_again(self, call: Call, body: bytes) -> None:
        self.in_dialog(call, "INVITE", [("Contact", self.contact)], body)

    def in_dialog(self, call: Call, method: str, headers: Any = None, body: bytes = b"") -> Any:
        """As a phone's, with a body."""
        from net.endpoint import ClientTransaction

        call.seq += 1
        uri, routes, hop = self._way(call)
        fields = [
            ("Via", self.via()), ("Max-Forwards", "70"), *(("Route", route) for route in routes),
            ("From", call.local), ("To", call.remote), ("Call-ID", call.call_id), ("CSeq", f"{call.seq} {method}"),
            *(headers or []), *([SDP_TYPE] if body.startswith(b"v=") else []),
        ]  # fmt: skip

        def answered(answer: Sip) -> None:
            if answer.status < 200:
                return
            if method == "INVITE" and answer.status < 300:
                self.listen(answer)
                self._ack_again(call, answer)
            call.answers.append((method, answer.status))

        data = request(method, uri, fields, body)
        return ClientTransaction(self, data, hop, answered, lambda: call.answers.append((method, 408)))

    # What comes

    def on_request(self, transaction: ServerTransaction) -> None:
        message = transaction.request
        if message.method == "REFER" and not message.to_tag:
            self._asked_outside(transaction)
            return
        super().on_request(transaction)

    def _in_call(self, transaction: ServerTransaction, call: Call) -> None:
        message = transaction.request
        if message.method == "REFER":
            call.heard.append("REFER")
            self._asked_in(transaction, call)
        elif message.method in ("INVITE", "UPDATE") and call.state == "talking":
            call.heard.append(message.method)
            self.listen(message)
            offer = message.method == "INVITE" or message.body
            body = self.describe() if offer else b""
            headers = [("Contact", self.contact), *([SDP_TYPE] if body else [])]
            transaction.answer(200, headers=headers, body=body)
            call.target = uri_of(message.first("contact")) or call.target
            if message.method == "INVITE":
                self.after(500, self._answer_again, transaction, call, 500)
        elif message.method == "INFO":
            call.heard.append("INFO")
            transaction.answer(481 if call.over else 200)
        else:
            super()._in_call(transaction, call)

    def _answer_again(self, transaction: ServerTransaction, call: Call, waited: int) -> None:
        """The 200 to a re-INVITE, until its ACK is here; without one the call is over (RFC 3261 §14.2)."""
        if (call.call_id, transaction.request.cseq) in self.acked or call.state != "talking":
            return
        if waited > 32_000:
            self.hang_up(call)
            return
        transaction.send_again()
        self.after(min(waited, 4_000), self._answer_again, transaction, call, waited + min(waited, 4_000))

    def on_ack(self, ack: Sip) -> None:
        self.listen(ack)
        self.acked.add((ack.call_id, ack.cseq))
        super().on_ack(ack)

    def _asked_outside(self, transaction: ServerTransaction) -> None:
        if self.outside == "silence":
            return
        if self.outside.isdigit():
            transaction.answer(int(self.outside), self.token("x"))
            return
        self.on_refer = "accept" if self.outside == "accept" else "idle"
        self._referred(transaction)
        if self.outside == "fails":
            self._notify(self.refers[-1], "SIP/2.0 503 Service Unavailable\r\n", "terminated;reason=noresource")

    # Being asked within a call

    def _asked_in(self, transaction: ServerTransaction, call: Call) -> None:
        if call.state == "answered" and self.needs_ack:
            return
        assert "?" not in transaction.request.first("refer-to"), "some phones copy headers into the Request-URI"
        how = self.early if call.state == "ringing" else self.inside
        if how == "silence":
            return
        status = 202 if how in ("accept", "idle") else int(how)
        refer = Refer(transaction.request, status, call.local_tag)
        self.refers.append(refer)
        transaction.answer(status, headers=[("Contact", self.contact)])
        if status != 202:
            return
        self._notify(refer, "SIP/2.0 100 Trying\r\n", "active;expires=60")
        if call.state != "ringing" and call.answered_at + self.too_soon > self.now:
            self._notify(refer, "SIP/2.0 400 Bad Request\r\n", "terminated;reason=noresource")
        elif how == "accept" and not (call.state == "ringing" and self.asks_user):
            self.after(self.dial_delay, self._dial_if_up, refer, call)

    def _dial_if_up(self, refer: Refer, call: Call) -> None:
        """A phone whose old call is cancelled or hung up before it has called, does not call."""
        if not call.over:
            self._dial(refer)

    def _notify(self, refer: Refer, fragment: str, state: str) -> None:
        call = self._find(refer.request)
        if call is None:
            super()._notify(refer, fragment, state)
            return
        headers = [
            ("Contact", self.contact), ("Event", "refer"), ("Subscription-State", state + self.odd),
            ("Content-Type", "message/sipfrag"),
        ]  # fmt: skip
        self.in_dialog(call, "NOTIFY", headers, fragment.encode())


# What was seen, by stack. Not here: what is the same with all of them.
PHONES: dict[str, dict[str, Any]] = {
    "baresip 1.0": {"agent": "baresip v1.0.0 (x86_64/linux)"},
    "baresip 1.1": {"agent": "baresip v1.1.0 (x86_64/linux)"},
    "baresip-python": {"agent": "baresip-python", "outside": "501", "reinvites_after": 120},
    "baresip-python asking its user": {"early": "idle", "inside": "idle", "reinvites_after": 120},
    "linphone 5.1": {
        "agent": "Linphonec/5.1.65",
        "outside": "603",
        "early": "491",
        "odd": ";reason=reason=noresource",
    },
    "linphone 5.3": {
        "agent": "Linphonec/5.3.105",
        "outside": "603",
        "early": "501",
        "reinvites_after": 200,
        "odd": ";reason=reason=noresource",
    },
    "Twinkle": {"agent": "Twinkle/1.10.2", "outside": "403", "early": "500", "hangs_up": True},
    "pjsua2": {"outside": "silence"},
    "Asterisk": {"agent": "Asterisk PBX 22.5.0", "early": "481", "too_soon": 1_500},
    "a phone that takes the early REFER to its user": {"asks_user": True},
    "a phone that takes the early REFER and forgets it": {"early": "idle"},
}
OBEDIENT = [name for name, how in PHONES.items() if how.get("inside") != "idle"]
