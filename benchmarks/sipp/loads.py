"""The three loads: which phones play what, and one after the other or at once."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from .phones import PATIENCE, Phones


@dataclass(frozen=True)
class Load:
    """What is asked for."""

    server: str
    """host:port"""
    local: str
    """our address on the way there"""
    domain: str
    rate: int
    """calls, registrations or redials a second"""
    calls: int
    talk_ms: int

    @property
    def seconds(self) -> float:
        """What all of them may take, from the first to the end of the last."""
        return self.calls / self.rate + self.talk_ms / 1000 + PATIENCE


Wait = Callable[[str, Phones, Iterable[Phones]], bool]
"""Shows how phones get on until they are done. The name of what they do, they, and others that end when they do; whether
nothing has failed."""


class Play:
    """One load with users of its own, so that it may be played at a server that has others."""

    def __init__(self, load: Load, folder: Path, wait: Wait):
        self._load, self._folder, self._wait = load, folder, wait
        run = secrets.token_hex(3)
        names = [(f"a{run}-{number}", f"b{run}-{number}") for number in range(load.calls)]
        self._pairs = self._write("pairs", [f"{caller};{callee};" for caller, callee in names])
        self._callers = self._write("callers", [f"{caller};" for caller, _ in names])
        self._callees = self._write("callees", [f"{callee};" for _, callee in names])

    def register(self) -> bool:
        """Each phone registers once."""
        nowhere = self._phones("answer", starts=False)
        try:
            return self._register("registered", self._callees, nowhere.port)
        finally:
            nowhere.end()

    def call(self) -> bool:
        """The callees register, and each is called once: INVITE, 180, 200, ACK, talk, BYE."""
        callees = self._phones("answer", starts=False)
        try:
            return self._register("callees registered", self._callees, callees.port) and self._play(
                "called", self._phones("call", users=self._pairs), callees
            )
        finally:
            callees.end()

    def redial(self) -> bool:
        """Each caller calls a callee who is away (480). The callees come back, and each caller is recalled and calls."""
        callers, callees = self._phones("recalled", starts=False), self._phones("answer", starts=False)
        try:
            return (
                self._register("callers registered", self._callers, callers.port)
                and self._play("watches armed", self._phones("arm", users=self._pairs, contact_port=callers.port))
                and self._register("callees back", self._callees, callees.port)
                and self._wait("recalled", callers, [callees])
            )
        finally:
            callers.end()
            callees.end()

    def _register(self, what: str, users: Path, contact_port: int) -> bool:
        return self._play(what, self._phones("register", users=users, contact_port=contact_port))

    def _play(self, what: str, phones: Phones, *others: Phones) -> bool:
        try:
            return self._wait(what, phones, others)
        finally:
            phones.end()

    def _phones(self, scenario: str, *, starts: bool = True, users: Path | None = None, contact_port: int = 0) -> Phones:
        load = self._load
        parts = 1 if starts else 4  # who is called waits for what the others do before
        return Phones(
            scenario,
            self._folder,
            server=load.server,
            local=load.local,
            calls=load.calls,
            seconds=parts * load.seconds,
            rate=load.rate if starts else 0,
            users=users,
            talk_ms=load.talk_ms,
            keys={"domain": load.domain, "contact_port": str(contact_port)},
        )

    def _write(self, name: str, lines: list[str]) -> Path:
        path = self._folder / f"{name}.users"
        path.write_text("\n".join(["SEQUENTIAL", *lines]) + "\n")
        return path


LOADS: dict[str, Callable[[Play], bool]] = {"register": Play.register, "call": Play.call, "redial": Play.redial}
