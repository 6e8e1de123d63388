"""One program as a process of a test: started with a log, waited for, always ended."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

HOST = "127.0.0.1"
# Below the range that the kernel gives out by itself, so that nobody takes a port between the look and the use of it.
# Test runs side by side begin at places of their own. SIPp takes four ports in a row for media.
BLOCK = 4
FIRST, LAST = 20_000, 32_000
_places = itertools.cycle(range(FIRST, LAST, BLOCK))
for _ in range(os.getpid() * 97 % ((LAST - FIRST) // BLOCK)):
    next(_places)


def need(*programs: str) -> None:
    """Skip the test where a program is missing; fail it where CI says that all must be there."""
    missing = [program for program in programs if find(program) is None]
    if missing:
        say = f"{', '.join(missing)} not installed (as root, `make test` or ci/install-peers.sh installs it)"
        if os.environ.get("CI") == "true":
            pytest.fail(say)
        pytest.skip(say)


def find(program: str) -> str | None:
    """Its path; /usr/sbin counts, too, where a user's PATH leaves it out."""
    return shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


@dataclass(frozen=True)
class Place:
    """Where a program runs: an address of its own, and the host where its servers are. This one is loopback."""

    host: str = HOST
    servers: str = HOST

    def command(self, argv: Sequence[str]) -> list[str]:
        """What starts a program there."""
        return [*argv]

    def socket(self, kind: int) -> socket.socket:
        """An unbound socket there."""
        return socket.socket(socket.AF_INET, kind)

    def free_port(self) -> int:
        """A port that is free for UDP and TCP, as are the three above it; not given out again for long."""
        for port in itertools.islice(_places, 1000):
            if all(self._is_free(port + i, kind) for i in range(BLOCK) for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM)):
                return port
        raise RuntimeError(f"no free port found on {self.host}")

    def free_ports(self, count: int) -> range:
        """So many free ports in a row."""
        while True:
            first = last = self.free_port()
            while last + BLOCK < first + count and (after := self.free_port()) == last + BLOCK:
                last = after
            if last + BLOCK >= first + count:
                return range(first, first + count)

    def _is_free(self, port: int, kind: int) -> bool:
        with self.socket(kind) as probe:
            try:
                probe.bind((self.host, port))
            except OSError:
                return False
        return True

    def answers_options(self, port: int) -> bool:
        """Send one OPTIONS to a SIP server at this place and wait up to 200 ms for any answer."""
        with self.socket(socket.SOCK_DGRAM) as probe:
            probe.bind((self.host, 0))
            probe.settimeout(0.2)
            me = f"{self.host}:{probe.getsockname()[1]}"
            unique = f"{random.getrandbits(64):x}"
            request = (
                f"OPTIONS sip:{self.host}:{port} SIP/2.0\r\n"
                f"Via: SIP/2.0/UDP {me};branch=z9hG4bK{unique};rport\r\n"
                f"From: <sip:probe@{me}>;tag={unique}\r\nTo: <sip:{self.host}:{port}>\r\n"
                f"Call-ID: {unique}\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
            )
            probe.sendto(request.encode(), (self.host, port))
            try:
                return probe.recv(65535).startswith(b"SIP/2.0 ")
            except OSError:
                return False


HERE = Place()
free_port = HERE.free_port
answers_options = HERE.answers_options


def wait_until(true: Callable[[], object], seconds: float, what: str) -> None:
    """Look every 20 ms until it is true. Raises AssertionError naming what did not happen."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        time.sleep(0.02)


class Process:
    """A running program. Its output goes to a log file, whose end is part of every complaint."""

    def __init__(
        self, argv: Sequence[str], log: Path, *, cwd: Path | None = None, env: dict[str, str] | None = None,
        at: Place = HERE, stdin: int = subprocess.DEVNULL,
    ):  # fmt: skip
        self.log, self.at = log, at
        self.name = log.stem
        with log.open("ab") as output:
            self._child = subprocess.Popen(
                at.command(argv),
                stdin=stdin,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=cwd,
                env={**os.environ, **(env or {})},
                start_new_session=True,  # so that its children can be ended with it
            )

    @property
    def pid(self) -> int:
        """The process id."""
        return self._child.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._child.poll() is None

    def wait(self, seconds: float) -> int:
        """Exit status. Raises AssertionError where it runs on."""
        try:
            return self._child.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} runs on after {seconds:g} s\n{self.story()}") from None

    def until(self, true: Callable[[], object], seconds: float, what: str) -> None:
        """Wait until something is true of this process; complain at once when it ends instead."""

        try:
            wait_until(lambda: true() or not self.running, seconds, f"{self.name}: {what}")
        except AssertionError as complaint:
            raise AssertionError(f"{complaint}\n{self.story()}") from None
        if not true():
            raise AssertionError(f"{self.name} ended with {self._child.returncode} before: {what}\n{self.story()}")

    def stop(self, seconds: float = 5.0) -> int:
        """Ask it to end (SIGTERM), and make it after that. Returns the exit status."""
        if self.running:
            self._child.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(seconds)
        self.kill()
        return self._child.wait(seconds)

    def kill(self) -> None:
        """kill -9, it and its children."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._child.wait(5)

    def freeze(self) -> None:
        """Stop it and its children where they are: their sockets stay open, and nobody reads them."""
        os.killpg(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let them go on."""
        os.killpg(self.pid, signal.SIGCONT)

    def has_port(self, port: int) -> bool:
        """Whether some process where it runs holds a UDP port; looks without sending anything (Linux)."""
        wanted = f":{port:04X} "
        return any(wanted in line for line in Path(f"/proc/{self.pid}/net/udp").read_text().splitlines()[1:])

    def story(self) -> str:
        """The end of its log."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return f"--- end of {self.log.name} ---\n{text[-3000:]}"


class Typist(Process):
    """A program that is told what to do on its standard input, and says on its output what happened."""

    def __init__(self, argv: Sequence[str], log: Path, *, cwd: Path, env: dict[str, str], at: Place = HERE):
        self._read = 0  # octets of the log that were looked at and are done with
        super().__init__(argv, log, cwd=cwd, env=env, at=at, stdin=subprocess.PIPE)

    def tell(self, command: str) -> None:
        """Type a line."""
        assert self._child.stdin is not None
        self._child.stdin.write(command.encode() + b"\n")
        self._child.stdin.flush()

    def said(self, text: str) -> bool:
        """Whether it has said that since the last `says` or `forget`."""
        return text.encode() in self.log.read_bytes()[self._read :]

    def says(self, text: str, seconds: float = 10) -> None:
        """Wait for something that it says; what it said before that is done with."""
        self.until(lambda: self.said(text), seconds, f"says {text!r}")
        data = self.log.read_bytes()
        self._read = data.index(text.encode(), self._read) + len(text)

    def forget(self) -> None:
        """Be done with all that it has said."""
        self._read = len(self.log.read_bytes())

    def stop(self, seconds: float = 5.0) -> int:
        """Ask it to end."""
        if self._child.stdin is not None:
            with contextlib.suppress(OSError):
                self._child.stdin.close()
        return super().stop(seconds)
