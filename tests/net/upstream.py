"""A scripted SIP server to stand behind the one under test: a registrar with Path (RFC 3327) and a stateless proxy.

It keeps no transactions (RFC 3261 §16.11): a request that comes again is answered or passed on again, by the same
branch. It knows nothing of automatic redial.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from net.endpoint import Endpoint
from net.sipwire import Address, Sip, host_port, literal, param, request, response, return_address, split_list, uri_of

TAG = "up"


@dataclass
class Registered:
    """One binding of an AOR."""

    contact: str
    expires_at: int
    path: list[str]
    call_id: str
    cseq: int


class Upstream(Endpoint):
    """Registers and routes for `domain`."""

    def __init__(self, name: str, address: Address, domain: str = "example.com") -> None:
        super().__init__(name, address)
        self.domain = domain
        self.unbound_status = 480  # for a user without a binding
        self.register_status = 200  # anything else refuses
        self.record_route = False
        self.goes_by = ""  # the name that it puts into Record-Route; empty: its address
        self.follows_path = True  # where not, a request goes to the Contact's host
        self.rewrites_contact = False  # keeps the address that a REGISTER came from instead of what Contact names
        self.outbound_proxy: Address | None = None  # the next hop of every request that has no other Route
        self.bindings: dict[str, list[Registered]] = {}
        self.registers: list[Sip] = []  # every REGISTER that came
        self.answers: list[Sip] = []  # to requests of its own
        self.options_status = 200
        self.options: list[Sip] = []  # every OPTIONS that asked for the server itself
        self.users: frozenset[str] | None = None  # who may call, once it has said who it is; None: everybody
        self.challenges = ['Digest realm="up", nonce="1", algorithm=MD5']
        self.says_ringing = False  # before it looks for who is called
        self.deaf_to: frozenset[str] = frozenset()  # methods that it drops without a word

    def receive(self, data: bytes, source: Address, now: int) -> None:
        self.now = now
        message = Sip(data)
        if message.status:
            self._pass_back(message)
        elif message.method in self.deaf_to:
            return
        elif message.method == "OPTIONS" and host_port(message.uri) == self.address:
            self.options.append(message)
            self._answer(message, self.options_status, source)
        elif message.method == "REGISTER":
            self._register(message, source)
        elif message.method == "INVITE" and not message.to_tag and (refusal := self._refusal(message)):
            challenge = [("Proxy-Authenticate", each) for each in self.challenges]
            self._answer(message, refusal, source, challenge if refusal == 407 else None)
        elif message.method != "ACK" or not message.to_tag.startswith(TAG):
            self._route(message, source)

    def _answer(self, to: Sip, status: int, source: Address, headers: list[tuple[str, str]] | None = None) -> None:
        data = response(to, status, source=source, tag=f"{TAG}{to.cseq}", headers=headers or [])
        self.transmit(data, return_address(Sip(data)))

    # Registrar

    def _register(self, message: Sip, source: Address) -> None:
        self.registers.append(message)
        if self.register_status != 200:
            self._answer(message, self.register_status, source)
            return
        aor = uri_of(message.first("to"))
        for value in message.all("contact"):
            granted = int(param(value, "expires") or message.first("expires") or 3600)
            contact = uri_of(value)
            old = next((b for b in self.bindings.get(aor, []) if b.contact == contact), None)
            if old is not None and old.call_id == message.call_id and old.cseq > message.cseq:
                self._answer(message, 500, source)  # RFC 3261 §10.3 step 7: out of order
                return
            kept = [b for b in self.bindings.get(aor, []) if b is not old]
            path = message.all("path") if self.follows_path else []
            if self.rewrites_contact:
                contact = f"{contact.rpartition('@')[0]}@{literal(source)}"
            new = Registered(contact, self.now + granted * 1000, path, message.call_id, message.cseq)
            self.bindings[aor] = [*kept, new]
        listed = [("Contact", f"<{b.contact}>;expires={(b.expires_at - self.now) // 1000}") for b in self.live(aor)]
        self._answer(message, 200, source, listed + [("Path", value) for value in message.lines("path")])

    def live(self, aor: str) -> list[Registered]:
        """The bindings of an AOR that have not run out, the latest first."""
        return [binding for binding in self.bindings.get(aor, []) if binding.expires_at > self.now][::-1]

    # Proxy

    def _refusal(self, invite: Sip) -> int:
        """RFC 3261 §22.3: with what a call is refused; 0: it is not."""
        user = uri_of(invite.first("from")).partition("@")[0].removeprefix("sip:")
        if self.users is None or invite.to_tag:
            return 0
        if f'username="{user}"' not in invite.first("proxy-authorization"):
            return 407
        return 0 if user in self.users else 403

    def _route(self, message: Sip, source: Address) -> None:
        if self.says_ringing and message.method == "INVITE" and not message.to_tag:
            self._answer(message, 183, source)
        routes = message.all("route")
        if routes and host_port(uri_of(routes[0])) in (self.address, (self.goes_by, 5060)):
            del routes[0]
        uri = message.uri
        if not routes and uri.rpartition("@")[2].partition(";")[0].lower() == self.domain:
            found = self.live(uri.partition(";")[0])
            if not found:
                self._answer(message, self.unbound_status, source)
                return
            uri, routes = found[0].contact, list(found[0].path)
        self._forward(message, source, uri, routes)

    def _forward(self, message: Sip, source: Address, uri: str, routes: list[str]) -> None:
        mark = hashlib.sha256(f"{message.branch} {message.uri}".encode()).hexdigest()[:16]
        vias = message.all("via")
        sent_by = host_port(vias[0].partition(" ")[2].partition(";")[0].strip())
        if sent_by != source:
            vias[0] += f";received={source[0]}"
            vias[0] = vias[0].replace(";rport", f";rport={source[1]}", 1)
        headers = [("Via", f"SIP/2.0/UDP {literal(self.address)};branch=z9hG4bK{mark}")]
        headers += [("Via", via) for via in vias] + [("Route", route) for route in routes]
        if self.record_route and message.method == "INVITE" and not message.to_tag:
            headers.append(("Record-Route", f"<sip:{self.goes_by or literal(self.address)};lr>"))
        for name, value in message.headers:
            if name == "max-forwards":
                headers.append((name, str(int(value) - 1)))
            elif name not in ("via", "route", "content-length"):
                headers.append((name, value))
        if self.outbound_proxy is not None and not routes:
            hop = self.outbound_proxy
        else:
            hop = host_port(uri_of(routes[0]) if routes else uri)
        self.transmit(request(message.method, uri, headers, message.body), hop)

    def _pass_back(self, message: Sip) -> None:
        """Take the own Via away, and send by the next (RFC 3261 §16.7 steps 3 and 9)."""
        if len(message.all("via")) == 1:
            self.answers.append(message)
            return
        head, _, body = message.raw.partition(b"\r\n\r\n")
        lines = head.decode("utf-8", "surrogateescape").split("\r\n")
        for i, line in enumerate(lines):
            name, _, value = line.partition(":")
            if name.strip().lower() in ("via", "v"):
                rest = split_list(value)[1:]
                lines[i : i + 1] = [f"Via: {', '.join(rest)}"] if rest else []
                break
        data = "\r\n".join(lines).encode("utf-8", "surrogateescape") + b"\r\n\r\n" + body
        self.transmit(data, return_address(Sip(data)))
