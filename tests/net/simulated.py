"""The simulated phones of docs/redial.md: one for each stack that was tried, and one for each answer that a phone may give.

Each is recalled by the generic order, as a phone that nobody knows, and `reached` says what gets the call through.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from net.recalling import Stage, arm_surely, recalled, set_up
from net.redialing import watch_of
from net.stores import count_watches
from net.stubborn import PHONES
from sipfast.config import METHODS
from sipfast.store.codec import StoredWatch

GENERIC: dict[str, Any] = {"methods": METHODS}


@dataclass(frozen=True)
class Simulated:
    """What a phone does; `ways` are all that it may do instead of each other."""

    name: str
    ways: tuple[dict[str, Any], ...]
    reached: str  # the method that gets the call through; "message": there is no call, and its user is told
    until: str = ""  # what has happened before, "a REFER", or what the watch waits for: "suspended", "his login"
    then: dict[str, Any] = field(default_factory=dict)  # what it does from then on
    act: Callable[[Stage], object] | None = None  # what happens then

    @property
    def row(self) -> str:
        """Its row in the documentation."""
        before = {"": "", "a REFER": "", "suspended": "suspended, then ", "his login": "waits for Bob's next login, then "}[
            self.until
        ]
        return f"| {self.name} | {before}`{self.reached}` |"


def comes_back(scene: Stage) -> None:
    """Alice's phone registers."""
    if scene.network.seen(scene.alice, scene.server.address) is None:
        scene.network.plug(scene.alice)
    scene.alice.register()


def restarts(scene: Stage) -> None:
    """The server does, once her phone has said that it will call."""
    scene.run(500)
    if scene.server.engine is not None:
        scene.server.crash(scene.now, 100)


def logs_in_again(scene: Stage) -> None:
    """Bob goes, and comes."""
    scene.bob.unregister()
    scene.network.wait(lambda: not scene.bob.registered, 300_000, "bob to leave")
    scene.bob.register()


def says(what: str, *statuses: int, **more: Any) -> tuple[dict[str, Any], ...]:
    return tuple({what: str(status), **more} for status in statuses)


OBEYS = {"outside": "accept", "on_invite": "answer"}
FREE = {"on_invite": "answer", "no": "", "ring_time": 1_000}
SIMULATED = (
    *(Simulated(name, (how,), "b2bua" if how.get("inside") == "idle" else "callback") for name, how in PHONES.items()),
    Simulated("obeys a REFER out of a dialog", ({"outside": "accept"},), "refer"),
    Simulated(
        "to REFER: 400, 403, 405, 408, 420, 421, 481, 489, 491, 500, 501, 503, 603",
        says("outside", 400, 403, 405, 408, 420, 421, 481, 489, 491, 500, 501, 503, 603), "callback",
    ),
    Simulated("to REFER: silence", ({"outside": "silence"},), "callback"),
    Simulated("to REFER: 202, and no INVITE", ({"outside": "idle"},), "callback"),
    Simulated("to REFER: 202, and a NOTIFY that it could not", ({"outside": "fails"},), "callback"),
    Simulated(
        "to a REFER repeated after a restart: 482", ({"outside": "accept", "dial_delay": 3_000},), "refer", "a REFER",
        act=restarts,
    ),
    Simulated(
        "to REFER: 404, 410, 430, 480", says("outside", 404, 410, 430, 480), "refer", "suspended", OBEYS, comes_back
    ),
    Simulated("to the callback's INVITE: 404, 408, 410, 430, 480, 302 (not followed), silence", (
        *says("on_invite", 404, 408, 410, 430, 480, 302), {"on_invite": "silent", "lines": 9},
    ), "callback", "suspended", FREE, comes_back),
    Simulated(
        "to the callback's INVITE: 415, 420, 488, 500, 503, 606",
        says("on_invite", 415, 420, 488, 500, 503, 606, on_message="200"), "message",
    ),
    Simulated("to REFER: 486", says("outside", 486), "refer", "suspended", OBEYS),
    Simulated("to the callback's INVITE, before it rings: 486", says("on_invite", 486), "callback", "suspended", FREE),
    Simulated("rings, and its user says 603 or 486, or nobody picks up", (
        *says("no", 603, 486, early="500"), {"early": "500", "ring_time": 60_000},
    ), "callback", "his login", FREE, logs_in_again),
)  # fmt: skip
EACH = [(one, way) for one in SIMULATED for way in one.ways]
IDS = [f"{one.name}{f' ({index + 1})' if len(one.ways) > 1 else ''}" for one in SIMULATED for index in range(len(one.ways))]


def waits(scene: Stage, until: str) -> bool:
    """Whether the watch waits for that."""
    if until == "a REFER":
        return bool(scene.alice.refers)
    if scene.server.engine is None:
        return False
    watch: StoredWatch | None = watch_of(scene)
    if watch is None:
        return False
    return watch.state == "suspended" if until == "suspended" else watch.not_before >= watch.expires_at


def played(one: Simulated, way: dict[str, Any], redial: dict[str, Any] | None = None, **more: Any) -> Stage:
    """A whole redial with it."""
    scene = set_up({"ring_time": 1_000, **way}, {**GENERIC, **(redial or {})}, **more)
    arm_surely(scene)
    scene.bob.register()
    if one.until:
        scene.network.wait(partial(waits, scene, one.until), 600_000, f"what the watch waits for ({one.until})")
        for name, value in one.then.items():
            setattr(scene.alice, name, value)
        if one.act is not None:
            one.act(scene)
    scene.network.wait(lambda: scene.server.engine is not None and count_watches(scene.store) == 0, 900_000, "its end")
    if through(scene) != "b2bua":  # whose two dialogs go on
        scene.network.wait(lambda: not scene.store.legs(), 120_000, "the server's dialogs to end")
    scene.run(40_000)
    return scene


def through(scene: Stage) -> str:
    """The method that has got the call through. Where much is lost that may be a later one than else."""
    method: str = scene.store.ended()[0].watch.method
    return method


def check(one: Simulated, scene: Stage, most: int = 1) -> None:
    """Exactly one confirmed call, or with a restart one more at the most; by `message` none, and its user knows."""
    ladder = scene.network.ladder
    if one.reached == "message":
        assert scene.alice.messages and not any(call.was_answered for call in scene.bob.calls), ladder()
        return
    talks = [call for call in scene.bob.calls if call.was_answered]
    assert 1 <= len(talks) <= most, f"{len(talks)} confirmed calls\n{ladder()}"
    if through(scene) != "b2bua":
        assert 1 <= len(recalled(scene)) <= most, ladder()
    assert talks[-1].state == "talking", ladder()


def rows(page: str) -> Iterator[str]:
    """Those of the documentation's table."""
    lines = iter(page.splitlines())
    for line in lines:
        if line.startswith("| simulated phone |"):
            next(lines)
            break
    for line in lines:
        if not line.startswith("|"):
            return
        yield line
