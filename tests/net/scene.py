"""A server and who talks to it: what the tests of behaviour set their scenes with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from net.endpoint import Peer
from net.nat import Nat
from net.network import Line, Network, Server
from net.phone import Phone
from net.sipwire import Address, Headers, Sip, literal, request

SERVER: Address = ("10.0.0.1", 5060)
DOMAIN = "example.com"
HOME: Address = ("192.168.1.10", 5060)  # of every phone that is alone behind a NAT

# What NAT boxes are like (RFC 4787), as Nat takes it: what most homes have, the most open and the strictest.
NATS: dict[str, dict[str, Any]] = {
    "port restricted": {"mapping": "endpoint", "filtering": "port"},
    "full cone": {"mapping": "endpoint", "filtering": "endpoint"},
    "symmetric": {"mapping": "port", "filtering": "port"},
}


class Scene:
    """One network with one server at SERVER; peers and phones come in at addresses 10.0.1.N.

    Where `nat` says what NAT boxes are like, each phone is behind one of its own, at HOME, and has no other address.
    """

    nat: ClassVar[Mapping[str, Any] | None] = None

    def __init__(
        self, config: Any = None, *, seed: int = 0, line: Line | None = None,
        domains: Sequence[str] = (DOMAIN,), **server: Any,
    ) -> None:  # fmt: skip
        self.network = Network(seed, line)
        self.server = Server("server", SERVER, config=config, domains=domains, seed=seed, **server)
        self.network.add(self.server)
        self.server.start(self.network.now)
        self._places = self._homes = 0

    @property
    def now(self) -> int:
        return self.network.now

    @property
    def store(self) -> Any:
        return self.server.store

    def run(self, ms: int = 50) -> None:
        self.network.run(ms)

    def place(self) -> Address:
        """An address where nobody is."""
        self._places += 1
        return f"10.0.1.{self._places}", 5060

    def peer(self, name: str, address: Address | None = None) -> Speaker:
        return self.network.add(Speaker(name, address or self.place()))

    def home(self, **kind: Any) -> Nat:
        """A NAT that nobody is behind yet."""
        self._homes += 1
        return Nat(f"home{self._homes}", f"203.0.113.{self._homes}", **{**(self.nat or {}), **kind})

    def phone(
        self, name: str, *, domain: str = DOMAIN, register: bool = True, behind: Nat | None = None,
        address: Address | None = None, **attributes: Any,
    ) -> Phone:  # fmt: skip
        """A phone with attributes set, registered unless told otherwise; `behind` a NAT it is at HOME or `address`."""
        if behind is None and self.nat is not None:
            behind = self.home()
        address = address or (HOME if behind is not None else self.place())
        phone = self.network.add(Phone(name, address, SERVER, domain), behind)
        for key, value in attributes.items():
            if not hasattr(phone, key):
                raise AttributeError(key)
            setattr(phone, key, value)
        if register:
            phone.register()
            self.network.wait(lambda: phone.registered, what=f"{name} to register")
        return phone


class Speaker(Peer):
    """A peer that writes requests to the server for a test.

    It acknowledges a 480 about redial, as phones do (RFC 3261 §17.1.1.3), unless it is `quiet`; no other final response.
    """

    def __init__(self, name: str, address: Address) -> None:
        super().__init__(name, address)
        self._invites: dict[str, Sip] = {}  # by branch

    def receive(self, data: bytes, source: Address, now: int) -> None:
        super().receive(data, source, now)
        answer = Sip(data)
        invite = self._invites.get(answer.branch)
        if self.answers_probes and invite is not None and answer.status == 480 and "redial" in answer.first("warning"):
            self.ack(invite, answer)

    def text(
        self, method: str, uri: str, *, to: str = "", sender: str = "", call_id: str = "", cseq: int = 1,
        branch: str = "", via: str = "", headers: Headers = (), body: bytes = b"", forwards: int | None = 70,
        route: Sequence[str] = (), contact: str | None = None, tag: str = "",
    ) -> bytes:  # fmt: skip
        """A request as text; everything that a test does not name is made up."""
        contact = f"<sip:{self.name}@{literal(self.address)}>" if contact is None else contact
        branch = branch or self.token("z9hG4bK")
        lines = [("Via", via or f"SIP/2.0/UDP {literal(self.address)};branch={branch}")]
        lines += [("Max-Forwards", str(forwards))] if forwards is not None else []
        lines += [("Route", value) for value in route]
        lines += [
            ("From", sender or f"<sip:{self.name}@{DOMAIN}>;tag={tag or self.token('f')}"),
            ("To", to or f"<{uri}>"), ("Call-ID", call_id or self.token("c")), ("CSeq", f"{cseq} {method}"),
        ]  # fmt: skip
        lines += [("Contact", contact)] if contact else []
        return request(method, uri, [*lines, *headers], body)

    def say(self, data: bytes, to: Address = SERVER) -> Sip:
        self.transmit(data, to)
        message = Sip(data)
        if message.method == "INVITE" and not message.status:
            self._invites[message.branch] = message
        return message

    def ask(self, method: str, uri: str, **more: Any) -> Sip:
        """Send a request to the server; returns it."""
        return self.say(self.text(method, uri, **more))

    def again(self, message: Sip) -> None:
        """Send the very same datagram once more."""
        self.transmit(message.raw, SERVER)

    def bind(self, user: str = "", contacts: Sequence[str] = (), expires: int = 3600, domain: str = DOMAIN) -> Sip:
        """REGISTER a user at this peer's address (or at `contacts`)."""
        user = user or self.name
        own = [f"<sip:{user}@{literal(self.address)}>"]
        aor = f"<sip:{user}@{domain}>"
        fields = [("Contact", value) for value in contacts or own] + [("Expires", str(expires))]
        self._count += 1
        return self.ask(
            "REGISTER", f"sip:{domain}", to=aor, sender=f"{aor};tag={self.token('r')}", headers=fields, contact="",
            call_id=f"register-{self.name}", cseq=self._count,
        )  # fmt: skip

    def ack(self, invite: Sip, final: Sip) -> None:
        """ACK to a non-2xx final response, hop by hop (RFC 3261 §17.1.1.3)."""
        fields = [
            ("Via", invite.all("via")[0]), ("Max-Forwards", "70"), ("From", invite.first("from")),
            ("To", final.first("to")), ("Call-ID", invite.call_id), ("CSeq", f"{invite.cseq} ACK"),
        ]  # fmt: skip
        fields += [("Route", value) for value in invite.lines("route")]
        self.transmit(request("ACK", invite.uri, fields), SERVER)

    def cancel(self, invite: Sip, headers: Headers = ()) -> Sip:
        """CANCEL (RFC 3261 §9.1)."""
        fields = [
            ("Via", invite.all("via")[0]), ("Max-Forwards", "70"), ("From", invite.first("from")),
            ("To", invite.first("to")), ("Call-ID", invite.call_id), ("CSeq", f"{invite.cseq} CANCEL"),
        ]  # fmt: skip
        fields += [("Route", value) for value in invite.lines("route")]
        return self.say(request("CANCEL", invite.uri, [*fields, *headers]))

    def got(self, *, but: Sequence[int] = (100,)) -> list[str]:
        """What is in the inbox, in order: methods and status codes; 100 is left out unless asked for."""
        return [str(m.status) if m.status else m.method for m in self.inbox if m.status not in but]


def quiet(scene: Scene, name: str = "alice", **more: object) -> Speaker:
    """Who does not answer by itself: an attacker's victim, or whom a test answers for."""
    peer = scene.peer(name, **more)  # type: ignore[arg-type]
    peer.answers_probes = False
    return peer


def forget_proofs(scene: Scene) -> None:
    """Nobody is proven any more, as after a while of silence."""
    scene.server.proofs[:] = bytes(len(scene.server.proofs))


def is_proven(scene: Scene, peer: Speaker) -> bool:
    """RFC 3261 §17.2.1: who is gets a 480 ten times more, until Timer H; who is not, what one datagram may cause."""
    before = peer.count("INVITE", 480)
    peer.ask("INVITE", "sip:nobody@example.com")
    scene.run(33_000)
    sent = peer.count("INVITE", 480) - before
    assert sent in (4, 11)
    return sent == 11
