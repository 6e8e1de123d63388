"""Scripted phones: SIP user agents by RFC 3261, without a socket or a clock.

A phone registers and refreshes, calls, answers, is busy, declines, hangs up, and does what a REFER asks
(RFC 3515). How it behaves is in its public attributes; what happened to it is in `calls`, `refers` and `registered`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from net.digest import answer_challenge
from net.endpoint import T1, T2, TIMER_H, ClientTransaction, ServerTransaction, Timer, Transactions
from net.sipwire import Address, Sip, host_port, literal, param, request, uri_of, uri_param

ALLOW = ("Allow", "INVITE, ACK, CANCEL, BYE, OPTIONS, REFER, NOTIFY, UPDATE, PRACK")
KEEPALIVE = b"\r\n\r\n"


@dataclass(eq=False)
class Call:
    """One call as one phone sees it.

    `state` is "calling", "ringing", "answered" (a 2xx was sent, its ACK not yet seen), "talking", "ended" (was
    answered) or "failed".
    """

    outgoing: bool
    call_id: str
    local: str  # From of what this phone sends in the dialog
    remote: str
    started: int
    local_tag: str
    state: str = "calling"
    status: int = 0  # final status; 408 for no answer at all
    final: Sip | None = None
    recalled: bool = False  # placed because of a REFER
    remote_tag: str = ""
    target: str = ""
    routes: list[str] = field(default_factory=list)
    seq: int = 1
    answered_at: int = -1  # when it became "talking"
    ended_at: int = -1
    acks: dict[str, bytes] = field(default_factory=dict)  # by To tag, to repeat (§13.2.2.4)
    client: ClientTransaction | None = None
    server: ServerTransaction | None = None
    ok_timer: Timer | None = None
    ok_interval: int = T1
    ring_timer: Timer | None = None
    report_to: Refer | None = None
    racks: set[str] = field(default_factory=set)  # reliable provisional responses that were acknowledged
    heard: list[str] = field(default_factory=list)  # methods that came in the dialog, the ACK of a re-INVITE among them
    answers: list[tuple[str, int]] = field(default_factory=list)  # final ones to what was sent in it; 408 for none

    @property
    def over(self) -> bool:
        return self.state in ("ended", "failed")

    @property
    def was_answered(self) -> bool:
        return self.answered_at >= 0


@dataclass(eq=False)
class Refer:
    """A REFER that this phone got, and the subscription that it implies (RFC 3515 §2.4.4)."""

    request: Sip
    status: int
    local_tag: str
    seq: int = 0
    notify_statuses: list[int] = field(default_factory=list)  # answers to our NOTIFYs


class Phone(Transactions):
    """One line of one user, registered through `proxy`, which it also sends every out-of-dialog request to."""

    def __init__(self, name: str, address: Address, proxy: Address, domain: str = "example.com", *, user: str = "") -> None:
        super().__init__(name, address)
        self.user, self.domain, self.proxy = user or name, domain, proxy
        # What it does
        self.on_invite = "answer"  # "answer", "ring" for ever, "silent", or a final status such as "486"
        self.ring_time = 2_000
        self.talk_time: int | None = None  # hangs up after that
        self.lines = 1  # more calls at once are answered 486, and so is a REFER for one more
        self.patience = 90_000  # an unanswered call is given up
        self.on_refer = "accept"  # "accept", "ignore", "idle" (202 and no call), or a final status
        self.on_message = "501"  # to a MESSAGE out of a dialog: a final status, or "ignore"
        self.dial_delay = 300  # from the REFER to the INVITE
        self.expires: int | None = None  # Expires of every INVITE
        self.contact_user = self.contact_host = ""  # what to put into Contact instead of the user and the own address
        self.contact_params = ""
        self.call_id = ""  # of each of its calls; empty: each has one of its own
        self.password = ""  # answers a 401 or 407 with it, once
        self.keepalive: int | None = None  # ms between datagrams that keep a NAT's mapping, once it is registered
        self.reliable = False  # calls and rings with 100rel (RFC 3262)
        self.re_register_after = 5_000  # a failed registration is tried again
        # What happened
        self.calls: list[Call] = []
        self.refers: list[Refer] = []
        self.messages: list[Sip] = []  # each MESSAGE that it got, copies once
        self.registered = False
        self.register_statuses: list[int] = []
        self.last_register: Sip | None = None
        self._register_id = self.token("reg")
        self._register_seq = 0
        self._refresh: Timer | None = None
        self._ping: Timer | None = None

    @property
    def aor(self) -> str:
        return f"sip:{self.user}@{self.domain}"

    @property
    def contact(self) -> str:
        host, port = self.address
        return f"<sip:{self.contact_user or self.user}@{literal((self.contact_host or host, port))}>"

    @property
    def busy(self) -> bool:
        return sum(not call.over for call in self.calls) >= self.lines

    def receive(self, data: bytes, source: Address, now: int) -> None:
        if data.strip():  # else the answer to a keepalive
            super().receive(data, source, now)

    # Registration

    def register(self, expires: int = 3600) -> None:
        """REGISTER, and refresh it at half its life; 0 removes the binding."""
        self._register_seq += 1
        if self._refresh is not None:
            self._refresh.cancel()
            self._refresh = None
        headers = [
            ("Via", self.via()), ("Max-Forwards", "70"), ("From", f"<{self.aor}>;tag={self.token('r')}"),
            ("To", f"<{self.aor}>"), ("Call-ID", self._register_id), ("CSeq", f"{self._register_seq} REGISTER"),
            ("Contact", self.contact + self.contact_params), ("Expires", str(expires)), ("Supported", "path"),
        ]  # fmt: skip
        data = request("REGISTER", f"sip:{self.domain}", headers)
        self._send_register(data, expires)

    def _send_register(self, data: bytes, expires: int, *, again: bool = False) -> None:
        seq = self._register_seq

        def done(answer: Sip | None) -> None:
            if (answer is not None and answer.status < 200) or seq != self._register_seq:
                return
            if answer is not None and self._is_challenge(answer) and not again:
                self._register_seq += 1
                data_too = answer_challenge(Sip(data), answer, self.user, self.password, self.via())
                self._send_register(data_too, expires, again=True)
            else:
                self._registered(answer, expires)

        ClientTransaction(self, data, self.proxy, done, lambda: done(None))

    def _is_challenge(self, answer: Sip) -> bool:
        return bool(self.password) and answer.status in (401, 407)

    def unregister(self) -> None:
        self.register(0)

    def _registered(self, answer: Sip | None, expires: int) -> None:
        self.register_statuses.append(answer.status if answer is not None else 408)
        if answer is None or answer.status != 200:
            if expires:
                self._refresh = self.after(self.re_register_after, self.register, expires)
            return
        self.last_register = answer
        mine = [value for value in answer.all("contact") if uri_of(value) == uri_of(self.contact)]
        self.registered = bool(mine)
        if mine:
            granted = int(param(mine[0], "expires") or answer.first("expires") or expires)
            self._refresh = self.after(granted * 500, self.register, expires)
            if self.keepalive is not None and self._ping is None:
                self._ping = self.after(self.keepalive, self._keep_alive)

    def _keep_alive(self) -> None:
        self._ping = None
        if self.keepalive is not None and self.registered:
            self.transmit(KEEPALIVE, self.proxy)
            self._ping = self.after(self.keepalive, self._keep_alive)

    def switch_off(self) -> None:
        """Lose power: nothing is said to anybody."""
        self.forget_timers()
        self.clients.clear()
        self.servers.clear()
        self._refresh = self._ping = None
        self.registered = False
        for call in self.calls:
            if not call.over:
                self._over(call)

    # Calling

    def call(
        self, whom: str, expires: int | None = None, *, to: str = "", headers: list[tuple[str, str]] | None = None
    ) -> Call:
        """INVITE a user name (of the own domain) or URI; `to` is another URI for the To field."""
        uri = whom if ":" in whom else f"sip:{whom}@{self.domain}"
        tag = self.token("t")
        call = Call(True, self.call_id or self.token("call"), f"<{self.aor}>;tag={tag}", f"<{to or uri}>", self.now, tag)
        call.target = uri
        self.calls.append(call)
        expires = self.expires if expires is None else expires
        fields = [
            ("Via", self.via()), ("Max-Forwards", "70"), ("From", call.local), ("To", call.remote),
            ("Call-ID", call.call_id), ("CSeq", "1 INVITE"), ("Contact", self.contact + self.contact_params), ALLOW,
        ]  # fmt: skip
        if expires is not None:
            fields.append(("Expires", str(expires)))
        if self.reliable:
            fields.append(("Supported", "100rel"))
        self._send_invite(call, request("INVITE", uri, fields + (headers or [])))
        self.after(self.patience, self._impatient, call)
        return call

    def _send_invite(self, call: Call, data: bytes) -> None:
        call.client = ClientTransaction(
            self, data, self.proxy, lambda answer: self._call_answered(call, answer), lambda: self._failed(call, None)
        )

    def _impatient(self, call: Call) -> None:
        if call.state in ("calling", "ringing") and call.client is not None:
            call.client.cancel()

    def hang_up(self, call: Call) -> None:
        """BYE, or CANCEL while nobody has answered."""
        if call.state == "talking":
            self.in_dialog(call, "BYE")
            self._over(call)
        else:
            self._impatient(call)

    def _call_answered(self, call: Call, answer: Sip) -> None:
        if answer.status < 200:
            if answer.status > 100 and call.state == "calling":
                call.state = "ringing"
            if self.reliable and answer.first("rseq"):
                self._acknowledge_ringing(call, answer)
        elif self._is_challenge(answer) and call.seq == 1 and call.client is not None:
            call.seq += 1
            data = answer_challenge(call.client.request, answer, self.user, self.password, self.via())
            self._send_invite(call, data)
        elif answer.status >= 300:
            self._failed(call, answer)
        elif answer.to_tag in call.acks:
            self._ack(call, answer.to_tag)
        elif call.acks or call.over:
            self._second_leg(call, answer)
        else:
            self._enter_dialog(call, answer)
            self._make_ack(call, answer)
            call.status, call.final = answer.status, answer
            self._talking(call)
            self._report(call, answer)

    def _acknowledge_ringing(self, call: Call, answer: Sip) -> None:
        """RFC 3262 §4: PRACK, once for each."""
        rack = f"{answer.first('rseq')} {answer.first('cseq')}"
        if rack not in call.racks:
            call.racks.add(rack)
            self._enter_dialog(call, answer)
            self.in_dialog(call, "PRACK", [("RAck", rack)])

    def _enter_dialog(self, call: Call, answer: Sip) -> None:
        """§12.1.2"""
        call.remote = answer.first("to")
        call.remote_tag = answer.to_tag
        call.target = uri_of(answer.first("contact")) if answer.first("contact") else call.target
        call.routes = answer.all("record-route")[::-1]

    def _second_leg(self, call: Call, answer: Sip) -> None:
        """§13.2.2.4: another branch of a fork answered too. It is acknowledged and ended."""
        other = Call(True, call.call_id, call.local, "", self.now, call.local_tag, state="talking")
        self._enter_dialog(other, answer)
        self._make_ack(other, answer)
        call.acks.update(other.acks)
        self.in_dialog(other, "BYE")

    def _make_ack(self, call: Call, answer: Sip) -> None:
        uri, routes, _ = self._way(call)
        headers = [
            ("Via", self.via()), ("Max-Forwards", "70"), *(("Route", route) for route in routes),
            ("From", call.local), ("To", answer.first("to")), ("Call-ID", call.call_id),
            ("CSeq", f"{answer.cseq} ACK"),
        ]  # fmt: skip
        call.acks[answer.to_tag] = request("ACK", uri, headers)
        self._ack(call, answer.to_tag)

    def _ack(self, call: Call, tag: str) -> None:
        ack = call.acks[tag]
        message = Sip(ack)
        routes = message.all("route")
        self.transmit(ack, host_port(uri_of(routes[0]) if routes else message.uri))

    def _way(self, call: Call) -> tuple[str, list[str], Address]:
        """Request-URI, Route values and next hop inside a dialog (§12.2.1.1)."""
        if not call.routes:
            return call.target, [], host_port(call.target)
        first = uri_of(call.routes[0])
        if uri_param(first, "lr") is None:  # a strict router
            return first, [*call.routes[1:], f"<{call.target}>"], host_port(first)
        return call.target, call.routes, host_port(first)

    def in_dialog(self, call: Call, method: str, headers: list[tuple[str, str]] | None = None) -> ClientTransaction:
        """Send a request inside a call."""
        call.seq += 1
        uri, routes, hop = self._way(call)
        fields = [
            ("Via", self.via()), ("Max-Forwards", "70"), *(("Route", route) for route in routes),
            ("From", call.local), ("To", call.remote), ("Call-ID", call.call_id), ("CSeq", f"{call.seq} {method}"),
        ]  # fmt: skip
        data = request(method, uri, fields + (headers or []))

        def answered(answer: Sip) -> None:
            if answer.status >= 200 and method == "INVITE" and answer.status < 300:
                self._ack_again(call, answer)
            if answer.status >= 200:
                call.answers.append((method, answer.status))

        return ClientTransaction(self, data, hop, answered, lambda: call.answers.append((method, 408)))

    def hold(self, call: Call) -> None:
        """A re-INVITE, as for music on hold, or to take the call back (RFC 3261 §14.1)."""
        self.in_dialog(call, "INVITE", [("Contact", self.contact), ALLOW])

    def _ack_again(self, call: Call, answer: Sip) -> None:
        """The ACK to the 2xx of a re-INVITE."""
        uri, routes, hop = self._way(call)
        headers = [
            ("Via", self.via()), ("Max-Forwards", "70"), *(("Route", route) for route in routes),
            ("From", call.local), ("To", call.remote), ("Call-ID", call.call_id), ("CSeq", f"{answer.cseq} ACK"),
        ]  # fmt: skip
        self.transmit(request("ACK", uri, headers), hop)

    def _talking(self, call: Call) -> None:
        call.state = "talking"
        call.answered_at = self.now
        if self.talk_time is not None:
            self.after(self.talk_time, self._talked_out, call)

    def _talked_out(self, call: Call) -> None:
        if call.state == "talking":
            self.hang_up(call)

    def _over(self, call: Call) -> None:
        call.state = "ended" if call.was_answered else "failed"
        call.ended_at = self.now
        if call.ok_timer is not None:
            call.ok_timer.cancel()

    def _failed(self, call: Call, answer: Sip | None) -> None:
        if not call.over:
            call.status = answer.status if answer is not None else 408
            call.final = answer
            self._over(call)
            self._report(call, answer)

    # Being called

    def on_request(self, transaction: ServerTransaction) -> None:
        method, call = transaction.request.method, self._find(transaction.request)
        if method == "INVITE" and not transaction.request.to_tag:
            self._ring(transaction)
        elif method == "REFER" and not transaction.request.to_tag:
            self._referred(transaction)
        elif method == "MESSAGE" and not transaction.request.to_tag:
            self.messages.append(transaction.request)
            if self.on_message != "ignore":
                transaction.answer(int(self.on_message), self.token("m"))
        elif method == "OPTIONS":
            transaction.answer(200, self.token("o"), headers=[ALLOW, ("Accept", "application/sdp")])
        elif call is not None:
            self._in_call(transaction, call)
        elif method in ("BYE", "INVITE", "NOTIFY", "INFO", "UPDATE", "PRACK"):
            transaction.answer(481, self.token("x"))
        else:
            transaction.answer(501, self.token("x"))

    def _in_call(self, transaction: ServerTransaction, call: Call) -> None:
        method = transaction.request.method
        call.heard.append(method)
        if method == "INVITE" and call.state != "talking":
            transaction.answer(481)
        elif method in ("INVITE", "UPDATE"):
            transaction.answer(200, headers=[("Contact", self.contact)])
        elif method == "PRACK":
            if call.ring_timer is not None:
                call.ring_timer.cancel()
            transaction.answer(200)
        elif method == "BYE":
            transaction.answer(200)
            if not call.over:
                if call.state == "answered":  # the ACK is late or lost, yet the caller has it
                    call.answered_at = self.now
                self._over(call)
        elif method == "INFO":  # an empty one asks whether there is such a call (RFC 2976 §2.2)
            transaction.answer(481 if call.over else 200)
        elif method == "NOTIFY":
            transaction.answer(481)
        else:
            transaction.answer(501)

    def _find(self, message: Sip) -> Call | None:
        for call in self.calls:
            if call.call_id == message.call_id and call.local_tag == message.to_tag:
                return call
        return None

    def _ring(self, transaction: ServerTransaction) -> None:
        message = transaction.request
        tag = self.token("t")
        if self.busy or self.on_invite.isdigit():
            transaction.answer(486 if self.busy else int(self.on_invite), tag)
            return
        call = Call(False, message.call_id, f"{message.first('to')};tag={tag}", message.first("from"), self.now, tag)
        call.state, call.server, call.remote_tag = "ringing", transaction, message.from_tag
        call.target = uri_of(message.first("contact"))
        call.routes = message.all("record-route")
        self.calls.append(call)
        if self.on_invite != "silent":
            self._say_ringing(call, message)
        if self.on_invite == "answer":
            self.after(self.ring_time, self.pick_up, call)

    def _say_ringing(self, call: Call, invite: Sip) -> None:
        assert call.server is not None
        headers = [("Contact", self.contact)]
        if self.reliable and "100rel" in invite.all("supported"):
            headers += [("Require", "100rel"), ("RSeq", "1")]
            call.ring_timer = self.after(T1, self._repeat_ringing, call)
        call.server.answer(180, call.local_tag, headers=headers)

    def _repeat_ringing(self, call: Call) -> None:
        """RFC 3262 §3: until there is a PRACK."""
        if call.state == "ringing" and call.server is not None:
            call.server.send_again()
            call.ring_timer = self.after(T2, self._repeat_ringing, call)

    def pick_up(self, call: Call) -> None:
        """Answer 200, again and again until the ACK is here (§13.3.1.4)."""
        if call.state != "ringing" or call.server is None:
            return
        call.server.answer(200, call.local_tag, headers=[("Contact", self.contact), ALLOW])
        call.state, call.status = "answered", 200
        call.ok_timer = self.after(T1, self._repeat_ok, call)
        self.after(TIMER_H, self._no_ack, call)

    def _repeat_ok(self, call: Call) -> None:
        if call.state == "answered" and call.server is not None:
            call.server.send_again()
            call.ok_interval = min(2 * call.ok_interval, T2)
            call.ok_timer = self.after(call.ok_interval, self._repeat_ok, call)

    def _no_ack(self, call: Call) -> None:
        if call.state == "answered":
            self.in_dialog(call, "BYE")
            self._over(call)

    def on_ack(self, ack: Sip) -> None:
        call = self._find(ack)
        if call is not None and call.state == "answered":
            if call.ok_timer is not None:
                call.ok_timer.cancel()
            self._talking(call)
        elif call is not None and "INVITE" in call.heard:
            call.heard.append("ACK")

    def on_cancel(self, invite: ServerTransaction) -> None:
        for call in self.calls:
            if call.server is invite and call.state == "ringing":
                invite.answer(487, call.local_tag)
                call.status = 487
                self._over(call)

    # Being asked to call

    def _referred(self, transaction: ServerTransaction) -> None:
        message = transaction.request
        if self.on_refer == "ignore":
            return
        status = int(self.on_refer) if self.on_refer.isdigit() else 486 if self.busy else 202
        refer = Refer(message, status, self.token("n"))
        self.refers.append(refer)
        transaction.answer(status, refer.local_tag, headers=[("Contact", self.contact)])
        if status == 202:
            self._notify(refer, "SIP/2.0 100 Trying\r\n", "active;expires=60")
            if self.on_refer == "accept":
                self.after(self.dial_delay, self._dial, refer)

    def _dial(self, refer: Refer) -> None:
        extra = [("Referred-By", value) for value in refer.request.lines("referred-by")]
        call = self.call(uri_of(refer.request.first("refer-to")), headers=extra)
        call.recalled, call.report_to = True, refer

    def _report(self, call: Call, answer: Sip | None) -> None:
        if call.report_to is not None:
            line = f"SIP/2.0 {answer.status} {answer.reason}\r\n" if answer else "SIP/2.0 408 Request Timeout\r\n"
            self._notify(call.report_to, line, "terminated;reason=noresource")

    def _notify(self, refer: Refer, fragment: str, state: str) -> None:
        refer.seq += 1
        asked = refer.request
        target = uri_of(asked.first("contact"))
        headers = [
            ("Via", self.via()), ("Max-Forwards", "70"), ("From", f"{asked.first('to')};tag={refer.local_tag}"),
            ("To", asked.first("from")), ("Call-ID", asked.call_id), ("CSeq", f"{refer.seq} NOTIFY"),
            ("Contact", self.contact), ("Event", "refer"), ("Subscription-State", state),
            ("Content-Type", "message/sipfrag;version=2.0"),
        ]  # fmt: skip
        routes = asked.all("record-route")
        headers[2:2] = [("Route", route) for route in routes]
        hop = host_port(uri_of(routes[0]) if routes else target)
        data = request("NOTIFY", target, headers, fragment.encode())
        ClientTransaction(
            self, data, hop,
            lambda answer: refer.notify_statuses.append(answer.status),
            lambda: refer.notify_statuses.append(408),
        )  # fmt: skip
