"""What the comparison found, as a Markdown table and as plots."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from .recall import recalls
from .run import OURS, THEIRS, Plan, ratios, users_of

NAMES = {
    "sipfast": "sipfast",
    "sipfast-power": "sipfast, durability power",
    "sipfast-presence": "presence on sipfast's core",
    "kamailio": "Kamailio",
    "kamailio-redial": "Kamailio with htable and uac",
    **{f"sipfast-{count}-workers": f"sipfast, workers: {count}" for count in (1, 2, 4)},
    "echo": "C echo (limit)",
    "echo-one-by-one": "C echo, one by one",
    "uvloop": "uvloop echo",
}
COLOURS = {
    "sipfast": "#1b6ca8",
    "sipfast-power": "#6baed6",
    "sipfast-presence": "#3a9e6e",
    "kamailio": "#d97b29",
    "kamailio-redial": "#b3541e",
    "echo": "#7f7f7f",
    "uvloop": "#b8b8b8",
}
CPU = "cpu_us_per_cycle"
RATE = "cycles_per_second"


def median(runs: Sequence[dict[str, Any]], key: str) -> float:
    return statistics.median(run[key] for run in runs)


def table(found: dict[str, Any]) -> str:
    """The Markdown."""
    parts = [
        "\n".join(summary(found)),
        "\n".join(speeds(found["rows"])),
        *filter(None, ["\n".join(methods(found["rows"]))]),
        "\n".join(latencies(found["rows"])),
        *filter(None, ["\n".join(recalls(found["rows"], OURS))]),
        "\n".join(f"- {line}" for line in remarks(found)),
    ]
    return "\n\n".join(parts) + "\n"


def summary(found: dict[str, Any]) -> Iterator[str]:
    yield "| | sipfast | Kamailio | more a second | less CPU each | goal |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: |"
    for row in found["rows"]:
        ours, theirs = row["runs"][OURS], row["runs"].get(THEIRS)
        line = f"| {row['title']} | {median(ours, RATE):,.0f} {row['unit']} "
        yield line + (beside(ours, theirs, row["goals"]) if theirs else f"| | | | {wanted(row['goals'])} |")
        for kind, goals in row.get("further", {}).items():
            if kind in row["runs"]:
                line = f"| {row['title']}: {NAMES[kind]} | {median(ours, RATE):,.0f} {row['unit']} "
                yield line + beside(ours, row["runs"][kind], goals)


def beside(ours: Sequence[dict[str, Any]], theirs: Sequence[dict[str, Any]], goals: Sequence[float]) -> str:
    """The rest of a line that compares."""
    faster = ratios(ours, theirs, RATE)
    cheaper = tuple(1 / each for each in ratios(ours, theirs, CPU))
    shown = f"{ratio(faster)} | {ratio((cheaper[0], cheaper[2], cheaper[1]))}"
    return f"| {median(theirs, RATE):,.0f} | {shown} | {wanted(goals)} |"


def wanted(goals: Sequence[float]) -> str:
    return ", then ".join(f"{goal:g} x" for goal in goals)


def ratio(of: Sequence[float]) -> str:
    return f"**{of[0]:.2f} x** ({of[1]:.2f} to {of[2]:.2f})"


def speeds(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    yield "| | server | a second: median | min to max | CPU µs each: median | min to max | CPU µs a message |"
    yield "| --- | --- | ---: | ---: | ---: | ---: | ---: |"
    for row in rows:
        for kind, runs in row["runs"].items():
            rates, costs = [run[RATE] for run in runs], [run[CPU] for run in runs]
            yield (
                f"| {row['title']} | {NAMES[kind]} | {median(runs, RATE):,.0f} | {min(rates):,.0f} to {max(rates):,.0f} "
                f"| {median(runs, CPU):.2f} | {min(costs):.2f} to {max(costs):.2f} "
                f"| {median(runs, 'cpu_us_per_message'):.2f} |"
            )


def methods(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """What one outcome takes, where the contenders come to it in different ways."""
    heading = "| | server | way | messages each | bytes each | messages: ours = 1 | bytes: ours = 1 |"
    for row in rows:
        ways = {kind: runs[0]["mode"] for kind, runs in row["runs"].items() if runs[0]["mode"] != "echo"}
        if len(set(ways.values())) < 2:
            continue
        if heading:
            yield heading
            yield "| --- | --- | --- | ---: | ---: | ---: | ---: |"
            heading = ""
        own = [statistics.median(map(count, row["runs"][OURS])) for count in (messages_each, bytes_each)]
        for kind, way in ways.items():
            each = [statistics.median(map(count, row["runs"][kind])) for count in (messages_each, bytes_each)]
            more = " | ".join(f"{a / b:.2f} x" for a, b in zip(each, own, strict=True))
            yield f"| {row['title']} | {NAMES[kind]} | {way} | {each[0]:.2f} | {each[1]:,.0f} | {more} |"


def messages_each(run: dict[str, Any]) -> float:
    """Of both directions, for one that was completed; without 100 Trying, which a fast server need not send."""
    counters = run["counters"]
    return float(counters["sent"] + counters["received"] - counters["provisional"]) / max(counters["completed"], 1)


def bytes_each(run: dict[str, Any]) -> float:
    """Of SIP, without the headers of UDP and IP; 100 Trying included."""
    counters = run["counters"]
    return float(counters["bytes_sent"] + counters["bytes_received"]) / max(counters["completed"], 1)


def latencies(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    yield "| open loop | server | a second | p50 µs | p99 µs | p99.9 µs |"
    yield "| --- | --- | ---: | ---: | ---: | ---: |"
    for row in rows:
        for kind, runs in row["latency"].items():
            if runs:
                shown = " | ".join(
                    f"{statistics.median(run['latency_us'][name] for run in runs):,.0f}" for name in ("p50", "p99", "p99.9")
                )
                yield f"| {row['title']} | {NAMES[kind]} | {runs[0]['rate']:,.0f} | {shown} |"


def remarks(found: dict[str, Any]) -> Iterator[str]:
    """What one has to know to read the tables."""
    machine, plan = found["machine"], found["plan"]
    everything = [run for row in found["rows"] for runs in row["runs"].values() for run in runs]
    yield (
        f"{found['began']}; {machine['cpu']}, {machine['cores']} cores, Linux {machine['kernel']}, "
        f"Python {machine['python']}, {machine['kamailio'] or 'no Kamailio'}"
    )
    yield (
        f"server on one core, generator on the other{'' if found['pinned'] else ' (NOT PINNED: one core only)'}; "
        f"{plan['rounds']} rounds in turns of {plan['seconds']:g} s; ratios are round by round: median (min to max)"
    )
    yield (
        f"load average {found['load_before'][0]:.2f} before, {found['load_after'][0]:.2f} after; "
        f"{disturbance(everything)}: the CPU figures suffer less from that"
    )
    costs = {
        row["mode"]: statistics.median(run["generator_us_per_message"] for runs in row["runs"].values() for run in runs)
        for row in found["rows"]
    }
    shown = ", ".join(f"{mode} {cost:.2f}" for mode, cost in costs.items())
    yield f"CPU µs that the generator needs for each datagram that it sends, the one that it gets included: {shown}"
    yield "open loops at half of what the slower server did; latency counts from when a request was due"
    for row in found["rows"]:
        for kind, runs in row["runs"].items():
            stored = [run["stored"] for run in runs if "stored" in run]
            if stored:
                killed = [run["stored_after_kill"] for run in runs if "stored_after_kill" in run]
                after = f"; {killed[0]:,} after kill -9 and a restart" if killed else ""
                users = users_of(kind, Plan(users=plan["users"]))
                yield f"{NAMES[kind]}: {min(stored):,} of {users:,} bindings fetched back after REGISTER{after}"
    yield from faults(everything)


def disturbance(runs: Sequence[dict[str, Any]]) -> str:
    """How much others on the machine did meanwhile."""
    others = [run["others"] for run in runs]
    return f"others kept {statistics.median(others):.2f} cores busy (median; most {max(others):.2f})"


def faults(runs: Iterable[dict[str, Any]]) -> Iterator[str]:
    """What went wrong, a line for each run in which anything did."""
    for run in runs:
        if not run["clean"] or run["drops_server"] or run["drops_generator"]:
            counts = {name: run["counters"][name] for name in ("wrong", "stray", "lost", "retransmitted")}
            yield f"{run['mode']}, {NAMES[run['server']]}: {counts}, dropped by the kernel: {run['drops_server']}"


def into_readme(readme: Path, found: dict[str, Any]) -> None:
    """Put the newest summary where the README shows it."""
    lines = "\n".join(summary(found))
    facts = "\n".join(f"- {line}" for line in islice(remarks(found), 3))
    into_block(readme, "comparison", f"{lines}\n\n{facts}\n")


def into_block(readme: Path, name: str, text: str) -> None:
    """Replace what is between the two marks of this name. Raises ValueError where they are not there."""
    before, begin, rest = readme.read_text().partition(f"<!-- {name} -->\n")
    _, end, after = rest.partition(f"<!-- end of {name} -->\n")
    if not begin or not end:
        raise ValueError(f"{readme} has no place for the {name}")
    readme.write_text(f"{before}{begin}{text}{end}{after}")


def plot(found: dict[str, Any], folder: Path, name: str) -> list[Path]:
    """Speed as a ratio to Kamailio, CPU, and latency, as SVG and PNG."""
    pyplot = drawing()
    rows = found["rows"]
    figure, axes = pyplot.subplots(2, len(rows), figsize=(3.4 * len(rows), 6.4), squeeze=False)
    for column, row in enumerate(rows):
        bars(axes[0][column], row)
        curve(axes[1][column], row)
    axes[0][0].set_ylabel("a second, median of the rounds (min to max)")
    axes[1][0].set_ylabel("latency, µs")
    figure.tight_layout()
    written = save(figure, folder, name)
    pyplot.close(figure)
    return written


def drawing() -> Any:
    """matplotlib's pyplot, for files only, and the same file for the same figures."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "sipfast"
    from matplotlib import pyplot

    return pyplot


