"""Builds the compiled modules; everything else about the package is in pyproject.toml."""

import os
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

DIRECTIVES = {
    "language_level": "3",
    "boundscheck": False,
    "wraparound": False,
    "initializedcheck": False,
    "cdivision": True,
    "embedsignature": True,
}
CFLAGS = os.environ.get("SIPFAST_CFLAGS", "-O3 -g0 -fno-strict-aliasing").split()
# None where an object should be is read as if it were one; a sanitizer sees that only where it leads out of all memory.
DIRECTIVES["nonecheck"] = any(flag.startswith("-fsanitize=") for flag in CFLAGS)

extensions = [
    Extension(".".join(path.with_suffix("").parts), [str(path)], extra_compile_args=CFLAGS)
    for path in sorted(Path("sipfast").rglob("*.pyx"))
]

setup(
    ext_modules=cythonize(extensions, compiler_directives=DIRECTIVES, nthreads=0, build_dir="build/cython"),
    options={"build_ext": {"parallel": int(os.environ.get("JOBS") or os.cpu_count() or 1)}},
)
