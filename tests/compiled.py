"""Compiles a Cython file of the tests or benchmarks: what they look at has no Python face."""

import importlib.util
from pathlib import Path
from types import ModuleType

from Cython.Build import cythonize
from setuptools import Distribution, Extension
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).parent.parent


def compiled(source: Path, target: Path, flags: str = "-O1") -> ModuleType:
    """The module of a .pyx file, built in an empty directory."""
    extension = Extension(source.stem, [str(source)], extra_compile_args=flags.split())
    modules = cythonize([extension], include_path=[str(ROOT)], build_dir=str(target), language_level=3, quiet=True)
    command = build_ext(Distribution({"ext_modules": modules}))
    command.build_lib = command.build_temp = str(target)
    command.ensure_finalized()
    command.run()
    spec = importlib.util.spec_from_file_location(source.stem, command.get_ext_fullpath(source.stem))
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
