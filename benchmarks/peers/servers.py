"""The servers of a comparison, each on one core, each with what its mode needs and no more.

Kamailio runs at its own best: the tlsf allocator (its default one makes it several times slower here), memory to spare,
one worker, no log, no DNS, no TCP, a location table with as many slots as users; see kamailio.cfg.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ..checkout import Checkout

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
HOST = "127.0.0.1"
DOMAIN = "example.test"
USERS, PASSWORD = 100_000, "secret"  # of register-digest, in all servers alike
OTHER_DOMAIN = "calls.test"  # of the ordinary calls beside a storm
PORTS = range(20_000, 32_000)  # below those that the kernel gives out by itself
START = 15.0  # seconds
LIBRARIES = Path("/usr/lib")  # where Debian puts Kamailio's modules, by architecture
BUFFER = 4 << 20  # bytes of a receive buffer, where a server leaves that to us


class Peer:
    """A server that can be started, and after kill -9 started again on the same port and data.

    With a `checkout` it is the sipfast of that one. `options`: further ones of its command line.
    """

    def __init__(
        self,
        kind: str,
        mode: str,
        port: int,
        core: int | None,
        folder: Path,
        checkout: Checkout | None = None,
        options: Sequence[str] = (),
    ) -> None:
        self.kind, self.mode, self.port, self.core, self.folder = kind, mode, port, core, folder
        self.checkout, self.options = checkout, options
        self.start_took = 0.0
        """seconds from the last start to the first answer"""
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process
        return self._process.pid

    @property
    def address(self) -> tuple[str, int]:
        return HOST, self.port

    def start(self, patience: float = START) -> None:
        """Returns once it answers. Raises RuntimeError, with the end of its log, where it does not within `patience`."""
        command, cwd, environment = self.way()
        prefix = ["taskset", "-c", str(self.core)] if self.core is not None else []
        began = time.monotonic()
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*prefix, *command, *self.options],
                cwd=cwd,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # so that its children can be ended with it
            )
        while not answers(self.port):
            if self._process.poll() is not None or time.monotonic() > began + patience:
                story = (self.folder / "log").read_text(errors="replace")[-3000:]
                raise RuntimeError(f"{self.kind} does not answer:\n{story}")
        self.start_took = time.monotonic() - began

    def way(self) -> tuple[list[str], Path, dict[str, str]]:
        """How it is started: command, folder and environment."""
        if self.checkout is not None:
            options = serve_options(self.port, self.folder, self.mode, rates=known_rates(self.checkout.root))
            return self.checkout.serving(options), self.checkout.root, self.checkout.environment
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
        return KINDS[self.kind](self.port, self.folder, self.mode), self.folder, {**os.environ, "PYTHONPATH": path}

    def kill(self) -> None:
        """kill -9 to it and its children."""
        if self._process:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(10)

    def told(self) -> dict[str, int]:
        """End it, and return the sum of what its workers say then to have counted; nothing where they say nothing."""
        self.stop()
        counters: dict[str, int] = {}
        for line in (self.folder / "log").read_text(errors="replace").splitlines():
            if " event=worker-stopped " in line or " event=stopped " in line:
                for name, count in re.findall(r" (\w+)=(\d+)\b", line):
                    counters[name] = counters.get(name, 0) + int(count)
        return counters

    def stop(self) -> None:
        """SIGTERM, and SIGKILL to what is left then."""
        if self._process and self._process.poll() is None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(10)
        self.kill()


def echo(port: int, folder: Path, mode: str) -> list[str]:
    return [sys.executable, "-m", "benchmarks.peers.echo", str(port), str(BUFFER)]


def uvloop_echo(port: int, folder: Path, mode: str) -> list[str]:
    return [sys.executable, "-m", "benchmarks.peers.uvloop_echo", str(port), str(BUFFER)]


def echo_one_by_one(port: int, folder: Path, mode: str) -> list[str]:
    return [*echo(port, folder, mode), "one-by-one"]


RATES = (
    "source", "source_new", "binding", "binding_new", "phone", "phone_new", "strangers_new", "strangers_register",
    "source_aors", "limits.source",
)  # fmt: skip
"""What a source may send is looked at, and is as much as it likes: a generator is thousands of phones at one address."""


def known_rates(root: Path) -> list[str]:
    """Those that a checkout has settings for."""
    schema = root / "sipfast" / "config" / "schema.py"
    text = schema.read_text() if schema.exists() else ""
    sections = {name: text.partition(f"class {name}(")[2].partition("\nclass ")[0] for name in ("Rates", "Limits")}

    def knows(name: str) -> bool:
        section, _, key = name.rpartition(".")
        return re.search(rf"^    {key}: ", sections["Limits" if section else "Rates"], re.MULTILINE) is not None

    return [name for name in RATES if knows(name)]


def sipfast(port: int, folder: Path, mode: str, workers: int = 1, level: str = "warning") -> list[str]:
    return [sys.executable, "-m", "sipfast", "serve", *serve_options(port, folder, mode, workers, level)]


def serve_options(
    port: int, folder: Path, mode: str, workers: int = 1, level: str = "warning", rates: Sequence[str] = RATES
) -> list[str]:
    """The options of `sipfast serve`, each with its value. `rates`: those of RATES that this sipfast knows."""
    options = ["--workers", str(workers), "--listen", f"udp:{HOST}:{port}"]
    domains = (DOMAIN, OTHER_DOMAIN) if mode == "storm" else (DOMAIN,)
    options += [part for domain in domains for part in ("--domain", domain)]
    if mode == "register-digest":
        options += ["--users", str(write_users(folder / "users"))]
    settings = SETTINGS.get(mode, "")
    if rates and mode != "flood":
        settings += "[rates]\n" + "".join(f"{name} = 1_000_000\n" for name in rates if "." not in name)
        settings += "[limits]\nsource = 1.0\n" if "limits.source" in rates else ""
    if settings:
        place = folder / f"{mode}.toml"
        place.write_text(settings)
        options += ["--config", str(place)]
    return [*options, "--data", str(folder / "data"), "--log-level", level]


def write_users(path: Path) -> Path:
    """As many users as `register-digest` has, as `sipfast users` writes them."""
    with path.open("w") as file:
        for number in range(USERS):
            a1 = f"u{number}:{DOMAIN}:{PASSWORD}".encode()
            hashes = f'"md5":"{hashlib.md5(a1).hexdigest()}","sha256":"{hashlib.sha256(a1).hexdigest()}"'
            file.write(f'{{"user":"u{number}","realm":"{DOMAIN}",{hashes}}}\n')
    return path


def sipfast_power(port: int, folder: Path, mode: str) -> list[str]:
    settings = folder / "sipfast.toml"
    settings.write_text('[store]\ndurability = "power"\n')
    return [*sipfast(port, folder, mode), "--config", str(settings)]


def sipfast_presence(port: int, folder: Path, mode: str) -> list[str]:
    command = [sys.executable, "-m", "benchmarks.presence", "--listen", f"udp:{HOST}:{port}", "--domain", DOMAIN]
    return [*command, "--data", str(folder / "data")]


KAMAILIO = {
    "options": ["OPTIONS"],
    "register": ["REGISTER"],
    "register-digest": ["REGISTER", "DIGEST"],
    "call": ["REGISTER", "CALL"],
    "presence": ["REGISTER", "CALL", "PRESENCE"],
    "redial": ["REGISTER", "CALL", "RECIPE"],
}
MODULES = {"presence": "presence.so", "redial": "uac.so"}
"""what Debian has in packages of their own, or who builds Kamailio may have left out"""


def kamailio(port: int, folder: Path, mode: str) -> list[str]:
    defines = KAMAILIO[mode]
    command = [find("kamailio") or "kamailio", "-f", str(HERE / "kamailio.cfg"), "-DD", "-E"]
    command += ["-x", "tlsf", "-X", "tlsf", "-m", "2048", "-M", "64", "-b", str(BUFFER)]
    command += ["-l", f"udp:{HOST}:{port}", "-Y", str(folder), "-P", str(folder / "kamailio.pid")]
    return [*command, *(part for name in defines for part in ("-A", name))]


BELIEVED = '[redial]\ncallers = "any"\n'
"""A generator's callers do not register."""
SETTINGS = dict.fromkeys(("redial", "redial-notify", "storm", "presence"), BELIEVED) | {
    method: f'{BELIEVED}methods = ["{method}"]\n' for method in ("callback", "b2bua")
}
"""what a mode asks of sipfast's configuration; else it runs with its defaults, but for RATES"""

