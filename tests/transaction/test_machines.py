"""The four state machines, row by row, against RFC 3261 §17 and RFC 6026.

MACHINES below says what the RFCs' figures 5 to 8 say, written down a second time: every row is played, and every
message that has no row must change nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from compiled import looks
from transactions import World, answer_to, reply, request

from sipfast.transaction import machines as _machines
from sipfast.transaction.client import ClientTransaction
from sipfast.transaction.layer import ABSORBED, UNMATCHED
from sipfast.transaction.server import ServerTransaction


@dataclass(frozen=True)
class Then:
    """What an event leads to: the next state, what is sent, what the transaction user hears."""

    state: str
    sent: tuple[str, ...] = ()
    told: tuple[str, ...] = ()


REQUEST, ACK, R1, R2, R3, ERROR = "request", "ACK", "1xx", "2xx", "300-699", "transport error"

# RFC 6026 §8.4, figure 5; §9.1 of RFC 3261 for the CANCEL
INVITE_CLIENT = {
    ("Calling", "timer A"): Then("Calling", ("INVITE",)),
    ("Calling", "timer B"): Then("Terminated", told=("failure 408",)),
    ("Calling", ERROR): Then("Terminated", told=("unreachable",)),
    ("Calling", R1): Then("Proceeding", told=("180",)),
    ("Calling", R2): Then("Accepted", told=("200",)),
    ("Calling", R3): Then("Completed", ("ACK",), ("486",)),
    ("Proceeding", R1): Then("Proceeding", told=("180",)),
    ("Proceeding", R2): Then("Accepted", told=("200",)),
    ("Proceeding", R3): Then("Completed", ("ACK",), ("486",)),
    ("Proceeding", "64*T1 after CANCEL"): Then("Terminated", told=("failure 408",)),
    ("Proceeding", ERROR): Then("Terminated", told=("unreachable",)),  # RFC 3261 §17.1.4
    ("Accepted", R2): Then("Accepted", told=("200",)),
    ("Accepted", "timer M"): Then("Terminated"),
    ("Completed", R3): Then("Completed", ("ACK",)),
    ("Completed", ERROR): Then("Terminated", told=("unreachable",)),
    ("Completed", "timer D"): Then("Terminated"),
}
# RFC 3261 §17.1.2.2, figure 6
CLIENT = {
    ("Trying", "timer E"): Then("Trying", ("OPTIONS",)),
    ("Trying", "timer F"): Then("Terminated", told=("failure 408",)),
    ("Trying", ERROR): Then("Terminated", told=("unreachable",)),
    ("Trying", R1): Then("Proceeding", told=("180",)),
    ("Trying", R2): Then("Completed", told=("200",)),
    ("Trying", R3): Then("Completed", told=("486",)),
    ("Proceeding", "timer E"): Then("Proceeding", ("OPTIONS",)),
    ("Proceeding", "timer F"): Then("Terminated", told=("failure 408",)),
    ("Proceeding", ERROR): Then("Terminated", told=("unreachable",)),
    ("Proceeding", R1): Then("Proceeding", told=("180",)),
    ("Proceeding", R2): Then("Completed", told=("200",)),
    ("Proceeding", R3): Then("Completed", told=("486",)),
    ("Completed", R2): Then("Completed"),
    ("Completed", R3): Then("Completed"),
    ("Completed", "timer K"): Then("Terminated"),
}
# RFC 6026 §8.5 to §8.8, figure 7
INVITE_SERVER = {
    ("Proceeding", REQUEST): Then("Proceeding", ("183",)),
    ("Proceeding", R1): Then("Proceeding", ("180",)),
    ("Proceeding", R2): Then("Accepted", ("200",)),
    ("Proceeding", R3): Then("Completed", ("486",)),
    ("Proceeding", ERROR): Then("Proceeding"),
    ("Accepted", REQUEST): Then("Accepted"),
    ("Accepted", R2): Then("Accepted", ("200",)),
    ("Accepted", ACK): Then("Accepted", told=("ACK unmatched",)),
    ("Accepted", ERROR): Then("Accepted"),
    ("Accepted", "timer L"): Then("Terminated", told=("gone",)),
    ("Completed", REQUEST): Then("Completed", ("404",)),
    ("Completed", "timer G"): Then("Completed", ("404",)),
    ("Completed", ACK): Then("Confirmed"),
    ("Completed", ERROR): Then("Completed"),
    ("Completed", "timer H"): Then("Terminated", told=("gone",)),
    ("Confirmed", REQUEST): Then("Confirmed"),
    ("Confirmed", ACK): Then("Confirmed"),
    ("Confirmed", "timer I"): Then("Terminated", told=("gone",)),
}
# RFC 3261 §17.2.2, figure 8; RFC 6026 §8.8
SERVER = {
    ("Trying", REQUEST): Then("Trying"),
    ("Trying", R1): Then("Proceeding", ("180",)),
    ("Trying", R2): Then("Completed", ("200",)),
    ("Trying", R3): Then("Completed", ("486",)),
    ("Proceeding", REQUEST): Then("Proceeding", ("183",)),
    ("Proceeding", R1): Then("Proceeding", ("180",)),
    ("Proceeding", R2): Then("Completed", ("200",)),
    ("Proceeding", R3): Then("Completed", ("486",)),
    ("Proceeding", ERROR): Then("Proceeding"),
    ("Completed", REQUEST): Then("Completed", ("404",)),
    ("Completed", ERROR): Then("Completed"),
    ("Completed", "timer J"): Then("Terminated", told=("gone",)),
}
MACHINES = {"INVITE_CLIENT": INVITE_CLIENT, "CLIENT": CLIENT, "INVITE_SERVER": INVITE_SERVER, "SERVER": SERVER}

# Since its state was entered (RFC 3261 §17 table 4, RFC 6026 §8.11; T1 = 500 ms, T2 = 4 s, T4 = 5 s).
DEFAULT_MS = {
    "timer A": 500,
    "timer B": 32_000,
    "timer D": 32_000,
    "timer E": 500,
    "timer F": 32_000,
    "timer G": 500,
    "timer H": 32_000,
    "timer I": 5_000,
    "timer J": 32_000,
    "timer K": 5_000,
    "timer L": 32_000,
    "timer M": 32_000,
    "64*T1 after CANCEL": 32_000,
}
LEADS_TO = {"Proceeding": 183, "Accepted": 202, "Completed": 404, "Confirmed": 404}
STATUS = {R1: 180, R2: 200, R3: 486}
ROWS = [pytest.param(m, *key, then, id=f"{m}-{key[0]}-{key[1]}") for m in MACHINES for key, then in MACHINES[m].items()]
NO_ROWS = [
    pytest.param(machine, state, event, id=f"{machine}-{state}-{event}")
    for machine, rows in MACHINES.items()
    for state in sorted({state for state, _ in rows})
    for event in ((R1, R2, R3) if "CLIENT" in machine else (REQUEST, R1, R2, R3, ACK))
    if (state, event) not in rows and not (machine == "SERVER" and event == ACK)
]


class Play:
    """One transaction of a machine, brought to a state at time 0."""

    def __init__(self, machine: str, state: str) -> None:
        self.machine = machine
        self.world = World()
        self.method = "INVITE" if "INVITE" in machine else "OPTIONS"
        self.begin()
        if state in LEADS_TO:
            self.status(LEADS_TO[state])
        if state == "Confirmed":
            self.world.take(request("ACK"))
        assert self.transaction.state_name == state
        self.world.sent()
        self.user.told.clear()

    def begin(self) -> None:
        self.transaction: ClientTransaction | ServerTransaction
        if "CLIENT" in self.machine:
            self.transaction, self.user = self.world.start(self.method)
            self.data = self.world.line.sent[0][1]
        else:
            self.transaction, self.user = self.world.serve(self.method)
            self.data = request(self.method)

    def status(self, status: int) -> None:
        if isinstance(self.transaction, ClientTransaction):
            assert self.world.answer(answer_to(self.data, status))
        else:
            reply(self.transaction, status, self.world.now, self.data)

    def break_something(self, state: str) -> None:
        """Have the transport fail at the next thing that is sent in this state."""
        if isinstance(self.transaction, ServerTransaction):
            self.world.line.broken = True
            if state == "Completed":
                self.world.take(self.data)
            else:
                self.status(200 if state == "Accepted" else 180)
        elif state in ("Calling", "Trying"):
            self.world = World()
            self.world.line.broken = True
            self.transaction, self.user = self.world.start(self.method)
        else:
            self.world.line.broken = True
            if state == "Completed":
                self.status(404)
            elif self.method == "INVITE":  # nothing is sent in this state: the copy that failed is an earlier one
                looks().undelivered(self.world.layer, self.data, self.world.flow, self.world.now)
                return
        assert self.user.told == []  # it never hears of it before the caller returns
        self.world.run_to(500 if state == "Proceeding" else 0)

    def fire(self, state: str, event: str) -> None:
        if event in STATUS:
            self.status(STATUS[event])
        elif event == REQUEST:
            assert self.world.take(self.data) == (ABSORBED, None)
        elif event == ACK:
            verdict, _ = self.world.take(request("ACK"))
            assert verdict in (ABSORBED, UNMATCHED)
            if verdict == UNMATCHED:
                self.user.told.append("ACK unmatched")
        elif event == ERROR:
            self.break_something(state)
        else:
            if event == "64*T1 after CANCEL":
                assert isinstance(self.transaction, ClientTransaction)
                self.transaction.cancel(self.world.now)
            self.world.run_to(DEFAULT_MS[event] - 1)
            assert self.transaction.state_name == state
            self.world.sent()
            self.world.run_to(DEFAULT_MS[event])


@pytest.mark.parametrize(("machine", "state", "event", "then"), ROWS)
def test_row(machine: str, state: str, event: str, then: Then):
    play = Play(machine, state)
    play.fire(state, event)
    assert play.transaction.state_name == then.state
    assert tuple(play.world.sent()) == then.sent
    assert tuple(play.user.told) == then.told


@pytest.mark.parametrize(("machine", "state", "event"), NO_ROWS)
def test_what_has_no_row_changes_nothing(machine: str, state: str, event: str):
    play = Play(machine, state)
    play.fire(state, event)
    assert play.transaction.state_name == state
    assert play.world.sent() == []
    assert play.user.told == []


@pytest.mark.parametrize("machine", MACHINES)
def test_the_tables_have_these_rows_and_no_others(machine: str):
    rows = set()
    for state, event, following, _ in getattr(_machines, machine):
        for one in (R2, R3) if event == "200-699" else (event,):
            if state:
                rows.add((state, one, following))
    assert rows == {(*key, then.state) for key, then in MACHINES[machine].items()}


# ---- the page that shows them

PAGE = Path(__file__).parent.parent.parent / "docs" / "transactions.md"


def drawn(machine: str) -> str:
    """A machine as the table that docs/transactions.md shows."""
    lines = ["| state | event | next state | actions |", "| --- | --- | --- | --- |"]
    for state, event, following, actions in getattr(_machines, machine):
        lines.append(f"| {state or '(start)'} | {event} | {following} | {actions} |")
    return "\n".join(lines)


@pytest.mark.parametrize("machine", MACHINES)
def test_the_page_shows_the_tables(machine: str):
    assert drawn(machine) in PAGE.read_text()
