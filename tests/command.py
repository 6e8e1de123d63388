"""The `sipfast` command as a process, from this source tree."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent


def environment(**extra: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "TZ": "UTC", **extra}


def sipfast_command(
    *arguments: object, folder: Path | None = None, prefix: Sequence[str] = (), typed: str = "", **extra: str
) -> subprocess.CompletedProcess[str]:
    command = [*prefix, sys.executable, "-m", "sipfast", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, cwd=folder, env=environment(**extra), check=False, input=typed,
    )  # fmt: skip


def powerless() -> list[str] | None:
    """What to put before a command so that it has no more rights than any user; None where that cannot be had."""
    if os.geteuid() != 0:
        return []
    prefix = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
    if shutil.which(prefix[0]) and not subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode:
        return prefix
    return None


def one_line(done: subprocess.CompletedProcess[str], status: int) -> str:
    """The only line of stderr, of a command that said nothing else."""
    assert done.returncode == status, done
    assert done.stdout == ""
    assert done.stderr.endswith("\n")
    assert done.stderr.count("\n") == 1, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr.strip()
