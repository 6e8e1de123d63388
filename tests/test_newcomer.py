"""What a newcomer is told: what is missing before anything is built, and what to do with a server that runs."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from command import ROOT, environment

# Missing headers


def check_python(folder: Path, patch: str = "") -> subprocess.CompletedProcess[str]:
    """ci/check-python.sh for a Python that is this one, but for what `patch` changes of it."""
    (folder / "sitecustomize.py").write_text(patch)
    python = folder / "python3"
    python.write_text(f'#!/bin/sh\nPYTHONPATH="{folder}" exec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    command = ["sh", str(ROOT / "ci" / "check-python.sh"), str(python)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_missing_headers_are_one_line_that_names_the_package(tmp_path: Path):
    patch = f"import sysconfig\nsysconfig.get_path = lambda *names: {str(tmp_path / 'include')!r}\n"
    done = check_python(tmp_path, patch)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    major, minor = sys.version_info[:2]
    assert f"{tmp_path}/include/Python.h" in done.stderr
    assert f"apt-get install python{major}.{minor}-dev" in done.stderr


def test_nothing_is_said_where_nothing_is_missing(tmp_path: Path):
    done = check_python(tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# The first start


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


def test_without_being_asked_it_says_one_line(tmp_path: Path):
    command = [sys.executable, "-m", "sipfast", "serve", "--listen", "udp:127.0.0.1:0", "--workers", "1"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=tmp_path, env=environment()
    ) as server:
        assert server.stdout is not None
        server.stdout.readline()
        server.send_signal(signal.SIGINT)
        assert server.stdout.read() == ""


def test_make_run_asks_for_it():
    done = subprocess.run(["make", "-n", "run"], capture_output=True, text=True, cwd=ROOT, timeout=60, check=False)
    assert "sipfast serve --hints" in done.stdout
