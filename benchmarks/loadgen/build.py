"""Compiles the generator in place where its source is newer: it is part of no wheel, so setup.py does not know it."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
DIRECTIVES = {
    "language_level": "3",
    "boundscheck": False,
    "wraparound": False,
    "initializedcheck": False,
    "cdivision": True,
}


def ensure_built() -> None:
    """Compile what has to be, in a process of its own: the compiled modules may be loaded here already."""
    with (HERE / "build.py").open() as lock:  # two test runs at a time
        fcntl.flock(lock, fcntl.LOCK_EX)
        if stale():
            path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
            command = [sys.executable, str(HERE / "build.py")]
            done = subprocess.run(
                command, cwd=ROOT, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": path}
            )
            if done.returncode:
                raise RuntimeError(f"the load generator does not compile:\n{done.stdout}{done.stderr}")


def stale() -> bool:
    """Whether a module is missing or older than any source."""
    newest = max(path.stat().st_mtime for kind in ("*.pyx", "*.pxd") for path in HERE.glob(kind))
    for source in HERE.glob("*.pyx"):
        built = [path for path in HERE.glob(f"{source.stem}.*.so") if sys.implementation.cache_tag in path.name]
        if not built or max(path.stat().st_mtime for path in built) < newest:
            return True
    return False


def build() -> None:
    from Cython.Build import cythonize
    from setuptools import Distribution, Extension
    from setuptools.command.build_ext import build_ext

    extensions = [
        Extension(f"benchmarks.loadgen.{path.stem}", [str(path.relative_to(ROOT))], extra_compile_args=["-O3", "-g0"])
        for path in sorted(HERE.glob("*.pyx"))
    ]
    modules = cythonize(extensions, compiler_directives=DIRECTIVES, build_dir="build/loadgen", quiet=True, force=True)
    command = build_ext(Distribution({"ext_modules": modules}))
    command.inplace = False
    command.build_lib = str(ROOT)
    command.build_temp = "build/loadgen"
    command.force = True
    command.ensure_finalized()
    command.run()


if __name__ == "__main__":
    build()
