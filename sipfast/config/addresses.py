"""What may stand where an address is asked for: hosts, ports, AORs, URLs."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

from ..errors import ConfigError

DEFAULT_PORT = 5060  # RFC 3261 §19.1.2

# RFC 3261 §25.1, hostname; the underscore is there because internal DNS zones are full of it.
_NAME = re.compile(r"(?i:(?:[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?\.)*[a-z](?:[a-z0-9_-]*[a-z0-9_])?\.?)")
_USER = re.compile(r"[^\s\x00-\x1f\x7f@<>\"\\]+")


def parse_listen(text: str) -> tuple[str, str, int]:
    """Transport, host (no brackets) and port of "udp:HOST:PORT". Raises ConfigError."""
    transport, _, rest = text.partition(":")
    host, _, port = rest.rpartition(":")
    if transport.lower() != "udp":
        raise ConfigError(f"{text!r} is not udp:HOST:PORT")
    if not (port.isascii() and port.isdigit() and int(port) <= 65535):
        raise ConfigError(f"{text!r} is not udp:HOST:PORT with a port of 0 to 65535")
    if ":" in host and not host.startswith("["):
        raise ConfigError(f"{text!r} has an IPv6 address without brackets: udp:[ADDRESS]:PORT")
    if not is_host(host):
        raise ConfigError(f"{text!r} is not udp:HOST:PORT: {host!r} is neither a host name nor an IP address")
    return "UDP", host.strip("[]"), int(port)


def parse_upstream(uri: str) -> tuple[str, int]:
    """Host (lower-case, IPv6 without brackets) and port of "sip:HOST[:PORT]". Raises ConfigError."""
    scheme, _, rest = uri.partition(":")
    if scheme.lower() != "sip":
        raise ConfigError(f"{uri!r} is not sip:HOST[:PORT]")
    host, port = rest, str(DEFAULT_PORT)
    if not rest.endswith("]") and ":" in rest:
        host, _, port = rest.rpartition(":")
    if not (port.isascii() and port.isdigit() and 1 <= int(port) <= 65535):
        raise ConfigError(f"{uri!r} is not sip:HOST[:PORT] with a port of 1 to 65535")
    if not is_host(host):
        raise ConfigError(f"{uri!r} is not sip:HOST[:PORT]")
    return host.strip("[]").lower(), int(port)


def is_ip(text: str) -> bool:
    """Whether it is an IPv4 or IPv6 address (without brackets)."""
    try:
        return "%" not in str(ipaddress.ip_address(text))
    except ValueError:
        return False


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches it: an address without brackets, or localhost. Other names may mean anything."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def is_host(text: str) -> bool:
    """Whether a SIP URI may have it as its host; an IPv6 address is in brackets (RFC 3261 §25.1)."""
    if text.startswith("[") and text.endswith("]"):
        return ":" in text and is_ip(text[1:-1])
    return len(text) <= 253 and (_NAME.fullmatch(text) is not None or (":" not in text and is_ip(text)))


def is_aor(text: str) -> bool:
    """Whether it is sip:USER@HOST, without a port or parameters."""
    scheme, _, rest = text.partition(":")
    user, at, host = rest.partition("@")
    return scheme.lower() == "sip" and bool(at) and _USER.fullmatch(user) is not None and is_host(host)


def is_http(text: str) -> bool:
    """Whether it is an http or https URL that a request can be sent to."""
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and re.fullmatch(r"[!-~]+", text) is not None


def in_uri(host: str) -> str:
    """A host as a SIP URI has it: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host
