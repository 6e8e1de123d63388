"""Opening UDP sockets, and finding the addresses that a listener and this machine are known by."""

from __future__ import annotations

import errno
import logging
import socket
from collections.abc import Sequence

from .._listener import Listener
from ..config.addresses import in_uri, is_ip, parse_listen
from ..errors import ConfigError, TransportError
from .udp_socket import widen

log = logging.getLogger(__name__)

BUFFER = 8 << 20  # bytes: at 100,000 datagrams a second some 60 ms, well below the first retransmission (T1)

# RFC 5737, RFC 3849: documentation addresses. Nothing is sent there; the kernel only says where it would send from.
_FAR = {socket.AF_INET: "198.51.100.1", socket.AF_INET6: "2001:db8::1"}
_LOOPBACK = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}
_WILDCARDS = ("0.0.0.0", "::")

_REASONS = {
    errno.EADDRINUSE: "the port is in use; stop the program that has it, or choose another port",
    errno.EACCES: "not permitted; ports below 1024 take root or CAP_NET_BIND_SERVICE, or choose a higher port",
    errno.EADDRNOTAVAIL: "this machine has no such address; see `ip address`, or listen on udp:0.0.0.0:PORT",
    errno.EAFNOSUPPORT: "this machine has no IPv6; listen on an IPv4 address",
}


def open_socket(listen: str) -> socket.socket:
    """A bound, non-blocking socket for "udp:HOST:PORT". Raises TransportError or ConfigError."""
    _, host, port = parse_listen(listen)
    family, address = resolve(host)
    # No SO_REUSEADDR or SO_REUSEPORT: they would let a second server take the port over without a word.
    return _open(listen, family, (address, port), shared=False)


def open_shared(listen: str, count: int) -> list[socket.socket]:
    """As many sockets at one address; the kernel gives each peer's datagrams to one of them (SO_REUSEPORT).

    Raises TransportError, also where another program has the address already, or ConfigError.
    """
    opened = [open_socket(listen)]
    try:
        # Only now, when the address was found free: nobody else's sockets are joined.
        opened[0].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        family, address = opened[0].family, opened[0].getsockname()[:2]
        while len(opened) < count:
            opened.append(_open(listen, family, address, shared=True))
    except (OSError, TransportError) as error:
        for each in opened:
            each.close()
        if isinstance(error, TransportError):
            raise
        raise TransportError(f"cannot listen on {listen} with {count} workers: {error.strerror}") from None
    return opened


def _open(listen: str, family: int, address: tuple[str, int], *, shared: bool) -> socket.socket:
    opened = None
    try:
        opened = socket.socket(family, socket.SOCK_DGRAM)
        opened.setblocking(False)
        if family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if shared:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        opened.bind(address)
        received, _ = widen(opened, BUFFER)
    except OSError as error:
        if opened is not None:
            opened.close()
        reason = _REASONS.get(error.errno or 0, error.strerror)
        raise TransportError(f"cannot listen on {listen}: {reason}") from None
    if received < BUFFER // 4 and not shared:
        event = {"listen": listen, "bytes": received, "hint": "raise sysctl net.core.rmem_max and wmem_max"}
        log.warning("small-receive-buffer", extra={"sip": event})
    return opened


def listener_for(opened: socket.socket, advertise: str) -> Listener:
    """How the engine knows a bound socket. `advertise`: host for Via and Contact; empty: the socket's own address."""
    host, port = opened.getsockname()[:2]
    public = primary_address(opened.family) if host in _WILDCARDS else host
    if advertise and (not is_ip(advertise.strip("[]")) or (":" in advertise) == (":" in host)):
        public = advertise.strip("[]")
    return Listener(transport="UDP", host=host, port=port, sent_by=f"{in_uri(public)}:{port}".encode("ascii"))


def resolve(host: str, families: Sequence[int] = (socket.AF_INET, socket.AF_INET6)) -> tuple[int, str]:
    """Family and IP address of a host name or address, IPv4 first. Raises ConfigError."""
    return resolve_all(host, families)[0]


def resolve_all(host: str, families: Sequence[int]) -> list[tuple[int, str]]:
    """The same for all of its addresses in these families, each once, in the families' order. Raises ConfigError."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_DGRAM)
    except OSError as error:
        raise ConfigError(f"cannot resolve {host!r}: {error.strerror}") from None
    except UnicodeError:
        raise ConfigError(f"cannot resolve {host!r}: not a host name") from None
    addresses = [(family, str(entry[4][0])) for family in families for entry in found if entry[0] == family]
    if addresses:
        return list(dict.fromkeys(addresses))
    kinds = " or ".join("IPv6" if family == socket.AF_INET6 else "IPv4" for family in families)
    raise ConfigError(f"{host!r} has no {kinds} address, and nothing else is listened on")


def primary_address(family: int) -> str:
    """The address that this machine would send from to the far end of the network; else its loopback address."""
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((_FAR[socket.AddressFamily(family)], 9))
            return str(probe.getsockname()[0])
    except OSError:
        return _LOOPBACK[socket.AddressFamily(family)]
