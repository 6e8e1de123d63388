"""Epochs of a town: callers are armed, callees come back, all are called back, while the server is killed all along."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import time

from command import environment
from peers.phones import now

from .faults import all_of_them
from .town import Failed, Town

SHOULD = 60.0  # seconds in which all is settled, once it is left in peace
PAGE = 4096


def epoch(town: Town, die: random.Random, kills: int) -> None:
    """One whole round. Raises Failed where it cannot go on; else what is wrong is in the town."""
    register(town)
    arm(town, die, kills // 2)
    _check_armed(town)
    _recall(town, die, kills - kills // 2)
    _check_recalled(town)
    _leave(town)


def _torment(town: Town, die: random.Random, kills: int, done: object, tick: object) -> None:
    """One fault after the other until `kills` of them were kills; then peace until `done`."""
    faults = all_of_them()
    wanted = town.counts["kills"] + kills
    while town.counts["kills"] < wanted:
        until = time.monotonic() + die.uniform(0.02, 0.35)

        def pause(until: float = until) -> bool:
            tick()  # type: ignore[operator]
            return time.monotonic() >= until

        town.live(pause, 10, "a pause")
        fault, began = die.choice(faults), now()
        fault(town, die)
        town.done.append(f"{fault.__name__} from {began / 1000:.3f} to {now() / 1000:.3f}")

    def settled() -> bool:
        tick()  # type: ignore[operator]
        return bool(done())  # type: ignore[operator]

    town.live(settled, SHOULD, "")


def register(town: Town) -> None:
    for phone in town.calling:
        phone.register()
    town.live(lambda: all(phone.registered for phone in town.calling), SHOULD, "all callers are registered")
    town.counts["acknowledged"] += len(town.callers)


def arm(town: Town, die: random.Random, kills: int) -> None:
    for caller in town.callers:
        caller.begin(gives_up=die.random() < 0.2)
    town.seen.clear()

    def tick() -> None:
        for caller in town.callers:
            town.counts["acknowledged"] += caller.tick()

    _torment(town, die, kills, lambda: all(caller.settled for caller in town.callers), tick)
    late = [caller.phone.user for caller in town.callers if not caller.settled]
    if late:
        raise Failed(f"no answer that settles it for {', '.join(late)}\n{town.server.story()}")


def _check_armed(town: Town) -> None:
    watched, bound = town.lists()
    wanted = {(caller.callee, caller.phone.user) for caller in town.callers if caller.told == "armed"}
    town.lost([f"watch of {caller} for {callee}" for callee, caller in wanted - watched])
    town.lost([f"that redial is off, of {caller} for {callee}" for callee, caller in watched - wanted])
    town.lost([f"binding of {phone.user}" for phone in town.calling if phone.user not in bound])


def _recall(town: Town, die: random.Random, kills: int) -> None:
    for phone in town.called:
        phone.register()
    waiting = [caller for caller in town.callers if caller.told == "armed"]

    def done() -> bool:
        return all(phone.registered for phone in town.called) and all(caller.answered for caller in waiting)

    _torment(town, die, kills, done, lambda: None)
    town.counts["acknowledged"] += len(town.callers) // 2
    town.lost([f"recall of {caller.phone.user}: {_story(caller)}" for caller in waiting if not caller.answered])
    town.counts["recalled"] += sum(bool(caller.answered) for caller in waiting)


def _story(caller: object) -> str:
    phone = caller.phone  # type: ignore[attr-defined]
    calls = [f"{'recalled ' * call.recalled}{call.state} {call.status}" for call in phone.calls[-4:]]
    return f"calls {calls}, REFERs {[refer.status for refer in phone.refers[-4:]]}"


def _check_recalled(town: Town) -> None:
    # A call of before a start is waited for as long as its INVITE takes to come again, then its caller is called anew.
    town.live(lambda: not town.lists()[0], 30, "")
    watched, bound = town.lists()
    town.twice([f"{caller} still waits for {callee} and was called back" for callee, caller in watched])
    town.lost([f"binding of {phone.user}" for phone in (*town.calling, *town.called) if phone.user not in bound])
    town.live(lambda: False, 1.0, "")
    for caller in town.callers:
        town.twice(caller.faults(town.seen, town.unwritten))


def _leave(town: Town) -> None:
    """The callees log out, and that is told and kept, too."""
    for phone in town.called:
        phone.unregister()
    town.live(lambda: not any(phone.registered for phone in town.called), SHOULD, "all callees are gone")
    town.counts["acknowledged"] += len(town.callers) // 2
    town.server.kill()
    town.counts["kills"] += 1
    town.restart()
    _, bound = town.lists()
    town.lost([f"that {phone.user} has logged out" for phone in town.called if phone.user in bound])


# Damage


def damage(town: Town, die: random.Random, rounds: int) -> None:
    """Spoil pages of the file while no server runs: it is refused with a name for what is hit, or all is as it was.

    Then a backup that was made of the running server is restored.
    """
    backup = town.folder / "backup.mdb"
    argv = [sys.executable, "-m", "sipfast", "backup", str(backup), "--data", str(town.data)]
    subprocess.run(town.machine.command(argv), env=environment(), check=True, capture_output=True, timeout=60)
    before = _content(town)
    town.server.stop(15)
    sound = (town.data / "data.mdb").read_bytes()
    for _ in range(rounds):
        spoilt = bytearray(sound)
        for page in die.sample(range(2, len(sound) // PAGE), die.choice((1, 1, 2, 5))):
            other = die.randrange(2, len(sound) // PAGE)
            spoilt[page * PAGE : page * PAGE + PAGE] = die.choice(
                (bytes(PAGE), b"\xff" * PAGE, die.randbytes(PAGE), sound[other * PAGE : other * PAGE + PAGE])
            )
        _put(town, bytes(spoilt))
        argv = [sys.executable, "-m", "sipfast", "watches", "--data", str(town.data)]
        said = subprocess.run(
            town.machine.command(argv), env=environment(), capture_output=True, text=True, timeout=60, check=False
        )
        town.counts["damaged"] += 1
        if said.returncode == 0:
            if _content(town) != before:
                town.lost(["records of a damaged file, without a word"])
            town.counts["free pages"] += 1
        elif said.returncode == 2 and "the store is damaged (page" in said.stderr and said.stderr.count("\n") == 1:
            town.counts["refused"] += 1
            if (town.data / "data.mdb").read_bytes() != spoilt:
                town.lost(["what was left in a damaged file"])
        else:
            town.lost([f"a word about damage: {said.returncode} {said.stderr[-300:]}"])
    _put(town, backup.read_bytes())
    town.restart()
    if _content(town) != before:
        town.lost(["what a backup should hold"])


def _content(town: Town) -> tuple[object, object]:
    watches, bound = town.lists()
    return watches, bound


def _put(town: Town, content: bytes) -> None:
    shutil.rmtree(town.data)
    town.data.mkdir()
    (town.data / "data.mdb").write_bytes(content)
