"""Compiles what the benchmarks have of compiled modules, where the source is newer: they are part of no wheel, so
setup.py does not know them."""

from __future__ import annotations

import fcntl
import importlib
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

HERE = Path(__file__).parent
ROOT = HERE.parent
DIRECTIVES = {
    "language_level": "3",
    "boundscheck": False,
    "wraparound": False,
    "initializedcheck": False,
    "cdivision": True,
}
CFLAGS = os.environ.get("SIPFAST_CFLAGS", "-O3 -g0 -fno-strict-aliasing").split()
FIXED = {"yardstick": ["-O2", "-g0", "-fno-strict-aliasing"]}
"""Packages whose flags are not for anybody to choose: others are measured against them."""
CORE = {"loops": "**/*.pxd", "presence": "**/*.pxd", "loadgen": "transport/kernel.pxd"}
"""What of the server's declarations a package is built upon, and so has to follow."""


def built(package: str, module: str) -> ModuleType:
    """One module of a package, compiled where it has to be. Raises RuntimeError with what the compiler says."""
    ensure_built(package)
    return importlib.import_module(f"benchmarks.{package}.{module}")


def ensure_built(package: str) -> None:
    """Compile a package of the benchmarks where it has to be, in a process of its own: its modules may be loaded here.

    Raises RuntimeError with what the compiler says.
    """
    with Path(__file__).open() as lock:  # two test runs at a time
        fcntl.flock(lock, fcntl.LOCK_EX)
        if stale(package):
            path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
            command = [sys.executable, str(HERE / "build.py"), package]
            done = subprocess.run(
                command, cwd=ROOT, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": path}
            )
            if done.returncode:
                raise RuntimeError(f"benchmarks/{package} does not compile:\n{done.stdout}{done.stderr}")


def stale(package: str) -> bool:
    """Whether a module is missing or older than any source."""
    sources = [path for kind in ("*.pyx", "*.pxd") for path in (HERE / package).glob(kind)]
    if package in CORE:
        sources += (ROOT / "sipfast").glob(CORE[package])
    newest = max(path.stat().st_mtime for path in sources)
    for source in (HERE / package).glob("*.pyx"):
        built = [path for path in source.parent.glob(f"{source.stem}.*.so") if sys.implementation.cache_tag in path.name]
        if not built or max(path.stat().st_mtime for path in built) < newest:
            return True
    return False


def build(package: str) -> None:
    from Cython.Build import cythonize
    from setuptools import Distribution, Extension
    from setuptools.command.build_ext import build_ext

    flags = FIXED.get(package, CFLAGS)
    extensions = [
        Extension(f"benchmarks.{package}.{path.stem}", [str(path.relative_to(ROOT))], extra_compile_args=flags)
        for path in sorted((HERE / package).glob("*.pyx"))
    ]
    folder = f"build/{package}"
    modules = cythonize(extensions, compiler_directives=DIRECTIVES, build_dir=folder, quiet=True, force=True)
    command = build_ext(Distribution({"ext_modules": modules}))
    command.inplace = False
    command.build_lib = str(ROOT)
    command.build_temp = folder
    command.force = True
    command.ensure_finalized()
    command.run()


if __name__ == "__main__":
    build(sys.argv[1])