KINDS = {
    "echo": echo,
    "echo-one-by-one": echo_one_by_one,
    "uvloop": uvloop_echo,
    "sipfast": sipfast,
    "sipfast-power": sipfast_power,
    "sipfast-presence": sipfast_presence,
    "kamailio": kamailio,
    "kamailio-redial": kamailio,
    # Each worker says at its end what it has counted, which is of level info.
    **{f"sipfast-{count}-workers": functools.partial(sipfast, workers=count, level="info") for count in (1, 2, 4)},
}


@contextlib.contextmanager
def running(
    kind: str,
    mode: str,
    core: int | None = 0,
    *,
    lay: Callable[[Path], None] | None = None,
    patience: float = START,
    checkout: Checkout | None = None,
    options: Sequence[str] = (),
) -> Iterator[Peer]:
    """A server of a kind, answering, pinned to a core, with a data folder of its own; ended with all its children.

    `lay` is given the folder before the server starts, `patience` are the seconds that its start may take. `checkout`: the
    sipfast of another one, whose code runs with nothing of ours. `options`: further ones of its command line.
    """
    with tempfile.TemporaryDirectory(prefix="sipfast-bench-", ignore_cleanup_errors=True) as name:
        peer = Peer(kind, mode, free_port(), core, Path(name), checkout, options)
        try:
            if lay is not None:
                lay(peer.folder)
            peer.start(patience)
            yield peer
        finally:
            peer.stop()


