"""The tests behind real NATs for who is not root: the same tests, in a user namespace."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from peers.natlab import rootless

pytestmark = [pytest.mark.peers, pytest.mark.timeout(1000)]

TESTS = Path(__file__).parent
REPOSITORY = TESTS.parent.parent
# Root has run all of them as they are: one shows that the way by a user namespace works.
WHICH = "test_nat.py" + ("" if os.getuid() else "::test_a_restart_in_the_middle_of_a_call[alone]")


def test_the_tests_behind_nats_pass_in_a_user_namespace(tmp_path: Path):
    if subprocess.run(rootless("true"), capture_output=True, check=False).returncode:
        pytest.skip("user namespaces are not permitted here")
    tests = ["-m", "pytest", "-qrs", "-p", "no:cacheprovider", f"--basetemp={tmp_path}/tests", str(TESTS / WHICH)]
    done = subprocess.run(
        rootless(sys.executable, *tests), cwd=REPOSITORY, capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
    assert "namespaces need root" not in done.stdout
