"""What lives at an address of the virtual network, and RFC 3261's transactions as the tests' phones run them.

Pure sans-I/O Python: datagrams and the time come in as arguments, datagrams leave by `transmit`. Times are whole
milliseconds. The transactions are this file's own small writing of RFC 3261 §17 with RFC 6026's Accepted state, over
an unreliable transport.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any

from net.sipwire import Address, Sip, is_probe, literal, request, response, return_address

T1, T2, T4 = 500, 4_000, 5_000
TIMER_B = TIMER_F = TIMER_H = TIMER_J = TIMER_L = TIMER_M = 64 * T1
TIMER_D = 32_000


class Timer:
    """A call that is due at a time; `cancel` takes it back."""

    __slots__ = ("args", "call", "when")

    def __init__(self, when: int, call: Callable[..., None], args: tuple[Any, ...]) -> None:
        self.when = when
        self.call: Callable[..., None] | None = call
        self.args = args

    def cancel(self) -> None:
        self.call = None


class Endpoint:
    """Something with a name and an address. The network sets `transmit` and calls the rest."""

    def __init__(self, name: str, address: Address) -> None:
        self.name = name
        self.address = address
        self.now = 0
        self.transmit: Callable[[bytes, Address], None] = _not_connected
        self._timers: list[tuple[int, int, Timer]] = []
        self._count = 0

    def after(self, delay: int, call: Callable[..., None], *args: Any) -> Timer:
        """Have something called in `delay` ms."""
        timer = Timer(self.now + delay, call, args)
        self._count += 1
        heapq.heappush(self._timers, (timer.when, self._count, timer))
        return timer

    def token(self, prefix: str = "") -> str:
        """A token that this endpoint never made before."""
        self._count += 1
        return f"{prefix}{self.name}-{self._count}"

    def receive(self, data: bytes, source: Address, now: int) -> None:
        raise NotImplementedError

    def undelivered(self, data: bytes, to: Address, now: int) -> None:
        """An ICMP error has come about something sent, of which it quotes the beginning. Phones take no notice."""

    def advance(self, now: int) -> None:
        """Run what is due."""
        self.now = now
        while self._timers and self._timers[0][0] <= now:
            timer = heapq.heappop(self._timers)[2]
            if timer.call is not None:
                timer.call(*timer.args)

    def deadline(self) -> int | None:
        while self._timers and self._timers[0][2].call is None:
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    def forget_timers(self) -> None:
        self._timers.clear()


def _not_connected(data: bytes, to: Address) -> None:
    raise RuntimeError("the endpoint is not on a network")


class Peer(Endpoint):
    """An endpoint without any behaviour: it keeps what comes, and a test sends what it likes.

    Only the OPTIONS that the server sends to whoever registers is answered, as phones do, and shows nowhere.
    """

    def __init__(self, name: str, address: Address) -> None:
        super().__init__(name, address)
        self.inbox: list[Sip] = []
        self.sources: list[Address] = []
        self.answers_probes = True  # False: they are in the inbox like all else

    def receive(self, data: bytes, source: Address, now: int) -> None:
        self.now = now
        message = Sip(data)
        if self.answers_probes and is_probe(message):
            self.answer(message, 200)
            return
        self.inbox.append(message)
        self.sources.append(source)

    def take(self, method: str = "", status: int = 0) -> Sip:
        """The oldest message of a kind; it leaves the inbox. A request where `status` is 0."""
        for i, message in enumerate(self.inbox):
            if (not method or message.method == method) and message.status == status:
                del self.inbox[i], self.sources[i]
                return message
        raise AssertionError(f"{self.name} has no {status or ''} {method}; it has {self.inbox}")

    def count(self, method: str = "", status: int = 0) -> int:
        return sum((not method or m.method == method) and m.status == status for m in self.inbox)

    def answer(self, request: Sip, status: int, to: Address | None = None, **more: Any) -> bytes:
        """Send a response by the request's topmost Via (or `to`)."""
        data = response(request, status, tag=more.pop("tag", f"tag-{self.name}"), **more)
        self.transmit(data, to or return_address(Sip(data)))
        return data


