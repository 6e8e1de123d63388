"""`sipfast serve`: what it tells whoever starts it. What it serves is asked in the other folders."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from command import environment, one_line, sipfast_command


@pytest.mark.parametrize(
    ("flags", "says", "silent"),
    [
        ([], ["--default-period 3600"], []),
        (["--default-period", "3600"], ["is called back, for 1 h"], ["--default-period"]),
        (["--data", "else where"], ["--data 'else where'", "else where and is there at the next start"], []),
    ],
    ids=["defaults", "redial for every call", "data elsewhere"],
)
def test_the_server_says_what_to_do_with_it(tmp_path: Path, flags: list[str], says: list[str], silent: list[str]):
    command = [sys.executable, "-m", "sipfast", "serve", "--hints", "--listen", "udp:127.0.0.1:0", "--workers", "1", *flags]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=tmp_path, env=environment()
    ) as server:
        assert server.stdout is not None
        told = "".join(server.stdout.readline() for _ in range(8))
        server.send_signal(signal.SIGINT)
        told += server.stdout.read()
        assert server.wait(20) == 0
    for text in ("Ctrl-C", str(tmp_path), "demo", "bindings list", "watches list", *says):
        assert text in told
    for text in silent:
        assert text not in told


def test_without_being_asked_it_says_what_it_serves_and_who_may_register(tmp_path: Path):
    command = [sys.executable, "-m", "sipfast", "serve", "--listen", "udp:127.0.0.1:0", "--workers", "1"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=tmp_path, env=environment()
    ) as server:
        assert server.stdout is not None
        assert server.stdout.readline().startswith("sipfast ")
        assert server.stdout.readline().startswith("Anybody may register here")
        server.send_signal(signal.SIGINT)
        assert server.stdout.read() == ""


def test_a_file_is_blamed_for_a_host_that_cannot_be_resolved(tmp_path: Path):
    path = tmp_path / "sipfast.toml"
    path.write_text('open = true\nlisten = ["udp:127.0.0.1:0", "udp:no-such-host.invalid:0"]\n')
    line = one_line(sipfast_command("serve", "--config", path, folder=tmp_path), 2)
    assert line.startswith(f"sipfast: {path}: listen[1]: cannot resolve 'no-such-host.invalid'")
