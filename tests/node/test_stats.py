"""`sipfast stats`: what a running server has counted, by all workers together and by each."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from command import one_line, sipfast_command
from test_worker import Server


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def one(*arguments: object) -> Server:
        server = Server("--listen", "udp:127.0.0.1:0", *arguments, folder=tmp_path)
        assert server.line, "it did not start"
        servers.append(server)
        return server

    yield one
    for server in servers:
        if server.process.poll() is None:
            server.process.send_signal(signal.SIGCONT)
            server.process.terminate()
            server.process.wait(20)
        assert server.process.stdout is not None and server.process.stderr is not None
        server.process.stdout.close()
        server.process.stderr.close()


def stats(folder: Path) -> dict[str, object]:
    done = sipfast_command("stats", "--json", folder=folder)
    assert (done.returncode, done.stderr) == (0, "")
    told: dict[str, object] = json.loads(done.stdout)
    return told


def test_one_worker_tells_its_counters(start: Callable[..., Server], tmp_path: Path) -> None:
    server = start("--workers", "1")
    for _ in range(3):
        assert server.ask().startswith(b"SIP/2.0 200")
    done = sipfast_command("stats", folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    lines = [re.split(r"\s{2,}", line) for line in done.stdout.splitlines()]
    assert lines[0] == ["counter", "total"]
    rows = {line[0]: line[1:] for line in lines[1:]}
    assert rows["received"] == rows["requests"] == rows["answered_stateless"] == ["3"]
    assert rows["malformed"] == ["0"] and int(rows["seconds since its start"][0]) < 60


def test_several_workers_are_summed_up_and_each_is_there(start: Callable[..., Server], tmp_path: Path) -> None:
    server = start("--workers", "3")
    for _ in range(12):  # each from a port of its own: they come to different workers
        server.ask()
    told = stats(tmp_path)
    workers = told["workers"]
    assert isinstance(workers, list) and [worker["worker"] for worker in workers] == [0, 1, 2]
    each = [worker["counters"]["requests"] for worker in workers]
    total = told["total"]
    assert isinstance(total, dict) and total["requests"] == sum(each) == 12
    header = sipfast_command("stats", folder=tmp_path).stdout.splitlines()[0]
    assert re.split(r"\s{2,}", header) == ["counter", "total", "worker 0", "worker 1", "worker 2"]


def test_a_worker_that_was_killed_and_started_again_answers(start: Callable[..., Server], tmp_path: Path) -> None:
    start("--workers", "2")

    def processes() -> list[int]:
        done = sipfast_command("stats", "--json", folder=tmp_path)
        return [worker["process"] for worker in json.loads(done.stdout)["workers"]]

    before = processes()
    os.kill(before[1], signal.SIGKILL)
    for _ in range(50):
        after = processes()
        if len(after) == 2:
            break
    assert after[0] == before[0] and after[1] != before[1]


def test_a_worker_that_hangs_is_named_and_the_others_are_shown(start: Callable[..., Server], tmp_path: Path) -> None:
    start("--workers", "2")
    workers = stats(tmp_path)["workers"]
    assert isinstance(workers, list)
    os.kill(workers[1]["process"], signal.SIGSTOP)
    try:
        done = sipfast_command("stats", "--json", folder=tmp_path)
    finally:
        os.kill(workers[1]["process"], signal.SIGCONT)
    assert done.returncode == 1
    assert done.stderr == "sipfast: worker 1 does not answer: what it has counted is missing\n"
    assert [worker["worker"] for worker in json.loads(done.stdout)["workers"]] == [0]


def test_without_a_server_it_is_one_line(start: Callable[..., Server], tmp_path: Path) -> None:
    line = one_line(sipfast_command("stats", folder=tmp_path), 1)
    assert line.startswith("sipfast: ./sipfast-data: no server runs on this data directory")
    server = start("--workers", "1")
    server.process.terminate()
    assert server.process.wait(20) == 0
    assert one_line(sipfast_command("stats", folder=tmp_path), 1) == line
    assert list((tmp_path / "sipfast-data" / "workers").iterdir()) == []  # it has tidied up


def test_a_killed_server_leaves_nothing_that_would_be_in_the_way(start: Callable[..., Server], tmp_path: Path) -> None:
    server = start("--workers", "1")
    server.process.kill()
    server.process.wait(20)
    assert one_line(sipfast_command("stats", folder=tmp_path), 1)
    start("--workers", "1")
    workers = stats(tmp_path)["workers"]
    assert isinstance(workers, list) and len(workers) == 1


def test_a_long_path_is_no_hindrance(start: Callable[..., Server], tmp_path: Path) -> None:
    deep = tmp_path / ("a" * 120) / ("b" * 120)
    start("--workers", "1", "--data", deep)
    done = sipfast_command("stats", "--data", deep)
    assert (done.returncode, done.stderr) == (0, "")


def test_only_its_user_may_ask(start: Callable[..., Server], tmp_path: Path) -> None:
    start("--workers", "1")
    place = tmp_path / "sipfast-data" / "workers"
    assert place.stat().st_mode & 0o077 == 0
    assert (place / "0.sock").stat().st_mode & 0o077 == 0
