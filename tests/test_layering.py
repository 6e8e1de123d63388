"""Who may import whom (docs/architecture.md): the arrows, over `import` and `cimport` alike, as ci/arrows.py reads them.

The table is exact: a new module needs a line, one that imports what its line does not name is an error here, and so is a
line that names what is not imported any more.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ci import arrows as reading
from ci import draw_map

ROOT = reading.ROOT
BENCHMARKS = ROOT.parent / "benchmarks"

# Module: what it imports of ours, besides the leaves, which all may.
ARROWS: dict[str, set[str]] = {
    # foundation. Bytes, time and ways: compiled, no policy.
    "_flow": set(),
    "_grammar": set(),
    "_hash": set(),
    "_listener": set(),
    "_names": {"_grammar"},
    "_parser": {"_grammar", "_likeness", "_names", "_uri", "_values"},
    "_uri": {"_grammar"},
    "_values": {"_grammar", "_uri"},
    "_wheel": set(),
    "_writer": {"_flow", "_hash", "_parser"},
    # trust. Who is known, who has proven to be there, and what one datagram may cause.
    "trust.credit": {"trust.proven"},
    "trust.limiter": {"_flow", "_hash", "trust.peers", "trust.proven"},
    "trust.peers": {"_flow"},
    "trust.proven": {"_flow", "_hash", "trust.peers"},
    # transaction. RFC 3261 §17 and RFC 6026. Knows nothing of routing.
    "transaction.branch": {"_hash"},
    "transaction.client": {
        "_flow", "_parser", "_writer", "transaction.branch", "transaction.machines", "transaction.matching",
        "transaction.transaction",
    },
    "transaction.index": set(),
    "transaction.layer": {
        "_flow", "_parser", "_wheel", "_writer", "transaction.branch", "transaction.client", "transaction.index",
        "transaction.machines", "transaction.matching", "transaction.server", "transaction.shares",
        "transaction.transaction", "trust.credit", "trust.proven",
    },
    "transaction.machines": set(),
    "transaction.matching": {"_hash", "_parser"},
    "transaction.server": {
        "_flow", "_parser", "_writer", "transaction.client", "transaction.index", "transaction.machines",
        "transaction.matching", "transaction.transaction", "trust.proven",
    },
    "transaction.shares": {"_flow", "transaction.index", "transaction.server"},
    "transaction.transaction": {
        "_flow", "_hash", "_wheel", "transaction.branch", "transaction.index", "transaction.machines", "trust.credit",
        "trust.proven",
    },
    # identity. Who a request is from: users, their passwords by digest, and what is believed of a request's own words.
    "identity": set(),
    "identity.authenticator": {
        "_flow", "_grammar", "_hash", "_parser", "_writer", "identity.credentials", "identity.digests", "identity.failures",
        "identity.nonces", "identity.users", "transaction.branch",
    },
    "identity.claims": {"_edits", "_flow", "_parser", "_uri", "identity.authenticator", "trust.peers"},
    "identity.credentials": {"_grammar"},
    "identity.digests": {"identity.credentials"},
    "identity.failures": {"_flow", "_hash"},
    "identity.nonces": {"_flow", "_grammar", "_hash", "transaction.branch"},
    "identity.rights": set(),
    "identity.user_file": {"_uri", "identity.rights", "identity.users"},
    "identity.users": {"identity.credentials", "identity.rights"},
    # dialog. What the server itself takes part in.
    "dialog": set(),
    "dialog.bridge": {
        "_flow", "_hash", "_listener", "_parser", "_writer", "dialog.leg", "dialog.remote", "dialog.sdp",
        "transaction.server", "trust.credit",
    },
    "dialog.call_names": {"_hash"},
    "dialog.digest": {"_parser"},
    "dialog.dialogs": {
        "_flow", "_listener", "_parser", "_wheel", "_writer", "dialog.bridge", "dialog.call_names", "dialog.digest",
        "dialog.leg", "dialog.leg_record", "routing.location", "store.repository", "transaction.layer",
        "transaction.server",
    },
    "dialog.leg": {
        "_flow", "_hash", "_listener", "_parser", "_wheel", "_writer", "dialog.call_names", "dialog.digest",
        "dialog.remote", "dialog.sdp", "dialog.signing", "routing.location", "routing.outbound", "routing.proxy",
        "transaction.client", "transaction.layer", "transaction.server", "transaction.transaction", "trust.credit",
    },
    "dialog.leg_record": {"_flow", "_parser", "dialog.leg", "dialog.remote", "dialog.signing"},
    "dialog.remote": {"_parser"},
    "dialog.sdp": set(),
    "dialog.signing": {"dialog.digest"},
    # store. What is kept, and where it lies.
    "store.backends": set(),
    "store.backends.directory": {"store.backends.pages", "store.backends.upgrade"},
    "store.backends.lmdb": {"store.backends.directory", "store.tables"},
    "store.backends.memory": {"store.tables"},
    "store.backends.pages": set(),
    "store.backends.upgrade": {"_flow", "_parser", "store.codec", "store.keys"},
    "store.codec": {"_uri"},
    "store.keys": {"_uri", "store.codec"},
    "store.repository": {"store.codec", "store.keys", "store.sweep", "store.tables"},
    "store.sweep": set(),
    "store.tables": set(),
    # observe. What people are told.
    "observe.events": {"_wheel", "observe.steps", "store.codec"},
    "observe.logs": set(),
    # routing. Where requests go, and where phones are. Registrar, learning and proxy are siblings: the engine wires them.
    "routing.binding_observer": set(),
    "routing.contacts": {"_grammar", "_likeness", "_parser", "_writer", "store.codec"},
    "routing.context": {
        "_edits", "_flow", "_parser", "_wheel", "_writer", "routing.ringing", "routing.upstream", "transaction.client",
        "transaction.layer", "transaction.server", "transaction.transaction",
    },
    "routing.destination": {
        "_flow", "_parser", "_writer", "routing.location", "routing.mid_registrar", "routing.outbound", "routing.router",
        "routing.token", "routing.upstream", "store.codec", "trust.peers",
    },
    "routing.doubt": {
        "_flow", "_listener", "_parser", "_writer", "routing.binding_observer", "routing.location", "store.repository",
        "transaction.branch", "transaction.client", "transaction.layer", "transaction.server",
    },
    "routing.learning": {"_flow", "_parser", "routing.contacts", "routing.location", "store.repository", "trust.proven"},
    "routing.location": {
        "_flow", "_listener", "_parser", "_uri", "routing.connections", "store.codec", "store.repository", "trust.peers",
    },
    "routing.mid_registrar": {
        "_flow", "_parser", "routing.contacts", "routing.location", "routing.outbound", "routing.token",
    },
    "routing.names": {"_wheel", "transaction.server"},
    "routing.outbound": {"_edits", "_flow", "_listener", "_parser", "_writer", "routing.token", "transaction.transaction"},
    "routing.probe": {
        "_flow", "_hash", "_listener", "_parser", "routing.location", "transaction.branch", "trust.credit", "trust.proven",
    },
    "routing.proxy": {
        "_edits", "_flow", "_hash", "_listener", "_parser", "_wheel", "_writer", "identity.claims", "routing.context",
        "routing.outbound", "routing.ringing", "routing.router", "routing.upstream", "transaction.layer",
        "transaction.server", "transaction.transaction",
    },
    "routing.registrar": {
        "_flow", "_parser", "_writer", "routing.contacts", "routing.location", "routing.senders", "store.codec",
        "store.repository", "trust.limiter", "trust.proven",
    },
    "routing.ringing": {"_flow", "_hash", "_parser", "transaction.branch"},
    "routing.router": {"_flow", "_parser", "_uri", "routing.token", "routing.upstream"},
    "routing.senders": {"_flow", "_parser", "routing.location", "store.codec", "transaction.layer", "trust.peers"},
    "routing.sweeper": {"_wheel", "observe.events", "routing.outbound"},
    "routing.token": {"_flow", "_grammar", "_hash", "_listener", "_parser", "_uri", "transaction.branch"},
    "routing.upstream": {
        "_flow", "_listener", "_parser", "_wheel", "transaction.client", "transaction.layer", "transaction.server",
    },
    # redial. The watch list and the recalls: what sees an event tells the owner of the callee, who has a method recall.
    "redial.availability": {
        "redial.ownership", "redial.suspended", "redial.watchlist", "routing.binding_observer", "routing.location",
        "transaction.layer",
    },
    "redial.bucket": {"_flow", "_hash"},
    "redial.device": {"routing.location", "store.codec"},
    "redial.invite": {"_flow", "_parser", "_writer", "routing.contacts", "store.codec"},
    "redial.keepalive": {"_wheel", "redial.policy", "redial.waiting", "routing.doubt"},
    "redial.keyring": {"dialog.leg", "redial.ladder"},
    "redial.ladder": {"redial.memory", "redial.methods.method", "redial.order", "redial.watchlist", "store.codec"},
    "redial.memory": {"_wheel", "store.repository"},
    "redial.methods": set(),
    "redial.methods.asking": {
        "_flow", "_writer", "redial.methods.method", "transaction.client", "transaction.layer", "trust.credit",
    },
    "redial.methods.b2bua": {
        "_flow", "dialog.bridge", "dialog.dialogs", "dialog.leg", "redial.methods.method", "redial.methods.pickup",
        "store.codec", "trust.credit",
    },
    "redial.methods.callback": {
        "_flow", "_parser", "dialog.dialogs", "dialog.leg", "dialog.remote", "redial.methods.method",
        "redial.methods.pickup", "redial.methods.progress", "store.codec", "transaction.server", "trust.credit",
    },
    "redial.methods.method": {"_flow", "_wheel", "store.codec", "transaction.layer", "transaction.server", "trust.credit"},
    "redial.methods.message": {
        "_flow", "_listener", "_parser", "dialog.remote", "redial.methods.asking", "redial.methods.method",
        "redial.methods.progress", "store.codec", "transaction.client", "transaction.layer", "trust.credit",
    },
    "redial.methods.progress": {"_parser"},
    "redial.methods.refer": {
        "_flow", "_listener", "_parser", "dialog.digest", "dialog.remote", "redial.methods.asking", "redial.methods.method",
        "redial.methods.progress", "store.codec", "transaction.client", "transaction.layer", "trust.credit",
    },
    "redial.notice": {"redial.ownership", "redial.pending", "trust.credit"},
    "redial.observer": {
        "_flow", "_parser", "_wheel", "observe.events", "redial.device", "redial.invite", "redial.notice",
        "redial.offers", "redial.owner", "redial.ownership", "redial.policy", "redial.recall", "redial.suspended",
        "redial.talks", "redial.unacknowledged", "redial.watchlist", "routing.location", "routing.senders",
        "store.codec", "store.repository",
    },
    "redial.offers": {
        "_wheel", "observe.events", "redial.ownership", "redial.pending", "redial.policy", "redial.watchlist", "store.codec",
        "store.repository", "transaction.transaction",
    },
    "redial.order": {"_uri", "redial.profiles"},
    "redial.owner": {
        "_flow", "_wheel", "observe.events", "redial.availability", "redial.device", "redial.ladder", "redial.ownership",
        "redial.policy", "redial.recall", "redial.watchlist", "routing.location", "store.codec", "store.repository",
        "trust.credit",
    },
    "redial.ownership": {"_wheel", "trust.credit"},
    "redial.pending": set(),
    "redial.policy": {"_parser", "_uri", "identity.claims", "identity.users"},
    "redial.profiles": set(),
    "redial.recall": {
        "_flow", "_parser", "_wheel", "dialog.call_names", "observe.counters", "observe.events", "redial.bucket",
        "redial.device", "redial.ladder", "redial.methods.method", "redial.methods.progress", "redial.ownership",
        "redial.pending", "redial.policy", "redial.subscriptions", "redial.suspended", "redial.watchlist",
        "routing.location", "store.codec", "store.repository",
    },
    "redial.redial": {
        "_parser", "_wheel", "dialog.dialogs", "dialog.digest", "observe.counters", "observe.events", "redial.availability",
        "redial.bucket", "redial.keepalive", "redial.keyring", "redial.ladder", "redial.memory", "redial.methods.b2bua",
        "redial.methods.callback", "redial.methods.message", "redial.methods.refer", "redial.notice", "redial.observer",
        "redial.owner", "redial.ownership", "redial.pending", "redial.policy", "redial.recall", "redial.suspended",
        "redial.talks", "redial.unacknowledged", "redial.watchlist", "routing.binding_observer", "routing.doubt",
        "routing.location", "store.repository", "transaction.layer", "trust.credit",
    },
    "redial.subscriptions": {"_wheel"},
    "redial.suspended": {"redial.notice", "redial.ownership"},
    "redial.talks": {
        "_flow", "_listener", "_parser", "_wheel", "_writer", "redial.notice", "redial.owner", "redial.ownership",
        "redial.policy", "redial.unacknowledged", "redial.watchlist", "routing.location", "store.repository",
        "transaction.client", "transaction.layer", "transaction.server",
    },
    "redial.unacknowledged": {"_parser", "_wheel"},
    "redial.waiting": {"_wheel"},
    "redial.watchlist": {
        "_wheel", "observe.events", "redial.ownership", "redial.pending", "redial.policy", "redial.waiting", "store.codec",
        "store.repository", "trust.credit",
    },
    # engine. Bytes in, bytes out: the one place where the rooms above meet. `engine` puts them together.
    "engine.answers": {
        "_flow", "_parser", "_writer", "observe.events", "routing.outbound", "transaction.layer", "transaction.server",
        "transaction.transaction",
    },
    "engine.arrivals": {"_flow", "_parser"},
    "engine.batch": {"_flow", "_parser", "redial.pending", "transaction.server"},
    "engine.calls": {
        "_flow", "_parser", "_writer", "engine.answers", "engine.batch", "engine.commits", "engine.registrations",
        "observe.events", "redial.observer", "routing.context", "routing.destination", "routing.doubt", "routing.location",
        "routing.outbound", "routing.proxy", "routing.router", "store.keys", "transaction.client", "transaction.layer",
        "transaction.server", "transaction.transaction", "trust.peers",
    },
    "engine.commits": {
        "_flow", "_parser", "_writer", "dialog.dialogs", "engine.batch", "engine.mail", "observe.events", "redial.pending",
        "redial.redial", "routing.outbound", "routing.probe", "transaction.layer", "transaction.server",
    },
    "engine.dispatch": {
        "_flow", "_parser", "_writer", "dialog.dialogs", "engine.answers", "engine.calls", "engine.mail",
        "engine.registrations", "engine.speaker", "redial.redial", "routing.destination", "routing.names",
        "routing.outbound", "routing.proxy", "routing.router", "routing.token", "routing.upstream", "store.keys",
        "transaction.layer", "transaction.server", "trust.proven",
    },
    "engine.engine": {
        "_flow", "_hash", "_listener", "_parser", "_uri", "_wheel", "dialog.dialogs", "engine.answers",
        "engine.arrivals", "engine.batch", "engine.calls", "engine.commits", "engine.dispatch", "engine.mail",
        "engine.registrations", "engine.responses", "engine.speaker", "identity.authenticator", "identity.claims",
        "identity.failures", "identity.nonces", "identity.users", "observe.events", "observe.steps",
        "redial.redial", "routing.connections", "routing.destination", "routing.doubt", "routing.learning",
        "routing.location", "routing.mid_registrar", "routing.names", "routing.outbound", "routing.probe",
        "routing.proxy", "routing.registrar", "routing.ringing", "routing.router", "routing.senders",
        "routing.sweeper", "routing.token", "routing.upstream", "store.repository", "transaction.layer",
        "transaction.server", "trust.limiter", "trust.peers", "trust.proven",
    },
    "engine.mail": {"_flow", "_parser", "redial.notice"},
    "engine.registrations": {
        "_flow", "_parser", "_writer", "engine.answers", "engine.batch", "engine.commits", "engine.mail", "observe.events",
        "routing.binding_observer", "routing.context", "routing.doubt", "routing.learning", "routing.location",
        "routing.mid_registrar", "routing.outbound", "routing.probe", "routing.proxy", "routing.registrar",
        "routing.router", "routing.upstream", "store.keys", "transaction.layer", "transaction.server", "trust.limiter",
    },
    "engine.responses": {
        "_flow", "_listener", "_parser", "_uri", "dialog.dialogs", "engine.calls", "engine.mail", "identity.claims",
        "routing.location", "routing.probe", "routing.proxy", "routing.router", "store.keys", "transaction.layer",
    },
    "engine.speaker": {
        "_flow", "_parser", "_uri", "_writer", "engine.answers", "identity.authenticator", "identity.claims",
        "identity.users", "observe.events", "routing.router", "routing.token", "transaction.layer", "trust.limiter",
        "trust.peers",
    },
    # driver. The only caller of the engine, of which it knows the face alone.
    "driver.clock": set(),
    "driver.driver": {"_flow", "driver.clock"},
    # transport. Sockets: they feed the driver, and never know what the engine is made of.
    "transport.kernel": set(),
    "transport.sockets": {"_listener", "transport.udp_socket"},
    "transport.udp": {"_flow", "driver.driver", "transport.kernel", "transport.udp_socket"},
    "transport.udp_socket": {"_flow", "transport.kernel"},
    "transport.dns": {"driver.driver"},
    # node. Processes: one that serves, and one that watches over several.
    "node.admin": set(),
    "node.bus": {"transport.udp_socket"},
    "node.clock": {"driver.clock", "store.repository"},
    "node.memory": set(),
    "node.outlet": {"driver.clock", "node.clock", "observe.steps"},
    "node.signals": set(),
    "node.supervisor": {
        "_listener", "node.admin", "node.bus", "node.clock", "node.outlet", "node.signals", "node.worker",
        "store.repository", "transport.sockets",
    },
    "node.user_watch": {"identity.user_file", "identity.users"},
    "node.worker": {
        "_listener", "driver.clock", "driver.driver", "engine.engine", "node.admin", "node.bus", "node.clock",
        "node.memory", "node.outlet", "node.signals", "node.user_watch", "observe.steps", "store.backends.lmdb",
        "store.repository", "transport.dns", "transport.sockets", "transport.udp",
    },
    # command line. What people start.
    "_edits": {"_flow", "_parser", "_writer"},
    "__main__": {"cli"},
    "cli": {
        "commands.backup", "commands.bans", "commands.bindings", "commands.check_config", "commands.console",
        "commands.demo", "commands.phones", "commands.serve", "commands.stats", "commands.users", "commands.watches",
    },
    "commands": set(),
    "commands.backup": {"commands.console", "commands.stored"},
    "commands.bans": {"commands.console", "commands.listing", "commands.stored", "trust.limiter", "trust.peers"},
    "commands.bindings": {"_flow", "_likeness", "commands.console", "commands.listing", "commands.stored"},
    "commands.check_config": {"commands.console"},
    "commands.console": set(),
    "commands.demo": {"_parser"},
    "commands.history": {"commands.console", "observe.steps"},
    "commands.listing": {"commands.stored"},
    "commands.phones": {"commands.console", "commands.stored", "redial.order"},
    "commands.serve": {"commands.console", "node.signals", "node.supervisor", "observe.logs"},
    "commands.stats": {"commands.console", "commands.stored", "node.admin", "observe.counters"},
    "commands.stored": {"_uri", "node.clock", "store.backends.lmdb", "store.repository"},
    "commands.users": {"commands.console", "commands.stored", "identity.user_file"},
    "commands.watches": {
        "commands.console", "commands.history", "commands.listing", "commands.stored", "node.clock", "node.outlet",
        "observe.steps",
    },
    "driver": set(),
    "engine": set(),
    "node": set(),
    "observe": set(),
    "observe.counters": set(),
    "observe.steps": set(),
    "redial": set(),
    "redial.methods.pickup": {
        "_flow", "_parser", "dialog.bridge", "dialog.dialogs", "dialog.leg", "dialog.remote", "redial.methods.method",
        "redial.methods.progress", "store.codec", "transaction.client",
    },
    "routing": set(),
    "routing.connections": {"_flow"},
    "store": set(),
    "transaction": set(),
    "transport": set(),
    "trust": set(),
    "_likeness": {"_grammar", "_hash", "_uri"},
}

OURS_OF_LEAVES: dict[str, set[str]] = {
    "config": {"config.load", "config.schema"},
    "config.addresses": {"errors"},
    "config.checks": {"config.addresses", "config.explain", "config.schema", "errors"},
    "config.explain": {"config.schema"},
    "config.load": {"config.checks", "config.explain", "config.schema", "errors"},
    "store.records": {"errors"},
}

# The core does no I/O and reads no clock.
DEVICES = {"asyncio", "socket", "select", "selectors", "time", "datetime", "uvloop", "signal", "subprocess"}
MAY_TOUCH_DEVICES = ("driver", "transport", "node", "observe.logs", "commands", "cli", "__main__")
CLOCKS_IN_C = re.compile(r'"(?:sys/)?(?:time|socket|epoll)\.h"|\blibc\.time\b|\bposix\.time\b')

SIBLINGS = ("routing.registrar", "routing.learning", "routing.proxy", "redial.redial")


def violations(path: Path, module: str, source: str, known: set[str]) -> list[str]:
    """What in one file breaks the rules."""
    if module not in ARROWS and module not in reading.LEAVES:
        return [f"{module}: no line in ARROWS; say where it stands"]
    compiled = path.suffix in (".pyx", ".pxd")
    if module in reading.LEAVES:
        allowed = OURS_OF_LEAVES.get(module, set()) | {module, ""}
    else:
        allowed = ARROWS[module] | reading.LEAVES | {module}
    found = []
    for target in sorted(reading.reached(path, module, source, known)):
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


FILES = reading.files()
KNOWN = {reading.module_of(path) for path in FILES}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_follow_the_arrows(path: Path):
    assert violations(path, reading.module_of(path), path.read_text(), KNOWN) == []


def test_every_arrow_is_one_of_the_code():
    read = {module: targets - reading.LEAVES for module, targets in reading.arrows().items()}
    assert set(ARROWS) | reading.LEAVES == set(read) | reading.LEAVES
    assert {module: targets - read[module] for module, targets in ARROWS.items() if targets - read[module]} == {}


def test_the_arrows_have_no_cycle():
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " -> ".join((*trail, module))
        if module not in done:
            for target in ARROWS.get(module, OURS_OF_LEAVES.get(module, set())):
                visit(target, (*trail, module))
            done.add(module)

    for module in ARROWS:
        visit(module, ())


def test_the_rooms_have_no_cycle_either():
    between = reading.between_rooms(reading.arrows())
    rows = draw_map.rows({room for pair in between for room in pair}, between)
    above = {room: height for height, row in enumerate(rows) for room in row}
    assert all(above[source] < above[target] for source, target in between)


@pytest.mark.parametrize("one", SIBLINGS)
def test_siblings_do_not_know_each_other(one: str):
    assert not ARROWS[one] & {*SIBLINGS, "engine.engine"}


def test_recall_methods_know_dialogs_and_transactions_not_watches():
    methods = {module for module in ARROWS if module.startswith("redial.methods")}
    assert {target for module in methods for target in ARROWS[module] if target.startswith("redial.")} <= methods


def test_the_map_shows_the_code_as_it_is():
    assert draw_map.MAP.read_text() == draw_map.draw(reading.arrows()), "make map"


@pytest.mark.parametrize("path", reading.files(BENCHMARKS), ids=lambda path: str(path.relative_to(BENCHMARKS)))
def test_benchmarks_import_what_there_is(path: Path):
    """Nothing of sipfast imports them, and they name modules that exist."""
    named = {target for target in reading.reached(path, "benchmarks", path.read_text(), KNOWN) if not target.startswith("!")}
    ours = {target for target in named if re.search(rf"\bsipfast\.{re.escape(target)}\b", path.read_text())}
    assert ours <= KNOWN


def test_nothing_of_the_server_knows_the_benchmarks_or_the_tests():
    outside = {"!benchmarks", "!tests", "!ci"}
    found = {str(path): outside & reading.reached(path, reading.module_of(path), path.read_text(), KNOWN) for path in FILES}
    assert not {path: names for path, names in found.items() if names}


# A test of rules that cannot fail proves nothing: each rule, broken once.
BROKEN = [
    ("routing/registrar.pyx", "from .proxy cimport Proxy", "imports routing.proxy"),
    ("routing/registrar.pyx", "from ..redial cimport redial", "imports redial.redial"),
    ("routing/registrar.pyx", "from .proxy import (\n    Proxy,\n    Other,\n)", "imports routing.proxy"),
    ("routing/registrar.pxd", "cimport sipfast.routing.proxy", "imports routing.proxy"),
    ("redial/redial.pyx", "def f():\n    from ..routing.registrar import Registrar", "imports routing.registrar"),
    ("redial/redial.pyx", "from sipfast.store.backends.lmdb import LmdbTables", "imports store.backends.lmdb"),
    ("_parser.pyx", "from ._writer cimport Edits", "imports _writer"),
    ("transaction/layer.pyx", "from ..routing.location cimport Location", "imports routing.location"),
    ("engine/engine.pyx", "from ..transport.udp import UdpTransport", "imports transport.udp"),
    ("engine/engine.pyx", "import sipfast.transport", "imports transport"),
    ("engine/engine.pyx", "from ..driver.driver cimport Driver", "imports driver.driver"),
    ("engine/engine.pyx", "import time", "no clock and no I/O"),
    ("engine/engine.pyx", "from libc.time cimport time", "clock or a socket in C"),
    ("engine/engine.pyx", 'cdef extern from "sys/socket.h":\n    pass', "clock or a socket in C"),
    ("engine/engine.pyx", 'include "other.pyx"', "cimport it"),
    ("store/backends/lmdb.py", "from asyncio import sleep", "no clock and no I/O"),
    ("store/backends/memory.py", "from ...engine.engine import Engine", "imports engine.engine"),
    ("store/records.py", "from .. import config", "imports config"),
    ("transport/sockets.py", "from ..routing.registrar import Registrar", "imports routing.registrar"),
    ("node/worker.py", "from .supervisor import Supervisor", "imports node.supervisor"),
    ("newcomer.py", "", "no line in ARROWS"),
]


@pytest.mark.parametrize(("name", "source", "says"), BROKEN, ids=[f"{b[0]}-{b[2]}" for b in BROKEN])
def test_a_broken_rule_is_found(name: str, source: str, says: str):
    path = ROOT / name
    found = violations(path, reading.module_of(path), source, KNOWN)
    assert len(found) == 1
    assert says in found[0]


def test_a_good_file_passes():
    source = (
        '"""Says: from .proxy import nothing."""\n# import time\nfrom libc.stdint cimport int64_t\n'
        "from .._parser cimport (\n    Message,  # a message\n    Span,\n)\nfrom .location cimport Location\n"
        "from ..errors import StoreError\n"
    )
    assert violations(ROOT / "routing" / "registrar.pyx", "routing.registrar", source, KNOWN) == []
