"""python -m benchmarks.flood: does a flood, from one source or from many, take the server from its phones?

One server on one core. Beside it two phones that register and call ten times a second, and for each kind of flood a sender
at a fixed rate, on the other core. All on loopback, and bounded in time.
Exit status: 0 where enough rounds got through in each.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from ..accounting import PROC, cpu_seconds, family, kernel_drops
from ..peers.servers import Peer, running
from ..run import OURS, SERVER_CORE, beside_the_server
from .kinds import FLOODS, send
from .phones import DOMAIN, HOSTS, Phones

RATE = 150_000
ROUNDS = 120
A_SECOND = 10
ENOUGH = 118
SOON = 0.5  # seconds
AFTER = 5.0  # seconds after a flood, for what is given back
SOURCES = (1, 10_000)


@dataclass
class Seen:
    """What came of one flood."""

    kind: str
    sources: int
    done: int
    rounds: int
    slowest: float
    repeated: int
    sent: int
    drops: int
    memory: tuple[float, float, float]
    """MB of the server before the flood, at its end and a while after it"""
    busy: float
    """of a core"""
    failure: str

    def is_enough(self, enough: int) -> bool:
        """Whether the phones were served."""
        return self.done >= enough and (self.slowest <= SOON or self.drops > 0)


def main() -> int:
    arguments = parse()
    kinds = [kind for kind in FLOODS if not arguments.kinds or kind.split()[0].lower() in arguments.kinds]
    enough = round(arguments.rounds * ENOUGH / ROUNDS)
    print(
        f"{arguments.rate:,} datagrams a second, {arguments.rounds} rounds of two phones, {A_SECOND} a second; "
        f"served is {enough} rounds, answers within {SOON * 1000:.0f} ms"
    )
    print(f"{'flood':28}{'sources':>8}{'rounds':>10}{'slowest':>10}{'again':>7}{'sent/s':>10}{'drops':>10}"
          f"{'core':>7}  MB before, at the end, after")  # fmt: skip
    bad = 0
    with tempfile.TemporaryDirectory(prefix="sipfast-flood-") as folder:
        options = [*(("--users", write_users(Path(folder) / "users")) if arguments.passwords else ()), *arguments.serve]
        for kind in kinds:
            for sources in arguments.sources:
                seen = one_flood(kind, sources, arguments.rate, arguments.rounds, options)
                good = seen.is_enough(enough)
                bad += not good
                show(seen, arguments.rounds / A_SECOND, good)
    return 1 if bad else 0


def write_users(path: Path) -> str:
    """The phones, whose passwords are their names, as `sipfast users` writes them."""
    from sipfast.identity.user_file import Record, secrets_of, write_records

    write_records(path, [Record(user=name, realm=DOMAIN, **secrets_of(name, DOMAIN, name)) for name in HOSTS])
    return str(path)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.flood", description=__doc__)
    parser.add_argument("kinds", nargs="*", help="first words of the kinds of flood, lower case; all of them by default")
    parser.add_argument("--rate", type=int, default=RATE, help="datagrams a second (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of the phones (default %(default)s)")
    parser.add_argument("--sources", type=int, nargs="+", default=SOURCES, help="addresses that a flood comes from")
    parser.add_argument("--passwords", action="store_true", help="the server has users, and the phones their passwords")
    parser.add_argument("--serve", nargs=argparse.REMAINDER, default=[], help="options for sipfast serve; the last argument")
    return parser.parse_args()


def show(seen: Seen, seconds: float, good: bool) -> None:
    before, at_end, after = seen.memory
    rounds = f"{seen.done:>5} of {seen.rounds:<3}{seen.slowest * 1000:>7.0f} ms{seen.repeated:>7}"
    print(f"{seen.kind:28}{seen.sources:>8,}{rounds}"
          f"{seen.sent / seconds:>10,.0f}{seen.drops:>10,}{seen.busy:>6.0%}  {before:.0f}, {at_end:.0f}, {after:.0f}"
          f"{'' if good else '  NOT SERVED ' + seen.failure}", flush=True)  # fmt: skip


def one_flood(kind: str, sources: int, rate: int, rounds: int, options: list[str]) -> Seen:
    """A fresh server, its phones, and a flood for as long as their rounds take."""
    with beside_the_server() as pinned, running(OURS, "flood", SERVER_CORE if pinned else None, options=options) as peer:
        phones = Phones(peer.port)
        try:
            phones.register("silent")
            for _ in range(A_SECOND):  # proven by their first answers
                phones.round()
            return flooded(kind, sources, rate, rounds, peer, phones)
        finally:
            phones.close()


def flooded(kind: str, sources: int, rate: int, rounds: int, peer: Peer, phones: Phones) -> Seen:
    phones.told = type(phones.told)()
    before, cpu, drops = memory(peer.pid), cpu_seconds(peer.pid), kernel_drops(peer.port)
    counted = multiprocessing.get_context("spawn").Array("Q", 1)
    flood = multiprocessing.get_context("spawn").Process(
        target=send, args=(peer.port, FLOODS[kind], sources, rate, rounds / A_SECOND + 1, counted), daemon=True
    )
    flood.start()
    while not counted[0] and flood.is_alive():
        time.sleep(0.01)
    began = time.monotonic()
    for number in range(rounds):
        time.sleep(max(0, began + number / A_SECOND - time.monotonic()))
        phones.round()
    took = time.monotonic() - began
    at_end, busy = memory(peer.pid), (cpu_seconds(peer.pid) - cpu) / took
    dropped = kernel_drops(peer.port) - drops
    flood.join(rounds / A_SECOND + 30)
    if counted[0] <= 1:
        raise RuntimeError(f"the flood of {kind} was not sent")
    time.sleep(AFTER)
    told = phones.told
    return Seen(
        kind,
        sources,
        told.done,
        told.rounds,
        told.slowest,
        told.repeated,
        counted[0],
        dropped,
        (before, at_end, memory(peer.pid)),
        busy,
        told.failures[0] if told.failures else "",
    )


def memory(pid: int) -> float:
    """Resident MB of a process and its children."""
    lines = (line for one in family(pid) for line in (PROC / str(one) / "status").read_text().splitlines())
    return sum(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024


if __name__ == "__main__":
    sys.exit(main())
