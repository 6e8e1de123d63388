"""No ordinary signal ends the server without a line, and SIGHUP and its like do not end it at all."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import environment
from peers.process import HERE, wait_until
from peers.server import Server

from sipfast.node import signals

PASSING = ["SIGHUP", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGVTALRM", "SIGPROF", "SIGIO", "SIGPWR", "SIGSTKFLT"]
ENDING = ["SIGTERM", "SIGINT", "SIGQUIT"]


@pytest.fixture(params=[1, 2], ids=["alone", "2 workers"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    port, data = HERE.free_port(), tmp_path / "data"
    it = Server(tmp_path, 1, port=port, domain="x", data=data, upstream=None, config="", workers=request.param)
    it.ready()
    it.until(lambda: " event=started " in it.log.read_text(), 15, "all workers serve")  # the first one answers before
    yield it
    it.stop()


def processes(server: Server) -> list[int]:
    """The server and its workers."""
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text()
    return [server.pid, *map(int, children.split())]


def lines(server: Server, event: str) -> list[str]:
    return [line for line in server.log.read_text().splitlines() if f" event={event} " in line]


def answers(server: Server) -> None:
    server.until(lambda: server.at.answers_options(server.port), 15, "answers")


@pytest.mark.parametrize("name", [*PASSING, "SIGPIPE", "SIGXFSZ"])
def test_a_signal_that_asks_for_no_end_does_not_end_anything(server: Server, name: str) -> None:
    if not hasattr(signal, name):
        pytest.skip("not a signal here")
    before = processes(server)
    for process in before:
        os.kill(process, getattr(signal, name))
    if name in PASSING:
        wait_until(lambda: len(lines(server, "signal-ignored")) == len(before), 5, "a line of each")
        assert all(f"signal={name} " in line for line in lines(server, "signal-ignored"))
    for _ in range(20):
        answers(server)
    assert processes(server) == before


@pytest.mark.parametrize("name", ENDING)
def test_what_ended_the_server_is_in_its_last_line(server: Server, name: str) -> None:
    os.kill(server.pid, getattr(signal, name))
    assert server.wait(10) == 0
    (stopped,) = lines(server, "stopped")
    assert f" by={name} " in stopped


@pytest.mark.parametrize("name", [*ENDING, "SIGKILL"])
def test_a_worker_that_a_signal_has_ended_is_told_of_and_started_again(server: Server, name: str) -> None:
    family = processes(server)
    if len(family) == 1:
        pytest.skip("no workers")
    os.kill(family[1], getattr(signal, name))
    wait_until(lambda: len(lines(server, "worker-started")) == 1, 10, "a worker again")
    (died,) = lines(server, "worker-died")
    assert f"process={family[1]} " in died
    assert any(f" by={name} " in line for line in lines(server, "worker-stopped")) == (name != "SIGKILL")
    for _ in range(20):
        answers(server)


def test_workers_that_are_alone_say_so(server: Server) -> None:
    family = processes(server)
    if len(family) == 1:
        pytest.skip("no workers")
    os.kill(server.pid, signal.SIGKILL)
    wait_until(lambda: len(lines(server, "worker-stopped")) == 2, 10, "both have ended")
    assert all(' by="supervisor gone" ' in line for line in lines(server, "worker-stopped"))


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("name", [*ENDING, "SIGHUP"])
def test_a_signal_during_the_start_leaves_a_line_too(tmp_path: Path, workers: int, name: str) -> None:
    """At many moments of the start, from when there is a log."""
    for delay in (0.0, 0.01, 0.03, 0.06, 0.1, 0.2):
        command = [sys.executable, "-m", "sipfast", "serve", "--listen", "udp:127.0.0.1:0", "--workers", str(workers)]
        script = (
            "import os, sys, time\nfrom sipfast import cli\nfrom sipfast.node import signals\n"
            "number, delay = int(sys.argv.pop(1)), float(sys.argv.pop(1))\ntake_over = signals.take_over\n"
            "def hooked(event, **fields):\n    take_over(event, **fields)\n"
            "    if event == 'stopped' and os.fork() == 0:\n"
            "        time.sleep(delay); os.kill(os.getppid(), number); os._exit(0)\n"
            "signals.take_over = hooked\nsys.exit(cli.main(sys.argv[1:]))\n"
        )
        argv = [sys.executable, "-c", script, str(int(getattr(signal, name))), str(delay), *command[3:]]
        process = subprocess.Popen(
            argv, cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        if name == "SIGHUP":
            assert "serves" in process.stdout.readline()
            time.sleep(delay)
            process.terminate()
        _, log = process.communicate(timeout=20)
        assert process.returncode == 0, log
        assert re.search(r"event=stopped .*(by|signal)=SIG", log), log


def test_the_signals_are_told_apart() -> None:
    assert not set(signals.ENDING) & set(signals.IGNORED)
    assert {name for name in PASSING if hasattr(signal, name)} == {signals.name(number) for number in signals.IGNORED}