class ClientTransaction:
    """RFC 3261 §17.1: sends a request until it is answered, and tells its user."""

    def __init__(
        self, side: Transactions, data: bytes, to: Address, on_response: Callable[[Sip], None],
        on_timeout: Callable[[], None],
    ) -> None:  # fmt: skip
        self.side, self.data, self.to = side, data, to
        self.request = Sip(data)
        self.invite = self.request.method == "INVITE"
        self.on_response, self.on_timeout = on_response, on_timeout
        self.state = "calling"
        self.ack = b""
        self.interval = T1
        self.cancel_wanted = False
        self.key = (self.request.branch, self.request.method)
        side.clients[self.key] = self
        side.transmit(data, to)
        self.resend = side.after(T1, self._retransmit)  # timers A and E
        self.timeout = side.after(TIMER_B, self._timed_out)  # timers B and F

    def _retransmit(self) -> None:
        if self.state == "calling" or (self.state == "proceeding" and not self.invite):
            self.side.transmit(self.data, self.to)
            self.interval *= 2
            if not self.invite:
                self.interval = T2 if self.state == "proceeding" else min(self.interval, T2)
            self.resend = self.side.after(self.interval, self._retransmit)

    def _timed_out(self) -> None:
        if self.state == "calling" or (self.state == "proceeding" and not self.invite):
            self._end()
            self.on_timeout()

    def receive(self, answer: Sip) -> None:
        if answer.status < 200:
            if self.state in ("calling", "proceeding"):
                self.state = "proceeding"
                if self.invite:
                    self.resend.cancel()
                    self.timeout.cancel()
                self.on_response(answer)
                if self.cancel_wanted:
                    self.cancel_wanted = False
                    self.cancel()
        elif self.invite and answer.status < 300:
            if self.state != "completed":  # RFC 6026 §7.2: every 2xx of Accepted goes to the user
                self._finish("accepted", TIMER_M)
                self.on_response(answer)
        elif self.state in ("calling", "proceeding"):
            self._finish("completed", TIMER_D if self.invite else T4)
            if self.invite:
                self.ack = self._ack_for(answer)
                self.side.transmit(self.ack, self.to)
            self.on_response(answer)
        elif self.state == "completed" and self.invite:
            self.side.transmit(self.ack, self.to)

    def _finish(self, state: str, linger: int) -> None:
        if self.state != state:
            self.state = state
            self.resend.cancel()
            self.timeout.cancel()
            self.side.after(linger, self._end)

    def _end(self) -> None:
        self.state = "terminated"
        self.side.clients.pop(self.key, None)

    def _hop_request(self, method: str, to_value: str) -> bytes:
        """ACK to a non-2xx (§17.1.1.3) and CANCEL (§9.1) repeat the INVITE's one Via."""
        old = self.request
        headers = [("Via", old.all("via")[0]), ("Max-Forwards", "70"), ("From", old.first("from")), ("To", to_value)]
        headers += [("Call-ID", old.call_id), ("CSeq", f"{old.cseq} {method}")]
        headers += [("Route", value) for value in old.all("route")]
        return request(method, old.uri, headers)

    def _ack_for(self, answer: Sip) -> bytes:
        return self._hop_request("ACK", answer.first("to"))

    def cancel(self) -> None:
        """§9.1: once a provisional response has come, and not before."""
        if self.state == "calling":
            self.cancel_wanted = True
        elif self.state == "proceeding":
            data = self._hop_request("CANCEL", self.request.first("to"))
            ClientTransaction(self.side, data, self.to, lambda answer: None, lambda: None)
            self.side.after(TIMER_B, self._give_up)

    def _give_up(self) -> None:
        if self.state == "proceeding":  # §9.1: no final response within 64*T1 of the CANCEL
            self._end()
            self.on_timeout()


