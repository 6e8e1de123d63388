"""A machine whose clock and boot a test can set: by libfaketime, and by a mount and a time namespace of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from command import environment

from sipfast.node import clock

from .process import Place


class Machine(Place):
    """A place whose clock and boot a test can set."""

    def __init__(self, folder: Path):
        super().__init__()
        object.__setattr__(self, "folder", folder)
        object.__setattr__(self, "boots", 0)
        self.set(0)

    def set(self, ahead: int) -> None:
        """Set the machine's clock so many ms ahead of the true one, while programs run."""
        (self.folder / "new").write_text(f"{ahead // 1000:+d}\n")
        (self.folder / "new").replace(self.folder / "clock")

    def boot(self) -> None:
        """From now on programs are started on a machine that has booted anew."""
        object.__setattr__(self, "boots", self.boots + 1)
        (self.folder / "boot").write_text(f"00000000-0000-4000-8000-{self.boots:012}\n")

    def env(self) -> dict[str, str]:
        """What has the dynamic linker load libfaketime; nothing where that is not installed."""
        return (
            {}
            if not faketime()
            else {
                "LD_PRELOAD": faketime(),
                "FAKETIME_TIMESTAMP_FILE": str(self.folder / "clock"),
                "FAKETIME_NO_CACHE": "1",
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
                "FAKETIME_DISABLE_SHM": "1",
            }
        )

    def command(self, argv: Sequence[str]) -> list[str]:
        plain = ["env", *(f"{key}={value}" for key, value in self.env().items()), *argv]
        if not self.boots:
            return plain
        script = f'mount --bind {self.folder / "boot"} {clock.BOOT_ID}; exec "$@"'
        return ["unshare", "-m", "--time", "--boottime", str(self.boots * 1000), "sh", "-c", script, "sh", *plain]

    def says(self, what: str, data: Path) -> list[dict[str, object]]:
        """`sipfast watches` or `bindings` on this machine."""
        argv = self.command([sys.executable, "-m", "sipfast", what, "--json", "--data", str(data)])
        done = subprocess.run(argv, env=environment(), capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0, done
        rows: list[dict[str, object]] = json.loads(done.stdout)
        return rows


def faketime() -> str:
    return next((str(path) for path in Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")), "")


def may_boot() -> bool:
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        return False
    argv = ["unshare", "-m", "--time", "--boottime", "1000", "mount", "--bind", "/dev/null", str(clock.BOOT_ID)]
    return subprocess.run(argv, capture_output=True, check=False).returncode == 0
