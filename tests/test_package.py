"""The package as others get it: an sdist that can be built, and a wheel with everything in it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# All is compiled anew: minutes, on a machine that does something else as well.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


def tracked() -> list[str]:
    """What a clean clone holds."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a git clone, so nobody knows what a clean one holds")
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in done.stdout.splitlines() if (ROOT / name).exists()]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the sdist, and the wheel made from that sdist alone."""
    clone, out = tmp_path_factory.mktemp("clone"), tmp_path_factory.mktemp("dist")
    for name in tracked():
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, clone / name)
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out)]
    done = subprocess.run(
        command, cwd=clone, env={**os.environ, "SIPFAST_CFLAGS": "-O0"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return out


def ours(suffixes: tuple[str, ...]) -> set[str]:
    return {name for name in tracked() if name.startswith("sipfast/") and name.endswith(suffixes)}


def test_the_sdist_has_the_sources_and_nothing_generated(built: Path):
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        names = {name.partition("/")[2] for name in tar.getnames()}
    assert ours((".py", ".pyx", ".pxd", ".pyi", ".typed", ".toml")) <= names
    assert {"LICENSE", "README.md", "Makefile", "setup.py", "pyproject.toml", "ci/install-peers.sh"} <= names
    assert {name for name in tracked() if name.startswith("tests/")} <= names
    assert not [name for name in names if name.endswith((".so", ".c", ".pyc"))]


def test_the_wheel_has_compiled_modules_stubs_and_the_mark_of_types(built: Path):
    (archive,) = built.glob("*.whl")
    with zipfile.ZipFile(archive) as wheel:
        names = set(wheel.namelist())
    assert "sipfast/py.typed" in names
    assert ours((".py", ".pyi", ".pxd", ".toml")) <= names
    for source in ours((".pyx",)):
        stem = source.removesuffix(".pyx")
        assert any(name.startswith(f"{stem}.") and name.endswith(".so") for name in names), f"{stem} is not compiled"
        assert f"{stem}.pyi" in names, f"{stem} has no stub"
    assert any(name.endswith("/licenses/LICENSE") for name in names)
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/"))]


def test_the_wheel_runs_outside_of_the_source_tree(built: Path, tmp_path: Path):
    (archive,) = built.glob("*.whl")
    with zipfile.ZipFile(archive) as wheel:
        wheel.extractall(tmp_path)
    done = subprocess.run(
        [sys.executable, "-P", "-m", "sipfast", "demo"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Redial done" in done.stdout
