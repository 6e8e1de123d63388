"""What the tests of automatic redial set their scenes with: alice calls, bob is called."""

from __future__ import annotations

from typing import Any

from net.network import Event
from net.phone import Call, Phone
from net.scene import Scene
from net.sipwire import Sip, uri_of
from sipfast.config import Config, Peer, Redial
from sipfast.store.codec import StoredWatch

ALICE, BOB = b"sip:alice@example.com", b"sip:bob@example.com"
BUSY = {"retry_pause": 600.0, "attempts": 1}  # of a caller who is, once he is called back
CALL_INFO = "<sip:bob@example.com>;purpose=call-completion;m=NL"


def stage(redial: dict[str, Any] | None = None, *, peer: tuple[Peer, ...] = (), **more: Any) -> tuple[Scene, Phone, Phone]:
    """Alice is registered, bob is not."""
    more.setdefault("believes", "callers" not in (redial or {}))
    scene = Scene(Config(redial=Redial(**{"methods": ("refer",), **(redial or {})}), peer=peer), **more)
    return scene, scene.phone("alice"), scene.phone("bob", register=False)


def watch_of(scene: Scene, caller: bytes = ALICE, callee: bytes = BOB) -> StoredWatch | None:
    found: StoredWatch | None = scene.store.watch(callee, caller)
    return found


def arm(scene: Scene, caller: Phone, expires: int | None = 3600, callee: str = "bob") -> Call:
    """A call that finds nobody."""
    call = caller.call(callee, expires)
    scene.network.wait(lambda: call.over)
    assert call.status == 480
    scene.run(10)  # until its ACK is there: it is final only then
    return call


def armed(redial: dict[str, Any] | None = None, **more: Any) -> tuple[Scene, Phone, Phone]:
    scene, alice, bob = stage(redial, **{"believes": False, **more})
    arm(scene, alice)
    assert watch_of(scene) is not None
    return scene, alice, bob


def come_back(scene: Scene, bob: Phone) -> None:
    bob.register()
    scene.network.wait(lambda: bob.registered)


def refers(scene: Scene) -> list[Event]:
    """Every REFER that the server sent, one event for each; retransmissions count once."""
    found: dict[bytes, Event] = {}
    for event in scene.network.trace:
        if event.source == "server" and event.data.startswith(b"REFER "):
            found.setdefault(event.data, event)
    return list(found.values())


def refer_names(scene: Scene) -> list[str]:
    """Who was asked to call, in order."""
    return [uri_of(Sip(event.data).first("to")).partition("@")[0][4:] for event in refers(scene)]


def final_of(call: Call) -> Sip:
    assert call.final is not None
    return call.final


def refused(redial: dict[str, Any] | None = None) -> tuple[Scene, Phone, Phone]:
    """Bob is back, alice has refused the REFER; the watch waits for a long pause to end."""
    scene, alice, bob = armed({"retry_pause": 3600.0, **(redial or {})})
    alice.on_refer = "603"
    come_back(scene, bob)
    scene.run(1_000)
    watch = watch_of(scene)
    assert watch is not None and watch.state == "armed" and len(refers(scene)) == 1
    alice.on_refer = "accept"
    return scene, alice, bob


def suspended(status: str = "486", **more: Any) -> tuple[Scene, Phone, Phone]:
    """Bob is back, and alice cannot take the recall now; next time she could."""
    scene, alice, bob = armed(BUSY, **more)
    alice.on_refer = status
    come_back(scene, bob)
    scene.run(1_000)
    watch = watch_of(scene)
    assert watch is not None and (watch.state, watch.attempts) == ("suspended", 0)
    alice.on_refer = "accept"
    return scene, alice, bob


def three_callers(redial: dict[str, Any] | None = None) -> tuple[Scene, list[Phone], Phone]:
    """Carol, alice and dave called, in this order."""
    scene = Scene(Config(redial=Redial(**{"methods": ("refer",), **(redial or {})})), believes=False)
    callers = [scene.phone(name, talk_time=10_000) for name in ("carol", "alice", "dave")]
    bob = scene.phone("bob", register=False, lines=5)
    for caller in callers:
        arm(scene, caller)
        scene.run(1_000)
    return scene, callers, bob
