"""What a newcomer is told: what is missing before anything is built, and that the first start says what to do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from command import ROOT

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


def test_make_run_asks_for_it():
    done = subprocess.run(["make", "-n", "run"], capture_output=True, text=True, cwd=ROOT, timeout=60, check=False)
    assert "sipfast serve --hints" in done.stdout
