"""A checkout of sipfast whose server is measured: where it is, what it is called, and how its server is started.

Its server runs with its own interpreter in its own folder, and with nothing in the environment that would lead Python
anywhere else. `check` looks whether a running one has really loaded the compiled modules of its own checkout.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from .accounting import PROC, family

ROOT = Path(__file__).parent.parent
Say = Callable[[str], None]
ALIKE = 0.02
"""a part of a module's size"""
OF_MAKE = {"MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES"}
"""What a make tells another that it starts: its own targets' variables, which are none of the other checkout's."""


class CannotTell(Exception):
    """Says why there is nothing to compare, and the way out, in one line."""


@dataclass(frozen=True)
class Checkout:
    """A built checkout. `python` is the interpreter that it was built for."""

    root: Path
    python: Path

    @cached_property
    def environment(self) -> dict[str, str]:
        """Of its server: no PYTHONPATH, no other virtual environment."""
        return {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV" and not name.startswith("PYTHON")}

    @cached_property
    def help(self) -> str:
        """What `sipfast serve --help` says. Raises CannotTell where the server does not even say that."""
        return self.said("-m", "sipfast", "serve", "--help")

    @cached_property
    def package(self) -> Path:
        """Where Python finds `sipfast`. Raises CannotTell where that is not in this checkout."""
        found = Path(self.said("-c", "import sipfast; print(sipfast.__file__)").strip()).parent
        if found != self.root / "sipfast":
            raise CannotTell(f"{self.python} in {self.root} imports sipfast from {found}: make -C {self.root} clean build")
        return found

    @cached_property
    def revision(self) -> str:
        """The commit, "-dirty" where a file differs from it, its day and its first line; or that there is none."""
        commit = git(self.root, "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*")
        return f"{commit} {git(self.root, 'log', '-1', '--format=(%cs: %s)')}" if commit else "no revision known"

    @cached_property
    def modules(self) -> dict[str, tuple[bytes, int]]:
        """Source, interface included, and compiled size in bytes of each compiled module."""
        found = {}
        for source in sorted(self.package.rglob("*.pyx")):
            parts = [path.read_bytes() for path in (source, source.with_suffix(".pxd")) if path.exists()]
            sizes = [path.stat().st_size for path in source.parent.glob(f"{source.stem}.*.so")]
            if sizes:
                found[source.stem] = (b"".join(parts), max(sizes))
        return found

    def said(self, *arguments: str) -> str:
        """What its interpreter prints. Raises CannotTell where it fails."""
        try:
            done = subprocess.run(
                [self.python, *arguments], cwd=self.root, env=self.environment, capture_output=True, text=True, check=False
            )
        except OSError as error:
            raise CannotTell(f"{self.python} cannot be started ({error.strerror}): make -C {self.root} build") from None
        if done.returncode:
            story = done.stderr.strip().rpartition("\n")[2]
            raise CannotTell(f"sipfast in {self.root} does not run ({story}): make -C {self.root} build")
        return done.stdout

    def serving(self, arguments: Sequence[str]) -> list[str]:
        """The command of `python -m sipfast serve` with the options among these that this checkout knows.

        `arguments` are options with one value each. One that it does not know stands for what it does anyway.
        """
        pairs = zip(arguments[::2], arguments[1::2], strict=True)
        known = [part for name, value in pairs if f" {name} " in self.help for part in (name, value)]
        return [str(self.python), "-m", "sipfast", "serve", *known]

    def check(self, pid: int) -> None:
        """Whether the server of this process has loaded this checkout's compiled modules, and no other's.

        Raises CannotTell where it has not.
        """
        self.judge(line.split(maxsplit=5)[-1].strip() for each in family(pid) for line in mapped(each))

    def judge(self, loaded: Iterable[str]) -> None:
        """`check`, of the paths of the files that the process has mapped."""
        own = {*self.package.rglob("*.so")}
        names = {path.name for path in own}
        modules = {Path(path) for path in loaded if Path(path).name in names}
        foreign = sorted(str(path) for path in modules - own)
        if foreign or not modules:
            raise CannotTell(f"the server of {self.root} has loaded {foreign[0] if foreign else 'no compiled module of it'}")


def built_otherwise(one: Checkout, two: Checkout) -> list[str]:
    """The modules that have the same source in both checkouts, but not the same size: the compiler or its flags differ.

    A difference of up to ALIKE may come from what they cimport.
    """
    both = [(name, one.modules[name], two.modules[name]) for name in one.modules if name in two.modules]
    return [name for name, (source, size), other in both if source == other[0] and abs(other[1] - size) > ALIKE * size]


def mapped(pid: int) -> list[str]:
    """The lines of what a process has mapped into its memory."""
    try:
        return PROC.joinpath(str(pid), "maps").read_text().splitlines()
    except OSError:
        return []


def here() -> Checkout:
    """This one, with the interpreter that runs."""
    return Checkout(ROOT, Path(sys.executable))


def other(where: str, say: Say) -> Checkout:
    """The checkout in a folder, which has to be built; or one of a git revision, made and built in build/against/.

    Raises CannotTell.
    """
    folder = Path(where)
    if not folder.is_dir():
        return of_revision(where, say)
    root = folder.resolve()
    if not (root / "sipfast" / "__init__.py").exists() or not (root / "Makefile").exists():
        raise CannotTell(f"{root} is no checkout of sipfast: give its topmost folder, or a git revision")
    if subprocess.run([*MAKE, "--question", "build"], cwd=root, env=clean(), capture_output=True, check=False).returncode:
        raise CannotTell(f"{root} is not built, or has changed since: make -C {root} build")
    return Checkout(root, root / ".venv" / "bin" / "python")


MAKE = ("make", "--no-print-directory")


def of_revision(revision: str, say: Say) -> Checkout:
    """A work tree of the revision, built by its own Makefile; one that is there already is used again."""
    commit = git(ROOT, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    if not commit:
        raise CannotTell(f"{revision} is neither a folder nor a revision that git knows here")
    root = ROOT / "build" / "against" / commit[:12]
    if not root.exists():
        say(f"checking out {commit[:12]} in {root}")
        # --force: `make clean` has removed one that git still remembers.
        command = ["git", "-C", str(ROOT), "worktree", "add", "--quiet", "--force", "--detach", str(root), commit]
        run(command, ROOT, f"{revision} cannot be checked out: git worktree list")
    say(f"building {commit[:12]}, which takes a minute or two the first time")
    run([*MAKE, "build"], root, f"{root} does not build: git worktree remove --force {root}, or see above")
    return Checkout(root, root / ".venv" / "bin" / "python")


def run(command: Sequence[str], cwd: Path, trouble: str) -> None:
    """Run it, and show what it prints. Raises CannotTell, with `trouble`, where it fails."""
    if subprocess.run(command, cwd=cwd, env=clean(), stdout=sys.stderr, check=False).returncode:
        raise CannotTell(trouble)


def clean() -> Mapping[str, str]:
    """The environment without what the make that started us has put there."""
    return {name: value for name, value in os.environ.items() if name not in OF_MAKE}


def git(folder: Path, *arguments: str) -> str:
    """What git prints; nothing where it fails or is not there."""
    command = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