def save(figure: Any, folder: Path, name: str) -> list[Path]:
    """As SVG and PNG."""
    written = [folder / f"{name}.{kind}" for kind in ("svg", "png")]
    for path in written:
        figure.savefig(path, dpi=120, metadata={"Date": None} if path.suffix == ".svg" else None)
    return written


def bars(axis: Any, row: dict[str, Any]) -> None:
    """How many a second."""
    for place, (kind, runs) in enumerate(row["runs"].items()):
        rates = [run[RATE] for run in runs]
        middle = median(runs, RATE)
        axis.bar(place, middle, color=COLOURS[kind], yerr=[[middle - min(rates)], [max(rates) - middle]], capsize=3)
        axis.annotate(f"{median(runs, CPU):.1f} µs\nCPU", (place, middle / 2), ha="center", color="white", fontsize=8)
    # One word or two a line: longer ones run into their neighbours.
    names = [NAMES[kind].replace(", ", "\n").replace(" (", "\n(").replace(" on ", "\non ") for kind in row["runs"]]
    axis.set_xticks(range(len(row["runs"])), [name.replace("'s ", "'s\n") for name in names])
    axis.tick_params(axis="x", labelsize=8)
    axis.yaxis.set_major_formatter("{x:,.0f}")
    axis.set_title(row["title"], fontsize=10)


def curve(axis: Any, row: dict[str, Any]) -> None:
    """How long it took, at the rate that both can bear."""
    names = ("p50", "p99", "p99.9")
    for kind, runs in row["latency"].items():
        values = [statistics.median(run["latency_us"][name] for run in runs) for name in names]
        axis.plot(names, values, marker="o", color=COLOURS[kind], label=NAMES[kind])
    axis.set_yscale("log")
    rate = next((runs[0]["rate"] for runs in row["latency"].values() if runs), 0)
    axis.set_title(f"open loop, {rate:,.0f} {row['unit']}", fontsize=9)
    axis.legend(fontsize=8)
