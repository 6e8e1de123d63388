"""The table of docs/security.md: what one datagram of each kind causes towards addresses that have proven nothing.

An attacker forges the victim's address, or has had things bound that lead to victims; nobody of those ever answers. What is
counted goes on until the last timer has run out, and to all of them together.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from net.scene import SERVER, Scene, Speaker
from net.sipwire import Sip, literal
from net.upstream import Upstream

from sipfast.config import Config, Redial, Registrar
from sipfast.config import Upstream as Behind

PAGE = (Path(__file__).parent.parent.parent / "docs" / "security.md").read_text()
DATAGRAMS, TIMES = 4, 6  # of the budget
BEHIND = ("10.0.5.1", 5060)
END = 400_000  # ms: Timer C, and all that comes after it
MOST = 16  # bindings


class Stage:
    """A server, alone or with an upstream, that an attacker has prepared."""

    def __init__(self, behind: bool) -> None:
        self.behind = behind
        self.sent: list[bytes] = []  # to the server, in what was measured last
        settings: dict[str, object] = {"registrar": Registrar(max_contacts=MOST), "redial": Redial(guard=0.0, order="all")}
        if behind:
            settings["upstream"] = (Behind(uri=f"sip:{literal(BEHIND)}", domains=("example.com",)),)
        self.scene = Scene(Config(**settings))  # type: ignore[arg-type]
        self.known = {"server"}
        if behind:
            self.known.add(self.scene.network.add(Upstream("upstream", BEHIND)).name)
        self.victim = self.silent("victim")

    def silent(self, name: str) -> Speaker:
        """Somebody whose address is forged, and who answers nothing."""
        peer = self.scene.peer(name)
        peer.answers_probes = False
        return peer

    def phone(self, name: str) -> Speaker:
        """Somebody who is really there."""
        peer = self.scene.peer(name)
        self.known.add(name)
        peer.bind()
        self.scene.run()
        return peer

    def bind_silent(self, count: int, more: str = "") -> None:
        """Bindings of bob at so many victims."""
        for i in range(count):
            peer = self.silent(f"bound{i}")
            peer.bind("bob", [f"<sip:bob@{literal(peer.address)}{more}>"])
            self.scene.run()
        self.scene.run(60_000)

    def measure(self, cause: Callable[[], Sip]) -> tuple[int, float]:
        """Datagrams, and bytes for each byte of the one that came in."""
        since = len(self.scene.network.trace)
        sent = cause()
        self.scene.run(END)
        trace = self.scene.network.trace[since:]
        self.sent = [sent.raw, *(event.data for event in trace if event.source == "upstream")]
        out = [event.data for event in trace if event.source == "server" and event.target not in self.known]
        return len(out), sum(map(len, out)) / len(sent.raw)


def asks(method: str, uri: str = "sip:bob@example.com", **more: object) -> Callable[[Stage], tuple[int, float]]:
    return lambda stage: stage.measure(lambda: stage.victim.ask(method, uri, **more))


def bound(count: int, method: str, more: str = "", **fields: object) -> Callable[[Stage], tuple[int, float]]:
    def run(stage: Stage) -> tuple[int, float]:
        stage.bind_silent(count, more)
        return stage.measure(lambda: stage.victim.ask(method, "sip:bob@example.com", **fields))

    return run


def register(stage: Stage) -> tuple[int, float]:
    return stage.measure(lambda: stage.victim.bind("bob"))


def query(more: str = "") -> Callable[[Stage], tuple[int, float]]:
    def run(stage: Stage) -> tuple[int, float]:
        stage.bind_silent(MOST, more)
        aor = "<sip:bob@example.com>"
        return stage.measure(
            lambda: stage.victim.ask("REGISTER", "sip:example.com", to=aor, sender=f"{aor};tag=1", contact="")
        )

    return run


def waited_for(stage: Stage) -> tuple[int, float]:
    """Many callers are to wait for bob, who registers: all are forged, and none acknowledges its 480."""
    for i in range(MOST):
        stage.silent(f"caller{i}").ask("INVITE", "sip:bob@example.com", headers=[("Expires", "3600")])
        stage.scene.run()
    stage.scene.run(60_000)
    return stage.measure(lambda: stage.victim.bind("bob"))


def copied(stage: Stage) -> tuple[int, float]:
    """The phone has answered 183; what is measured is what a copy of the INVITE adds to what that one causes."""
    found = []
    for copies in (0, 1):
        scene = Stage(stage.behind)
        phone = scene.phone("bob")
        invite = scene.victim.ask("INVITE", "sip:bob@example.com")
        scene.scene.run()
        phone.answer(phone.take("INVITE"), 183, body=b"x" * 800)
        scene.scene.run(1_000)

        def again(scene: Stage = scene, invite: Sip = invite, copies: int = copies) -> Sip:
            if copies:
                scene.victim.again(invite)
            return invite

        found.append(scene.measure(again))
        stage.sent = scene.sent
    (without, before), (with_it, after) = found
    return with_it - without, after - before


def refused(stage: Stage) -> tuple[int, float]:
    """What is measured is the phone's 486."""
    phone = stage.phone("bob")
    stage.victim.ask("INVITE", "sip:bob@example.com")
    stage.scene.run()
    invite = phone.take("INVITE")

    def answer() -> Sip:
        phone.answer(invite, 486)
        return Sip(stage.scene.network.trace[-1].data)

    return stage.measure(answer)


