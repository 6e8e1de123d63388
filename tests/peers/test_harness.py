"""A peer that is missing is a skip with its reason for a person, and a failure for CI."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from peers import process

INSTALL = Path(__file__).parent.parent.parent / "ci" / "install-peers.sh"


def test_a_missing_program_skips(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no-such-program not installed"):
        process.need("no-such-program")


def test_a_missing_program_fails_in_ci(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no-such-program not installed"):
        process.need("no-such-program")


@pytest.mark.parametrize(("ci", "status"), [("", 0), ("true", 1)], ids=["at home", "in CI"])
def test_the_installer_says_why_it_installs_nothing(tmp_path: Path, ci: str, status: int):
    # A PATH with a shell and an id that says "not root", and none of the programs.
    (tmp_path / "id").write_text("#!/bin/sh\necho 1000\n")
    (tmp_path / "id").chmod(0o755)
    (tmp_path / "sh").symlink_to("/bin/sh")
    script = tmp_path / "install.sh"
    script.write_text(INSTALL.read_text().replace("PATH=$PATH:/usr/sbin:/sbin", "PATH=$PATH"))
    done = subprocess.run(
        ["/bin/sh", str(script)], env={"PATH": str(tmp_path), "CI": ci}, capture_output=True, text=True, check=False
    )
    assert done.returncode == status
    assert "not root" in done.stderr
    assert "sip-tester kamailio baresip-core" in done.stderr


def test_a_process_that_ends_early_is_told_with_its_last_words(tmp_path: Path):
    it = process.Process(["/bin/sh", "-c", "echo dying words; exit 3"], tmp_path / "short.log")
    with pytest.raises(AssertionError, match=r"(?s)ended with 3 before: comes up.*dying words"):
        it.until(lambda: False, 5, "comes up")


def test_a_process_that_ignores_being_asked_is_ended(tmp_path: Path):
    it = process.Process(["/bin/sh", "-c", "trap '' TERM; echo up; exec sleep 60"], tmp_path / "deaf.log")
    it.until(lambda: "up" in it.log.read_text(), 5, "is up")
    it.stop(0.2)
    assert not it.running
    with pytest.raises(ProcessLookupError):
        os.killpg(it.pid, 0)