class ServerTransaction:
    """RFC 3261 §17.2: sends responses, and again when the request comes again."""

    def __init__(self, side: Transactions, request: Sip, source: Address) -> None:
        self.side, self.request, self.source = side, request, source
        self.invite = request.method == "INVITE"
        self.state = "proceeding"
        self.last = b""
        self.interval = T1
        self.key = _server_key(request)
        side.servers[self.key] = self
        if not self.invite:
            # Longer than timer J needs: a user that never answers leaves the transaction to it
            side.after(2 * TIMER_J, self._end)

    def answer(self, status: int, tag: str = "", **more: Any) -> None:
        if self.state != "proceeding":
            return
        self.last = response(self.request, status, source=self.source, tag=tag, **more)
        self.send_again()
        if status < 200:
            return
        if not self.invite:
            self.state = "completed"
            self.side.after(TIMER_J, self._end)
        elif status < 300:
            self.state = "accepted"
            self.side.after(TIMER_L, self._end)
        else:
            self.state = "completed"
            self.side.after(T1, self._retransmit)  # timer G
            self.side.after(TIMER_H, self._end)

    def send_again(self) -> None:
        if self.last:
            self.side.transmit(self.last, return_address(Sip(self.last)))

    def _retransmit(self) -> None:
        if self.state == "completed":
            self.send_again()
            self.interval = min(2 * self.interval, T2)
            self.side.after(self.interval, self._retransmit)

    def acked(self) -> None:
        """The ACK to a non-2xx (a 2xx's ACK is the user's)."""
        if self.state == "completed":
            self.state = "confirmed"
            self.side.after(T4, self._end)  # timer I

    def _end(self) -> None:
        self.state = "terminated"
        self.side.servers.pop(self.key, None)


def _server_key(request: Sip) -> tuple[str, str, str]:
    """§17.2.3: branch, sent-by, and the method with ACK counted to its INVITE."""
    sent_by = request.all("via")[0].partition(" ")[2].partition(";")[0].strip()
    return request.branch, sent_by, "INVITE" if request.method == "ACK" else request.method


class Transactions(Endpoint):
    """An endpoint with both kinds of transactions. Subclasses get each new request once, in `on_request`."""

    def __init__(self, name: str, address: Address) -> None:
        super().__init__(name, address)
        self.clients: dict[tuple[str, str], ClientTransaction] = {}
        self.servers: dict[tuple[str, str, str], ServerTransaction] = {}

    def via(self) -> str:
        return f"SIP/2.0/UDP {literal(self.address)};branch={self.token('z9hG4bK')};rport"

    def on_request(self, transaction: ServerTransaction) -> None:
        raise NotImplementedError

    def on_ack(self, ack: Sip) -> None:
        """An ACK that belongs to no server transaction of a non-2xx: one for a 2xx."""

    def on_cancel(self, invite: ServerTransaction) -> None:
        """A CANCEL that has been answered; `invite` is still without a final response."""

    def receive(self, data: bytes, source: Address, now: int) -> None:
        self.now = now
        message = Sip(data)
        if message.status:
            client = self.clients.get((message.branch, message.method))
            if client is not None:
                client.receive(message)
            return
        known = self.servers.get(_server_key(message))
        if message.method == "ACK":
            if known is not None and known.state in ("completed", "confirmed"):
                known.acked()
            else:
                self.on_ack(message)
        elif known is not None:
            if known.state in ("proceeding", "completed"):
                known.send_again()
        elif message.method == "CANCEL":
            self._cancelled(message, source)
        elif self._merged(message):
            ServerTransaction(self, message, source).answer(482, self.token())
        else:
            self.on_request(ServerTransaction(self, message, source))

    def _cancelled(self, cancel: Sip, source: Address) -> None:
        """§9.2"""
        branch, sent_by, _ = _server_key(cancel)
        invite = self.servers.get((branch, sent_by, "INVITE"))
        own = ServerTransaction(self, cancel, source)
        own.answer(200 if invite is not None else 481, self.token())
        if invite is not None and invite.state == "proceeding":
            self.on_cancel(invite)

    def _merged(self, request: Sip) -> bool:
        """§8.2.2.2: the same request by another way, while the first is in progress."""
        if request.to_tag:
            return False
        names = (request.from_tag, request.call_id, request.first("cseq"))
        return any(
            (other.request.from_tag, other.request.call_id, other.request.first("cseq")) == names
            for other in self.servers.values()
        )
