"""What imports what, read from the code: `import` and `cimport` alike. tests/test_layering.py has the table to hold it to.

A module is named without the leading "sipfast."; a room is a folder, and what lies on the top: the *foundation* (the
modules with an underscore), and the command line. See docs/architecture.md.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parent.parent / "sipfast"
SUFFIXES = (".py", ".pyi", ".pyx", ".pxd")
FOUNDATION, FRONT = "foundation", "command line"
LEAVES = {
    "errors", "config", "config.addresses", "config.checks", "config.explain", "config.load", "config.schema",
    "store.records", "observe.printable", "observe.faults", "",
}  # fmt: skip
"""words that all share: these import none but each other"""

CIMPORT_FROM = re.compile(r"^\s*from\s+([.\w]+)\s+c?import\s+(\([^)]*\)|[^\n]+)", re.MULTILINE)
CIMPORT = re.compile(r"^\s*c?import\s+([\w., ]+)", re.MULTILINE)


def module_of(path: Path, root: Path = ROOT) -> str:
    """`sipfast/store/records.py` is "store.records", the package's `__init__` is its own name."""
    parts = list(path.relative_to(root).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module: str) -> str:
    """The room that a module is in."""
    room = module.split(".")[0]
    if room and (ROOT / room).is_dir():
        return room
    if (module.startswith("_") and module != "__main__") or module == "errors":
        return FOUNDATION
    return FRONT


def files(root: Path = ROOT) -> list[Path]:
    """All source files of the package."""
    return sorted(path for path in root.rglob("*") if path.suffix in SUFFIXES)


def package_of(module: str, path: Path) -> list[str]:
    """The package that a file's relative imports start from."""
    parts = module.split(".") if module else []
    return parts if path.stem == "__init__" else parts[:-1]


def python_imports(source: str) -> Iterator[tuple[str, list[str]]]:
    """Dotted name as written and the names taken from it. Type-checking imports count: they are knowledge, too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, []
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or ""), [alias.name for alias in node.names]


def cython_imports(source: str) -> Iterator[tuple[str, list[str]]]:
    """The same of a Cython file."""
    bare = re.sub(r'""".*?"""', '""', source, flags=re.DOTALL)
    bare = re.sub(r"#.*", "", bare).replace("\\\n", " ")
    for match in CIMPORT_FROM.finditer(bare):
        names = [name.split(" as ")[0].strip() for name in match[2].strip("() \n").split(",")]
        yield match[1], [name for name in names if name]
    for match in CIMPORT.finditer(bare):
        for name in match[1].split(","):
            yield name.split(" as ")[0].strip(), []


def resolve(name: str, names: list[str], package: list[str], known: set[str]) -> Iterator[str]:
    """Modules of ours that an import reaches; others as "!name"."""
    level = len(name) - len(name.lstrip("."))
    rest = name[level:]
    if level:
        parts = package[: len(package) - (level - 1)] + (rest.split(".") if rest else [])
    elif rest == "sipfast" or rest.startswith("sipfast."):
        parts = rest.split(".")[1:]
    else:
        yield "!" + rest.split(".")[0]
        return
    base = ".".join(parts)
    submodules = [item for item in (".".join([*parts, name]) for name in names) if item in known]
    yield from submodules
    if not names or len(submodules) < len(names):
        yield base


def reached(path: Path, module: str, source: str, known: set[str]) -> set[str]:
    """All that one file imports."""
    read = cython_imports if path.suffix in (".pyx", ".pxd") else python_imports
    package = package_of(module, path)
    return {target for name, names in read(source) for target in resolve(name, names, package, known)} - {module}


def arrows(root: Path = ROOT) -> dict[str, set[str]]:
    """For each module the modules of ours that it imports."""
    found: dict[str, set[str]] = {}
    known = {module_of(path, root) for path in files(root)}
    for path in files(root):
        module = module_of(path, root)
        ours = {target for target in reached(path, module, path.read_text(), known) if not target.startswith("!")}
        found.setdefault(module, set()).update(ours)
    return found


def between_rooms(found: Mapping[str, set[str]]) -> dict[tuple[str, str], list[str]]:
    """The arrows that leave a room: for each pair of rooms the modules at both ends."""
    rooms: dict[tuple[str, str], list[str]] = {}
    for module, targets in sorted(found.items()):
        for target in sorted(targets - {""}):
            if room_of(module) != room_of(target):
                rooms.setdefault((room_of(module), room_of(target)), []).append(f"{module} -> {target}")
    return rooms