def alone_in_a_dialog(method: str) -> Callable[[Stage], tuple[int, float]]:
    return asks(method, to="<sip:bob@example.com>;tag=x")


def malformed(stage: Stage) -> tuple[int, float]:
    text = stage.victim.text("INVITE", "sip:bob@example.com").replace(b"CSeq: 1 INVITE", b"CSeq: x")
    return stage.measure(lambda: stage.victim.say(text))


def spiral(stage: Stage) -> tuple[int, float]:
    """Users that lead to each other by the server's own address, and at last to victims."""
    for i in range(MOST):
        stage.silent(f"hop{i}").bind("bob", [f"<sip:carol{i}@{literal(SERVER)}>"])
        for j in range(4):
            peer = stage.silent(f"end{i}-{j}")
            peer.bind(f"carol{i}", [f"<sip:x@{literal(peer.address)}>"])
        stage.scene.run()
    stage.scene.run(60_000)
    return stage.measure(lambda: stage.victim.ask("INVITE", "sip:bob@example.com"))


def stray(stage: Stage) -> tuple[int, float]:
    via = f"SIP/2.0/UDP {literal(SERVER)};branch=z9hG4bKsf000001000000000000011234567800000000"
    text = (
        f"SIP/2.0 200 OK\r\nVia: {via}\r\nVia: SIP/2.0/UDP 203.0.113.9;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\n"
        "To: <sip:b@b>;tag=2\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n"
    )
    return stage.measure(lambda: stage.victim.say(text.encode()))


LARGE = ";x=" + "y" * 1_300

ROWS: dict[str, Callable[[Stage], tuple[int, float]]] = {
    "REGISTER": register,
    "REGISTER, without a Contact, 16 bindings": query(),
    "REGISTER, without a Contact, 16 bindings of 1,300 bytes": query(LARGE),
    "REGISTER of somebody whom 16 callers are to wait for": waited_for,
    "OPTIONS to the server": asks("OPTIONS", f"sip:{literal(SERVER)}"),
    "INVITE to nobody": asks("INVITE"),
    "INVITE to nobody, arming a watch": asks("INVITE", headers=[("Expires", "3600")]),
    "INVITE to a phone": bound(1, "INVITE"),
    "INVITE to 16 phones": bound(MOST, "INVITE"),
    "INVITE to 16 phones, Contacts of 1,300 bytes": bound(MOST, "INVITE", LARGE),
    "INVITE with a From of 4,000 bytes, to 16 phones": bound(
        MOST, "INVITE", sender=f'"{"x" * 4_000}" <sip:x@example.com>;tag=1'
    ),
    "INVITE that comes back by the server's own address": spiral,
    "INVITE again, after a 183": copied,
    "486 of a phone": refused,
    "SUBSCRIBE to 16 phones": bound(MOST, "SUBSCRIBE", headers=[("Event", "presence")]),
    "MESSAGE to a phone": bound(1, "MESSAGE"),
    "MESSAGE to 16 phones": bound(MOST, "MESSAGE"),
    "PUBLISH": asks("PUBLISH", headers=[("Event", "presence")]),
    "BYE of no call": alone_in_a_dialog("BYE"),
    "CANCEL of nothing": asks("CANCEL"),
    "ACK of nothing": alone_in_a_dialog("ACK"),
    "a malformed INVITE": malformed,
    "a response to nothing": stray,
}


def measured(name: str, stages: tuple[Stage, Stage]) -> str:
    cells = []
    for stage in stages:
        datagrams, times = ROWS[name](stage)
        cells += [str(datagrams), f"{times:.1f}"]
    return f"| {name} | " + " | ".join(cells) + " |"


@pytest.mark.parametrize("name", ROWS)
def test_the_page_says_what_is_measured(name: str) -> None:
    _, behind = stages = Stage(False), Stage(True)
    row = measured(name, stages)
    assert row in PAGE.splitlines()
    out, times, out_behind, times_behind = map(float, row.strip("| ").split(" | ")[1:])
    assert out <= DATAGRAMS and times <= TIMES
    # What the upstream sends is its own.
    assert out_behind <= DATAGRAMS * len(behind.sent)
    assert times_behind * len(behind.sent[0]) <= TIMES * sum(map(len, behind.sent))


if __name__ == "__main__":
    for each in ROWS:
        print(measured(each, (Stage(False), Stage(True))))
