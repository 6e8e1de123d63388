"""What a day of waiting costs. A watch waits in the store; a subscription to presence has to be refreshed."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .peers.servers import available
from .report import COLOURS, CPU, NAMES, bytes_each, disturbance, drawing, faults, into_block, messages_each, save
from .run import AGENT, OURS, THEIRS, Plan, beside_the_server, machine, one_run, turned

REFRESHES = 10
"""refreshes of a subscription in one cycle, so that what one of them costs stands out of the noise"""
OUTCOME = 3 + 2 + 12 + 2
"""messages of the outcome itself, whatever the way: INVITE 480 ACK, REGISTER 200, the call, REGISTER 200"""
PUBLISHED = 4
"""the callee's two PUBLISHes and their 200s, once for all its watchers"""
WATCHED, REFRESH = 10, 4
"""by the formula: SUBSCRIBE 200 NOTIFY 200, NOTIFY 200, SUBSCRIBE 200 NOTIFY 200; and each refresh"""
HOURS = (1, 8, 24)
EVERY = (600, 1800, 3600)
"""seconds between refreshes; RFC 3856 §6.4 subscribes for 3600 by default"""
WATCHERS = (100, 1_000, 10_000, 100_000, 1_000_000)


def formula(hours: float, every: float) -> float:
    """Messages of one watcher of presence who waits so long and refreshes every so many seconds."""
    return WATCHED + REFRESH * hours * 3600 / every


def compare_waiting(plan: Plan, say: Callable[[str], None]) -> dict[str, Any] | None:
    """Redial, its NOTIFYs included, and presence with and without refreshes, in turns; None where nobody plays presence."""
    agents = [kind for kind in (THEIRS, AGENT) if available(kind, "presence")]
    if not agents:
        return None
    turns = [(OURS, "redial-notify", 0), *((kind, "presence", refreshes) for kind in agents for refreshes in (0, REFRESHES))]
    runs: dict[str, dict[str, list[dict[str, Any]]]] = {"plain": {}, "refreshed": {}}
    found: dict[str, Any] = {"machine": machine(), "began": datetime.now(UTC).isoformat(timespec="seconds")}
    with beside_the_server() as pinned:
        for number in range(plan.rounds):
            for kind, mode, refreshes in turned(turns, number):
                run = one_run(kind, mode, plan, pinned, refreshes=refreshes)
                runs["refreshed" if refreshes else "plain"].setdefault(kind, []).append(run)
                say(
                    f"waiting {number + 1}/{plan.rounds} {kind}, {refreshes} refreshes: {messages_each(run):.2f} messages, "
                    f"{bytes_each(run):,.0f} bytes, {run[CPU]:.2f} us CPU each, others kept {run['others']:.2f} cores busy"
                )
    return found | runs | {"pinned": pinned, "rounds": plan.rounds, "seconds": plan.seconds, "refreshes": REFRESHES}


def cpu_each(run: dict[str, Any]) -> float:
    return float(run[CPU])


MEASURES: dict[str, Callable[[dict[str, Any]], float]] = {"messages": messages_each, "bytes": bytes_each, "cpu": cpu_each}


def cycle(found: dict[str, Any], kind: str) -> dict[str, float]:
    """What one outcome took without waiting, median of the rounds: messages, bytes, µs of the server's CPU."""
    return {name: statistics.median(map(of, found["plain"][kind])) for name, of in MEASURES.items()}


def refresh(found: dict[str, Any], kind: str) -> dict[str, float]:
    """What one refresh took, round by round what the cycle with them took more; nothing for redial."""
    if kind not in found["refreshed"]:
        return dict.fromkeys(MEASURES, 0.0)
    pairs = list(zip(found["refreshed"][kind], found["plain"][kind], strict=True))
    return {
        name: statistics.median((of(much) - of(little)) / found["refreshes"] for much, little in pairs)
        for name, of in MEASURES.items()
    }


def waited(found: dict[str, Any], kind: str, hours: float, every: float) -> dict[str, float]:
    """What one outcome takes after so much waiting, by what was measured; the outcome itself is included."""
    one, more = cycle(found, kind), refresh(found, kind)
    return {name: one[name] + more[name] * hours * 3600 / every for name in MEASURES}


def own(found: dict[str, Any], kind: str) -> float:
    """Messages that are the way's and the waiter's, without those of the outcome and of PUBLISH."""
    return cycle(found, kind)["messages"] - OUTCOME - (PUBLISHED if kind in found["refreshed"] else 0)


def table(found: dict[str, Any]) -> str:
    """The Markdown."""
    parts = [counted(found), summary(found), costs(found), (f"- {line}" for line in remarks(found))]
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def counted(found: dict[str, Any]) -> Iterator[str]:
    """The formula's parts against what the generator has counted."""
    yield "| server | messages each | the outcome | PUBLISH | waiting, counted | formula | a refresh, counted | formula |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    for kind in found["plain"]:
        line = f"| {NAMES[kind]} | {cycle(found, kind)['messages']:.2f} | {OUTCOME} "
        if kind in found["refreshed"]:
            line += f"| {PUBLISHED} | {own(found, kind):.2f} | {WATCHED} "
            yield line + f"| {refresh(found, kind)['messages']:.2f} | {REFRESH} |"
        else:
            yield line + f"| | {own(found, kind):.2f} | | | |"


