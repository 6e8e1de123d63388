"""Compiles a Cython file of the tests: what it looks at has no Python face."""

import fcntl
import importlib.util
import sysconfig
from functools import cache
from pathlib import Path
from types import ModuleType

from Cython.Build import cythonize
from setuptools import Distribution, Extension
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).parent.parent
LOOKS = Path(__file__).parent / "looks.pyx"
KEPT = ROOT / "build" / "looks"


def compiled(source: Path, target: Path, flags: str = "-O1") -> ModuleType:
    """The module of a .pyx file, built in an empty directory."""
    extension = Extension(source.stem, [str(source)], extra_compile_args=flags.split())
    modules = cythonize([extension], include_path=[str(ROOT)], build_dir=str(target), language_level=3, quiet=True)
    command = build_ext(Distribution({"ext_modules": modules}))
    command.build_lib = command.build_temp = str(target)
    command.ensure_finalized()
    command.run()
    return loaded(Path(command.get_ext_fullpath(source.stem)))


@cache
def looks() -> ModuleType:
    """The module of looks.pyx, compiled anew where that or a declaration of the server's has changed since."""
    KEPT.mkdir(parents=True, exist_ok=True)
    newest = max(path.stat().st_mtime for path in (LOOKS, *(ROOT / "sipfast").rglob("*.pxd")))
    with (KEPT / "lock").open("w") as lock:  # two test runs at a time
        fcntl.flock(lock, fcntl.LOCK_EX)
        for made in KEPT.glob(f"looks{sysconfig.get_config_var('EXT_SUFFIX')}"):
            if made.stat().st_mtime > newest:
                return loaded(made)
            made.unlink()
        return compiled(LOOKS, KEPT)


def loaded(path: Path) -> ModuleType:
    """The module that a file is."""
    spec = importlib.util.spec_from_file_location(path.name.partition(".")[0], path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
