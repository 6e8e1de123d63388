"""A server that is told to end ends, whatever it is doing."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SERVER = """
import sys, time
from sipfast.config import Config, Storage
from sipfast.node import worker
worker.GRACE = 1.0
busy = sys.argv[2]
if busy == "in a loop":
    def info(event, **more):
        while event == "stopped":
            pass
    worker.log.info = info
elif busy == "on its disk":
    class Slow(worker.Store):
        def close(self):
            time.sleep(60)
    worker.Store = Slow
def announce(line):
    print(line, flush=True)
worker.serve(Config(listen=("udp:127.0.0.1:0",), workers=1, store=Storage(data=sys.argv[1])), announce)
"""


@pytest.mark.parametrize("busy", ["with nothing", "in a loop", "on its disk"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_it_ends_whatever_it_is_doing(tmp_path: Path, busy: str, number: int) -> None:
    command = [sys.executable, "-c", SERVER, str(tmp_path / "data"), busy]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert "serves" in process.stdout.readline()
            begun = time.monotonic()
            process.send_signal(number)
            process.wait(20)
            assert time.monotonic() - begun < 15  # the bound is 1 s here; the rest is a busy machine's
            assert (process.returncode == 0) == (busy == "with nothing")
        finally:
            process.kill()