def summary(found: dict[str, Any]) -> Iterator[str]:
    """Messages of one who waits, by the formula."""
    yield "| waiting | presence, refreshed every | messages | redial: messages | presence / redial |"
    yield "| ---: | ---: | ---: | ---: | ---: |"
    few = own(found, OURS)
    for hours in HOURS:
        for every in EVERY:
            many = formula(hours, every)
            yield f"| {hours} h | {every:,} s | {many:,.0f} | {few:.0f} | **{many / few:,.0f} x** |"


def costs(found: dict[str, Any]) -> Iterator[str]:
    """Bytes and CPU, by what was measured."""
    yield "| server | waiting | refreshed every | bytes | server CPU ms | bytes / redial's | CPU / redial's |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: | ---: |"
    ours = cycle(found, OURS)
    yield f"| {NAMES[OURS]}, redial | any | never | {ours['bytes']:,.0f} | {ours['cpu'] / 1000:.2f} | | |"
    for kind in found["refreshed"]:
        for hours in HOURS:
            for every in EVERY:
                cost = waited(found, kind, hours, every)
                yield (
                    f"| {NAMES[kind]} | {hours} h | {every:,} s | {cost['bytes']:,.0f} | {cost['cpu'] / 1000:.2f} "
                    f"| {cost['bytes'] / ours['bytes']:,.1f} x | {cost['cpu'] / ours['cpu']:,.1f} x |"
                )


def remarks(found: dict[str, Any]) -> Iterator[str]:
    for kind in found["refreshed"]:
        more = refresh(found, kind)
        yield (
            f"a refresh with {NAMES[kind]}: {more['messages']:.2f} messages, {more['bytes']:,.0f} bytes, "
            f"{more['cpu']:.1f} µs of CPU ({found['refreshes']} of them in a cycle against none)"
        )
    yield (
        "messages are those of waiting alone, by 10 + 4 W 3600 / E; bytes and CPU are measured and include the outcome: "
        "its call, and what tells that the callee is back"
    )
    yield (
        "redial: the REFER, the two NOTIFYs of RFC 3515, and their answers; one INVITE arms a watch for up to a day "
        "(`redial.max_period`), and nothing is sent until the callee is back"
    )
    yield ("a refresh was measured with some 30 subscriptions at a time; with very many of them it is taken to be the same")
    yield (
        f"{found['began']}; {found['machine']['cpu']}, {found['machine']['kamailio'] or 'no Kamailio'}; "
        f"{found['rounds']} rounds in turns of {found['seconds']:g} s{'' if found['pinned'] else ' (NOT PINNED)'}"
    )
    everything = [run for part in ("plain", "refreshed") for runs in found[part].values() for run in runs]
    yield disturbance(everything)
    yield from faults(everything)


def into_readme(readme: Path, found: dict[str, Any]) -> None:
    """Put the newest table where the README shows it."""
    into_block(readme, "waiting", "\n".join(summary(found)) + "\n")


def plot(found: dict[str, Any], folder: Path) -> list[Path]:
    """Messages over the hours, and the server's CPU over the number of those who wait a day."""
    pyplot = drawing()
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10.2, 4.0))
    over_hours(left, found)
    over_watchers(right, found)
    figure.tight_layout()
    written = save(figure, folder, "waiting")
    pyplot.close(figure)
    return written


def over_hours(axis: Any, found: dict[str, Any]) -> None:
    hours = [quarter / 4 for quarter in range(97)]
    for every, style in zip(EVERY, (":", "--", "-"), strict=True):
        label = f"presence, refreshed every {every:,} s"
        axis.plot(hours, [formula(each, every) for each in hours], style, color=COLOURS[THEIRS], label=label)
    axis.plot(hours, [own(found, OURS)] * len(hours), color=COLOURS[OURS], label="redial")
    axis.set_yscale("log")
    axis.yaxis.set_major_formatter("{x:,.0f}")
    axis.set_xlim(0, 24)
    axis.set_ylim(1, 1000)
    axis.set_xticks(range(0, 25, 4))
    axis.set_xlabel("hours of waiting")
    axis.set_ylabel("messages for one who waits")
    axis.legend(fontsize=8, loc="lower right")


def over_watchers(axis: Any, found: dict[str, Any]) -> None:
    hours, every = HOURS[-1], EVERY[-1]
    for kind in found["plain"]:
        label = f"{NAMES[kind]}, redial" if kind == OURS else NAMES[kind]
        axis.plot(WATCHERS, day(found, kind, hours, every), marker="o", color=COLOURS[kind], label=label)
    axis.axhline(hours * 3600, color="#7f7f7f", linewidth=1, linestyle="--", label="one core, all day")
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.xaxis.set_major_formatter("{x:,.0f}")
    axis.yaxis.set_major_formatter("{x:,g}")
    axis.set_xlabel(f"who wait {hours} h each, refreshed every {every:,} s, call included")
    axis.set_ylabel("server CPU, seconds a day")
    axis.legend(fontsize=8)


def day(found: dict[str, Any], kind: str, hours: float, every: float) -> Sequence[float]:
    """Seconds of CPU for each number of watchers."""
    return [watchers * waited(found, kind, hours, every)["cpu"] / 1e6 for watchers in WATCHERS]
