"""Real NATs: network namespaces of Linux, with a router of nftables in front of each home.

`town` is a fixture: one namespace with the servers, and homes that a test asks for. Each home is two namespaces, a LAN with
private addresses (the same in all homes) and a router that masquerades it. Nothing of it touches the machine's own
network, and all of it is gone when the test is over.

It needs root. Who is somebody else gets that in a user namespace (`rootless`), where the machine permits those.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import socket
import subprocess
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from .process import Place, find

SERVERS = "10.99.0.1"  # the address of sipfast
BEHIND = "10.99.0.2"  # and of what it stands in front of
LAN = "192.168.1"  # of every home
PROGRAMS = ("ip", "nft", "conntrack")
CLONE_NEWNET = 0x40000000
NETNS = Path("/run/netns")
RULES = """
table ip home {{
    chain post {{
        type nat hook postrouting priority srcnat
        oifname "wan" meta l4proto udp masquerade to :{first}-{last}{random}
        oifname "wan" masquerade
    }}
    chain pass {{
        type filter hook forward priority filter; policy drop
        iifname "lan" accept
        ct state established,related accept
    }}
    chain come {{
        type filter hook input priority filter; policy accept
        iifname "wan" meta l4proto udp drop
    }}
}}
"""
# What a user namespace lacks: a place that `ip netns` may write to, and loopback.
PREPARE = 'mount -t tmpfs tmpfs /run && mkdir /run/netns && ip link set lo up && exec "$@"'
_numbers = itertools.count(1)


def _run(*argv: str, text: str | None = None) -> str:
    """Run a command of the system. Raises RuntimeError with what it said where it fails."""
    done = subprocess.run(
        [find(argv[0]) or argv[0], *argv[1:]], input=text, capture_output=True, text=True, timeout=20, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(argv)}: {done.stderr.strip() or done.returncode}")
    return done.stdout


class Space:
    """A network namespace with a name that no other has."""

    def __init__(self, name: str) -> None:
        self.name = f"sipfast-{os.getpid()}-{next(_numbers)}-{name}"
        _run("ip", "netns", "add", self.name)

    def run(self, *argv: str, text: str | None = None) -> str:
        """A command inside."""
        return _run("ip", "netns", "exec", self.name, *argv, text=text)

    def socket(self, kind: int) -> socket.socket:
        """An unbound socket inside: a thread goes there, makes it and ends."""
        made: list[socket.socket | OSError] = []

        def make() -> None:
            libc = ctypes.CDLL(None, use_errno=True)
            with (NETNS / self.name).open("rb") as there:
                if libc.setns(there.fileno(), CLONE_NEWNET):
                    made.append(OSError(ctypes.get_errno(), f"setns to {self.name}"))
                else:
                    made.append(socket.socket(socket.AF_INET, kind))

        thread = threading.Thread(target=make)
        thread.start()
        thread.join()
        (result,) = made
        if isinstance(result, OSError):
            raise result
        return result

    def link(self, mine: str, other: Space, theirs: str) -> None:
        """A cable to another namespace."""
        _run("ip", "-n", self.name, "link", "add", mine, "type", "veth", "peer", "name", theirs, "netns", other.name)

    def address(self, interface: str, address: str) -> None:
        """Give an interface an address and switch it on."""
        self.run("ip", "address", "add", address, "dev", interface)
        self.run("ip", "link", "set", interface, "up")

    def remove(self) -> None:
        """Its interfaces go with it."""
        with contextlib.suppress(RuntimeError):
            _run("ip", "netns", "delete", self.name)


@dataclass(frozen=True)
class Spot(Place):
    """A place in a namespace."""

    space: Space | None = None

    def command(self, argv: Sequence[str]) -> list[str]:
        """What starts a program there."""
        assert self.space is not None
        return [find("ip") or "ip", "netns", "exec", self.space.name, *argv]

    def socket(self, kind: int) -> socket.socket:
        """An unbound socket there."""
        assert self.space is not None
        return self.space.socket(kind)


class Home:
    """A LAN behind a router. `at` is where its phones are. `symmetric`: each remote address sees another port.

    What Linux does is address and port-dependent filtering (RFC 4787 §5), and the router says nothing to what it drops.
    """

    def __init__(self, town: Town, number: int, *, symmetric: bool) -> None:
        self.symmetric = symmetric
        self.outer = f"10.99.0.{10 + number}"
        self._ports = itertools.count(20_000, 1_000)
        self.router, self.lan = town.space(f"router{number}"), town.space(f"lan{number}")
        self.at = Spot(f"{LAN}.10", SERVERS, self.lan)
        self.router.link("wan", town.net, f"home{number}")
        self.router.link("lan", self.lan, "eth")
        town.net.run("ip", "link", "set", f"home{number}", "master", "bridge", "up")
        self.router.address("wan", f"{self.outer}/16")
        self.router.address("lan", f"{LAN}.1/24")
        self.lan.address("eth", f"{self.at.host}/24")
        self.lan.run("ip", "route", "add", "default", "via", f"{LAN}.1")
        self.router.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
        self._masquerade()

    def _masquerade(self) -> None:
        first = next(self._ports)
        random = " fully-random" if self.symmetric else ""
        rules = RULES.format(first=first, last=first + 999, random=random)
        self.router.run("nft", "-f", "-", text="flush ruleset" + rules)

    def rebind(self, *, moves: bool = False) -> None:
        """Forget every mapping, as a router that restarts does; the next ones have ports that were never used.

        `moves`: and the outer address is another one, as after the provider has cut the line.
        """
        self._masquerade()
        if moves:
            old, self.outer = self.outer, f"10.99.1.{next(_numbers) % 200 + 1}"
            # The old one first: a second one of the same network would go with it
            self.router.run("ip", "address", "delete", f"{old}/16", "dev", "wan")
            self.router.run("ip", "address", "add", f"{self.outer}/16", "dev", "wan")
        self.router.run("conntrack", "-F")


class Town:
    """The namespace of the servers, and the homes around it."""

    def __init__(self) -> None:
        self._spaces: list[Space] = []
        self._homes = 0
        _remove_leftovers()
        try:
            self._build()
        except BaseException:
            self.close()
            raise

    def _build(self) -> None:
        self.net = self.space("net")
        self.net.run("ip", "link", "add", "bridge", "type", "bridge")
        self.net.address("bridge", f"{SERVERS}/16")
        self.net.run("ip", "address", "add", f"{BEHIND}/16", "dev", "bridge")
        self.at = Spot(SERVERS, BEHIND, self.net)
        self.behind = Spot(BEHIND, SERVERS, self.net)

    def space(self, name: str) -> Space:
        """A namespace that goes with the town."""
        space = Space(name)
        self._spaces.append(space)
        space.run("ip", "link", "set", "lo", "up")
        return space

    def home(self, *, symmetric: bool = False) -> Home:
        """One more, with nobody in it."""
        self._homes += 1
        return Home(self, self._homes, symmetric=symmetric)

    def close(self) -> None:
        """All of it is gone."""
        for space in reversed(self._spaces):
            space.remove()


def _remove_leftovers() -> None:
    """What test runs that were killed have left."""
    for place in NETNS.glob("sipfast-*") if NETNS.is_dir() else ():
        if not Path("/proc", place.name.split("-")[1]).exists():
            with contextlib.suppress(RuntimeError):
                _run("ip", "netns", "delete", place.name)


def _may_have_namespaces() -> str:
    """Why this process cannot make network namespaces; "" where it can. Tried in a child, which ends at once."""
    if not Path("/proc/self/ns/net").exists():
        return "no network namespaces on this system"
    child = os.fork()
    if child == 0:
        os._exit(0 if ctypes.CDLL(None).unshare(CLONE_NEWNET) == 0 else 1)
    _, status = os.waitpid(child, 0)
    return "" if status == 0 else "network namespaces need root (test_nat_rootless runs this in a user namespace)"


def rootless(*argv: str) -> list[str]:
    """What runs a command as the root of a user namespace, with a network and mounts of its own."""
    return ["unshare", "--user", "--map-root-user", "--net", "--mount", "sh", "-c", PREPARE, "sh", *argv]


def need_namespaces() -> None:
    """Skip the test where the machine permits no network namespaces with NAT; with CI=true only programs that are missing
    on a machine that does permit them are a failure."""
    if refused := _may_have_namespaces():
        pytest.skip(refused)
    missing = [program for program in PROGRAMS if find(program) is None]
    if missing:
        say = f"{', '.join(missing)} not installed (as root, `make test` or ci/install-peers.sh installs it)"
        if os.environ.get("CI") == "true":
            pytest.fail(say)
        pytest.skip(say)
    probe = Space("probe")
    try:
        probe.run("nft", "-f", "-", text=RULES.format(first=20_000, last=20_999, random=""))
    except RuntimeError as error:
        pytest.skip(f"no NAT in network namespaces here: {error}")
    finally:
        probe.remove()


@pytest.fixture
def nat_town() -> Iterator[Town]:
    """Servers and homes for one test."""
    need_namespaces()
    with contextlib.closing(Town()) as it:
        yield it