def answers(port: int, host: str = HOST) -> bool:
    """Send one OPTIONS and wait up to 200 ms for anything to come back."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.settimeout(0.2)
        probe.connect((host, port))
        me = "{}:{}".format(*probe.getsockname())
        unique = f"{random.getrandbits(64):x}"
        try:
            probe.send(
                f"OPTIONS sip:{host}:{port} SIP/2.0\r\nVia: SIP/2.0/UDP {me};branch=z9hG4bK{unique}\r\n"
                f"From: <sip:probe@{me}>;tag={unique}\r\nTo: <sip:{host}:{port}>\r\nCall-ID: {unique}\r\n"
                "CSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n".encode()
            )
            return bool(probe.recv(65535))
        except OSError:
            time.sleep(0.05)
            return False


def free_port() -> int:
    """A UDP port of loopback that nobody has."""
    for _ in range(200):
        port = random.choice(PORTS)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
            probe.bind((HOST, port))
            return port
    raise RuntimeError("no free port found on loopback")


def available(kind: str, mode: str = "") -> bool:
    """Whether the server is installed here, with what the mode needs of it."""
    if kind == "sipfast-presence":
        return (HERE.parent / "presence" / "__main__.py").exists()
    if not kind.startswith("kamailio"):
        return True
    return find("kamailio") is not None and (
        mode not in MODULES or any(LIBRARIES.glob(f"*/kamailio/modules/{MODULES[mode]}"))
    )


def find(program: str) -> str | None:
    """The path of a program; /usr/sbin counts, too, where a user's PATH leaves it out."""
    return shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
