"""Who may import whom (docs/architecture.md): the arrows, over `import` and `cimport` alike.

A new module needs a line in ARROWS; one that imports what its line does not name is an error here.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "sipfast"

LEAVES = {"errors", "config", "records", "metrics", "printable", "faults"}
CORE = {"_flow", "_uri", "_parser", "_wheel", "_writer", "_transaction"}
STORE = {"store.protocol"}
STORES = {
    "store", "store.protocol", "store.memory", "store.lmdb", "store.outcomes", "store.redis", "store.sweep", "store.upgrade",
}  # fmt: skip
TRANSPORTS = {"_udp", "_udp_socket", "transport", "transport.udp", "transport.stream", "transport.ws", "transport.resolve"}

# Module: what it may import of ours, besides the leaves, which all may.
ARROWS: dict[str, set[str]] = {
    "errors": set(),
    "config": set(),
    "records": set(),
    "metrics": set(),
    "printable": set(),
    "faults": set(),
    "_records": {"_uri"},
    "_batch": set(),
    "_flow": set(),
    "_grammar": set(),
    "_uri": {"_grammar"},
    "_values": {"_grammar", "_uri"},
    "_parser": {"_grammar", "_uri", "_values"},
    "_wheel": set(),
    "_writer": {"_branch", "_hash", "_flow", "_parser"},
    "_hash": set(),
    "_branch": {"_hash"},
    "_index": set(),
    "_machines": set(),
    "_matching": {"_branch", "_hash", "_parser"},
    # Who has proven what: asked by the transactions on their way out.
    "proven": {"_branch", "_hash", "_flow", "peers"},
    "_credit": {"proven"},
    "_transaction": {"_branch", "_credit", "_flow", "_hash", "_index", "_machines", "_matching", "_parser", "_wheel"}
    | {"_writer", "proven"},
    "store": STORES,
    "store.protocol": set(),
    "store.sweep": set(),
    "store.memory": STORE | {"store.sweep", "_records"},
    "store.pages": set(),
    "store.upgrade": {"_flow", "_parser"},
    "store.outcomes": {"_batch"},
    "store.lmdb": STORE | {"store.outcomes", "store.pages", "store.sweep", "store.upgrade", "_batch", "_records"},
    "store.redis": STORE,
    "_token": {"_branch", "_hash", "_flow", "_grammar", "_parser", "_uri"},
    "peers": {"_flow"},
    "location": CORE | STORE | {"_records", "peers"},
    # What people are told of.
    "events": {"_wheel"},
    # Which of an upstream's addresses answer.
    "upstream": CORE,
    # Whose a request is, and its Route set: it decides, and calls nobody.
    "router": {"_flow", "_parser", "_token", "_uri", "upstream"},
    # What our Path and Record-Route values say, and where a request goes.
    "outbound": CORE | {"_token"},
    "mid_registrar": CORE | STORE | {"_contacts", "_token", "location", "outbound"},
    "destination": CORE
    | STORE
    | {"_records", "_token", "location", "mid_registrar", "outbound", "peers", "router", "upstream"},
    # Siblings: the engine wires them, they do not know each other.
    "auth": CORE | STORE | {"location"},
    "_contacts": {"_grammar", "_parser", "_records", "_writer"},
    "registrar": CORE | STORE | {"_contacts", "_records", "location", "proven"},
    "learning": CORE | STORE | {"_contacts", "location", "proven"},
    # Asks who has proven nothing.
    "probe": {"_branch", "_hash", "_credit", "_flow", "_parser", "location", "proven"},
    "ringing": {"_branch", "_hash", "_flow", "_parser"},
    "proxy": CORE | {"_branch", "_hash", "outbound", "ringing", "router", "upstream"},
    "redial": CORE | STORE | {"_credit", "_answers", "_records", "_refer", "_watchlist", "events", "location"},
    # What redial is made of, besides; nobody else knows it, but that the engine gives it transactions to send by.
    "_watchlist": STORE | {"_records", "_waiting", "_wheel", "events"},
    "_waiting": {"_wheel"},
    "_answers": {"_wheel"},
    "_refer": CORE | {"_credit", "_branch", "_hash", "_records"},
    # The same by several workers: it adds who owns what, and changes nothing of what redial does.
    "redial_shared": CORE | STORE | {"_credit", "_answers", "_records", "_refer", "events", "location", "redial"},
    "engine": CORE
    | STORE
    | {"_refer", "_token", "destination", "events", "learning", "location", "mid_registrar", "outbound", "peers", "upstream"}
    | {"auth", "probe", "proven", "registrar", "proxy", "redial", "redial_shared", "ringing", "router"},
    # Transports hand bytes to a receiver and never know what it is made of.
    "_udp_socket": {"_flow"},
    "_udp": {"_flow", "_udp_socket", "engine"},
    "transport": TRANSPORTS | {"_flow", "engine"},
    "transport.udp": {"_udp_socket", "_flow", "engine", "transport.resolve"},
    "transport.stream": {"_flow", "engine", "transport.resolve"},
    "transport.ws": {"_flow", "engine", "transport.resolve", "transport.stream"},
    "transport.resolve": {"_flow"},
    "server": set(),
    "server.logs": set(),
    "server.bus": {"_udp_socket"},
    "server.clock": STORE | {"_udp"},
    "server.signals": set(),
    "server.worker": TRANSPORTS
    | STORES
    | {"engine", "_flow", "server.admin", "server.bus", "server.clock", "server.signals"},
    "server.admin": set(),
    "server.supervisor": {
        "server.worker", "server.admin", "server.bus", "server.clock", "server.signals", "transport.udp",
    },
    # It starts the server as a process of its own and talks to it over the network only.
    "demo": {"_parser"},
    "cli": STORES
    | {"_flow", "_uri", "server", "server.clock", "server.signals", "server.logs"}
    | {"server.worker", "server.supervisor", "server.admin", "demo"},
    "__main__": {"cli"},
    "": set(),
}

OURS_OF_LEAVES: dict[str, set[str]] = {
    "config": {"errors"}, "records": {"errors"}, "metrics": {"errors"}, "errors": set(), "printable": set(), "faults": set(),
}  # fmt: skip

# The core does no I/O and reads no clock.
DEVICES = {"asyncio", "socket", "select", "selectors", "time", "datetime", "uvloop", "signal", "subprocess"}
MAY_TOUCH_DEVICES = ("transport", "server", "_udp", "_udp_socket", "demo", "cli", "__main__", "store.redis")
CLOCKS_IN_C = re.compile(r'"(?:sys/)?(?:time|socket|epoll)\.h"|\blibc\.time\b|\bposix\.time\b')

CIMPORT_FROM = re.compile(r"^\s*from\s+([.\w]+)\s+c?import\s+(\([^)]*\)|[^\n]+)", re.MULTILINE)
CIMPORT = re.compile(r"^\s*c?import\s+([\w., ]+)", re.MULTILINE)


def module_of(path: Path, root: Path = ROOT) -> str:
    """`sipfast/store/lmdb.py` is "store.lmdb", the package's `__init__` is its own name."""
    parts = list(path.relative_to(root).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def package_of(module: str, path: Path) -> list[str]:
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
    bare = re.sub(r'""".*?"""', '""', source, flags=re.DOTALL)
    bare = re.sub(r"#.*", "", bare).replace("\\\n", " ")
    for match in CIMPORT_FROM.finditer(bare):
        names = [name.split(" as ")[0].strip() for name in match[2].strip("() \n").split(",")]
        yield match[1], [name for name in names if name]
    for match in CIMPORT.finditer(bare):
        for name in match[1].split(","):
            yield name.split(" as ")[0].strip(), []


def resolve(name: str, names: list[str], package: list[str], known: set[str]) -> Iterator[str]:
    """Modules of ours that an import reaches, without the leading "sipfast."; others as "!name"."""
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


def violations(path: Path, module: str, source: str, known: set[str]) -> list[str]:
    """What in one file breaks the rules."""
    if module not in ARROWS:
        return [f"{module}: no line in ARROWS; say where it stands"]
    compiled = path.suffix in (".pyx", ".pxd")
    allowed = OURS_OF_LEAVES.get(module, ARROWS[module] | LEAVES) | {module, ""}
    found = []
    for name, names in cython_imports(source) if compiled else python_imports(source):
        for target in resolve(name, names, package_of(module, path), known):
            if target.startswith("!"):
                if target[1:] in DEVICES and not module.startswith(MAY_TOUCH_DEVICES):
                    found.append(f"{module} ({path.suffix}) imports {target[1:]}: no clock and no I/O here")
            elif target not in allowed:
                found.append(f"{module} ({path.suffix}) imports {target}")
    if compiled:
        if re.search(r"^\s*include\s+[\"']", source, re.MULTILINE):
            found.append(f"{module} includes a file: cimport it")
        if CLOCKS_IN_C.search(source) and not module.startswith(MAY_TOUCH_DEVICES):
            found.append(f"{module} reaches for a clock or a socket in C")
    return found


FILES = sorted(path for path in ROOT.rglob("*") if path.suffix in (".py", ".pyi", ".pyx", ".pxd"))
KNOWN = {module_of(path) for path in FILES}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_follow_the_arrows(path: Path):
    assert violations(path, module_of(path), path.read_text(), KNOWN) == []


def test_the_arrows_have_no_cycle():
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " -> ".join((*trail, module))
        if module not in done:
            for target in ARROWS.get(module, set()) - {module}:
                if not module.startswith(target) and not target.startswith(module):  # a package and its parts
                    visit(target, (*trail, module))
            done.add(module)

    for module in ARROWS:
        visit(module, ())


@pytest.mark.parametrize("one", ["auth", "registrar", "proxy", "redial"])
def test_siblings_do_not_know_each_other(one: str):
    assert not ARROWS[one] & {"auth", "registrar", "proxy", "redial", "engine"}


# A test of rules that cannot fail proves nothing: each rule, broken once.
BROKEN = [
    ("registrar.pyx", "from .proxy cimport Proxy", "imports proxy"),
    ("registrar.pyx", "from . cimport redial", "imports redial"),
    ("registrar.pyx", "from .proxy import (\n    Proxy,\n    Other,\n)", "imports proxy"),
    ("registrar.pxd", "cimport sipfast.proxy", "imports proxy"),
    ("redial.pyx", "def f():\n    from .registrar import Registrar", "imports registrar"),
    ("redial.pyx", "from sipfast.store.lmdb import LmdbStore", "imports store.lmdb"),
    ("_parser.pyx", "from ._writer cimport Edits", "imports _writer"),
    ("_transaction.pyx", "from .location cimport Location", "imports location"),
    ("engine.pyx", "from .transport.udp import UdpTransport", "imports transport.udp"),
    ("engine.pyx", "import sipfast.transport", "imports transport"),
    ("engine.pyx", "import time", "no clock and no I/O"),
    ("engine.pyx", "from libc.time cimport time", "clock or a socket in C"),
    ("engine.pyx", 'cdef extern from "sys/socket.h":\n    pass', "clock or a socket in C"),
    ("engine.pyx", 'include "other.pyx"', "cimport it"),
    ("store/lmdb.py", "from asyncio import sleep", "no clock and no I/O"),
    ("store/memory.py", "from ..engine import Engine", "imports engine"),
    ("records.py", "from . import config", "imports config"),
    ("transport/udp.py", "from ..registrar import Registrar", "imports registrar"),
    ("server/worker.py", "from .supervisor import Supervisor", "imports server.supervisor"),
    ("newcomer.py", "", "no line in ARROWS"),
]


@pytest.mark.parametrize(("name", "source", "says"), BROKEN, ids=[f"{b[0]}-{b[2]}" for b in BROKEN])
def test_a_broken_rule_is_found(name: str, source: str, says: str):
    path = ROOT / name
    known = KNOWN | {"redial", "proxy", "engine", "transport.udp", "server.supervisor", "store.lmdb"}
    found = violations(path, module_of(path), source, known)
    assert len(found) == 1
    assert says in found[0]


def test_a_good_file_passes():
    source = (
        '"""Says: from .proxy import nothing."""\n# import time\nfrom libc.stdint cimport int64_t\n'
        "from ._parser cimport (\n    Message,  # a message\n    Span,\n)\nfrom .location cimport Location\n"
        "from .errors import StoreError\n"
    )
    assert violations(ROOT / "registrar.pyx", "registrar", source, KNOWN) == []
