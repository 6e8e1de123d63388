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


def free_port() -> int:
    """A port of 127.0.0.1 that is free for UDP and TCP, as are the three above it; not given out again for long."""
    for port in itertools.islice(_places, 1000):
        if all(_is_free(port + i, kind) for i in range(BLOCK) for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM)):
            return port
    raise RuntimeError("no free port found on loopback")


def _is_free(port: int, kind: int) -> bool:
    with socket.socket(socket.AF_INET, kind) as probe:
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def udp_is_bound(port: int) -> bool:
    """Whether some process holds the UDP port; looks without sending anything (Linux)."""
    wanted = f":{port:04X} "
    return any(wanted in line for line in Path("/proc/net/udp").read_text().splitlines()[1:])


def wait_until(true: Callable[[], object], seconds: float, what: str) -> None:
    """Look every 20 ms until it is true. Raises AssertionError naming what did not happen."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        time.sleep(0.02)


def answers_options(port: int) -> bool:
    """Send one OPTIONS to a SIP server on loopback and wait up to 200 ms for any answer."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((HOST, 0))
        probe.settimeout(0.2)
        me = f"{HOST}:{probe.getsockname()[1]}"
        unique = f"{random.getrandbits(64):x}"
        request = (
            f"OPTIONS sip:{HOST}:{port} SIP/2.0\r\n"
            f"Via: SIP/2.0/UDP {me};branch=z9hG4bK{unique};rport\r\n"
            f"From: <sip:probe@{me}>;tag={unique}\r\nTo: <sip:{HOST}:{port}>\r\n"
            f"Call-ID: {unique}\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
        )
        probe.sendto(request.encode(), (HOST, port))
        try:
            return probe.recv(65535).startswith(b"SIP/2.0 ")
        except OSError:
            return False


class Process:
    """A running program. Its output goes to a log file, whose end is part of every complaint."""

    def __init__(self, argv: Sequence[str], log: Path, *, cwd: Path | None = None, env: dict[str, str] | None = None):
        self.log = log
        self.name = log.stem
        with log.open("ab") as output:
            self._child = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
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

    def story(self) -> str:
        """The end of its log."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return f"--- end of {self.log.name} ---\n{text[-3000:]}"
