"""A disk that is really full: the kernel says ENOSPC to the store, to `ringing` and `proofs`, to the log and to a backup.

The disk is a small tmpfs in a mount namespace, which takes no root where users may have namespaces of their own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from command import environment, one_line
from peers.phones import Fleet, run
from peers.process import HERE, Place
from peers.server import Server

SIZE = 16 << 20  # `ringing` and `proofs` take 10 MiB of it
STEP = 100  # phones, of which the next ones register until there is no room for them
MOST = 4_000


class Disk(Place):
    """A place with a disk of its own at `path`; it lives as long as a process that holds it."""

    def __init__(self, path: Path):
        super().__init__()
        path.mkdir()
        script = f'mount -t tmpfs -o size={SIZE} tmpfs "{path}" && echo ready && exec sleep 600'
        command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script]
        if shutil.which("unshare") is None or shutil.which("nsenter") is None:
            pytest.skip("no unshare and nsenter (util-linux) to make a small disk with")
        holder = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert holder.stdout is not None and holder.stderr is not None
        if holder.stdout.readline() != "ready\n":
            holder.wait(5)
            pytest.skip(f"may not mount a small disk: {holder.stderr.read().strip()}")
        object.__setattr__(self, "holder", holder)
        object.__setattr__(self, "path", path)

    @property
    def seen(self) -> Path:
        """Its folder, as one that is not there sees it."""
        return Path(f"/proc/{self.holder.pid}/root{self.path}")  # type: ignore[attr-defined]

    def command(self, argv: Sequence[str]) -> list[str]:
        enter = ["nsenter", "--target", str(self.holder.pid), "--user", "--mount", "--preserve-credentials"]  # type: ignore[attr-defined]
        return [*enter, *argv]

    def says(self, *arguments: object) -> CompletedProcess[str]:
        """What the command line says there."""
        argv = self.command([sys.executable, "-m", "sipfast", *map(str, arguments)])
        return subprocess.run(argv, capture_output=True, text=True, timeout=60, env=environment(), check=False)

    def fill(self) -> None:
        """To the last byte."""
        with (self.seen / "filler").open("ab", buffering=0) as file:
            for size in (1 << 20, 4096, 1):
                with suppress(OSError):
                    while True:
                        file.write(bytes(size))
        assert os.statvfs(self.seen).f_bavail == 0

    def empty(self) -> None:
        (self.seen / "filler").unlink()

    def close(self) -> None:
        self.holder.kill()  # type: ignore[attr-defined]
        self.holder.wait(5)  # type: ignore[attr-defined]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    it = Disk(tmp_path / "disk")
    yield it
    it.close()


def serve(disk: Disk, folder: Path, number: int, workers: int, port: int) -> Server:
    """A server on that disk, whose log is there, too."""

    class Logged(Place):
        def command(self, argv: Sequence[str]) -> list[str]:
            return disk.command(["sh", "-c", f'exec "$@" 2>> "{disk.path}/log"', "sh", *argv])

    return Server(
        folder, number, port=port, domain="x", data=disk.path / "data", upstream=None, config="", workers=workers,
        at=Logged(),
    ).ready()  # fmt: skip


def bound(disk: Disk) -> set[str]:
    done = disk.says("bindings", "list", "--json", "--data", disk.path / "data")
    assert done.returncode == 0, done
    return {row["aor"].partition(":")[2].partition("@")[0] for row in json.loads(done.stdout or "[]")}


@pytest.mark.parametrize("workers", [1, 2])
def test_a_full_disk_costs_what_cannot_be_written_and_nothing_else(disk: Disk, tmp_path: Path, workers: int) -> None:
    port = HERE.free_port()
    server = serve(disk, tmp_path, 1, workers, port)
    callers = Fleet("a", 4, port, "x")
    many = Fleet("m", MOST, port, "x")
    try:
        for phone in callers:
            phone.register()
        run([callers], lambda: all(phone.registered for phone in callers), 20, "all are registered")
        disk.fill()
        # All that LMDB has free is used up: then there is a 503, and none of them is registered.
        phones = iter(many)
        said: list[int] = []
        while 503 not in said:
            group = [next(phones) for _ in range(STEP)]
            for phone in group:
                phone.register()
            run([many], lambda group=group: all(each.register_statuses for each in group), 40, "all are answered")
            said += [each.register_statuses[0] for each in group]
        assert set(said) <= {200, 503}
        assert server.running and HERE.answers_options(port)
        one, other = [*callers][:2]
        other.ring_time = 100
        call = one.call(other.user)
        run([callers], lambda: call.was_answered, 20, "a call goes on")
        one.hang_up(call)
        call = one.call("nobody", 3600)
        run([callers], lambda: call.over, 40, "what cannot be promised is refused")
        assert call.final is not None and (call.status, "m=NL" in call.final.first("call-info")) != (480, True)
        told = {phone.user for phone in (*callers, *many) if phone.registered}
        assert bound(disk) == told

        # Killed, it starts on the full disk, and knows what it has said.
        server.kill()
        server = serve(disk, tmp_path, 2, workers, port)
        assert bound(disk) == told
        call = one.call(other.user)
        run([callers], lambda: call.was_answered, 40, "a call goes on")

        # With room again all is taken, and logged.
        disk.empty()
        rest = [phone for phone in many if phone.register_statuses and not phone.registered]
        run([many], lambda: all(phone.registered for phone in rest), 60, "all are registered")
        log = (disk.seen / "log").read_text()  # what was told while it was full, may have had no place
        assert rest and all(f"event=registered aor=sip:{phone.user}@x " in log for phone in rest)
        assert server.running
    finally:
        server.stop()
        callers.close()
        many.close()


def test_a_first_start_on_a_full_disk_is_one_line(disk: Disk) -> None:
    disk.fill()
    line = one_line(disk.says("serve", "--listen", "udp:127.0.0.1:0", "--data", disk.path / "data", "--workers", 1), 2)
    assert "No space left on device" in line and str(disk.path) in line


def test_a_store_that_fits_and_a_ringing_file_that_does_not(disk: Disk, tmp_path: Path) -> None:
    """The server starts, says so, and keeps what rings in memory of its own."""
    disk.fill()
    with (disk.seen / "filler").open("r+b") as file:
        file.truncate(file.seek(0, os.SEEK_END) - (1 << 20))
    server = serve(disk, tmp_path, 1, 1, HERE.free_port())
    log = (disk.seen / "log").read_text()
    server.stop()
    for name in ("ringing", "proofs"):
        assert f"event={name}-not-kept" in log and 'error="No space left on device"' in log


def test_a_backup_that_does_not_fit_is_one_line_and_leaves_nothing(disk: Disk, tmp_path: Path) -> None:
    port = HERE.free_port()
    server = serve(disk, tmp_path, 1, 1, port)
    phones = Fleet("a", 200, port, "x")
    try:
        for phone in phones:
            phone.register()
        run([phones], lambda: all(phone.registered for phone in phones), 20, "all are registered")
        former = disk.path / "former.mdb"
        assert disk.says("backup", former, "--data", disk.path / "data").returncode == 0
        kept = (disk.seen / "former.mdb").read_bytes()
        disk.fill()
        for file in (former, disk.path / "new.mdb"):
            line = one_line(disk.says("backup", file, "--data", disk.path / "data"), 2)
            assert f"{file}: the copy cannot be written: " in line and line.endswith("No space left on device")
        assert sorted(path.name for path in disk.seen.iterdir()) == ["data", "filler", "former.mdb", "log"]
        assert (disk.seen / "former.mdb").read_bytes() == kept
        # To another disk it is made.
        assert disk.says("backup", tmp_path / "elsewhere.mdb", "--data", disk.path / "data").returncode == 0
        assert server.running
    finally:
        server.stop()
        phones.close()


def test_events_that_do_not_fit_are_told_of_once_and_written_when_there_is_room(disk: Disk, tmp_path: Path) -> None:
    """Their file is on the full disk, the store is not: calls and redial go on."""

    class Inside(Place):
        def command(self, argv: Sequence[str]) -> list[str]:
            return disk.command(argv)

    path, port = disk.path / "events", HERE.free_port()
    server = Server(
        tmp_path, 1, port=port, domain="x", data=tmp_path / "data", upstream=None, workers=1, at=Inside(),
        config=f'[events]\nto = "file"\npath = "{path}"\n',
    ).ready()  # fmt: skip
    phones = Fleet("a", 2, port, "x")
    alice, bob = phones
    bob.ring_time = 100
    try:
        disk.fill()
        alice.register()
        run([phones], lambda: alice.registered, 20, "alice is registered")
        call = alice.call(bob.user, 3600)
        run([phones], lambda: call.over, 20, "the call finds nobody")
        bob.register()
        run([phones], lambda: any(each.was_answered for each in alice.calls if each is not call), 20, "they talk")
        server.until(lambda: "event=events-not-told" in server.log.read_text(), 10, "it says so")
        disk.empty()
        server.until(lambda: "event=events-told-again" in server.log.read_text(), 40, "all is told")
        lines = [json.loads(line)["event"] for line in (disk.seen / "events").read_text().splitlines() if line]
        assert lines == ["armed", "claimed", "begun", "outcome", "called", "answered"]
        log = server.log.read_text()
        assert log.count("event=events-not-told") == 1 and 'error="No space left on device"' in log
        assert "events_lost=0" in log
    finally:
        server.stop()
        phones.close()
