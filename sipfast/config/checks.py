"""What the types alone let through: values that are none, and keys that do not go together."""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Iterator

from ..errors import ConfigError
from .addresses import is_aor, is_host, is_http, is_ip, is_loopback, parse_listen, parse_upstream
from .explain import show
from .schema import (
    Config,
    Credentials,
    Events,
    Method,
    Peer,
    Phone,
    Redial,
    RedialDomain,
    RedialUser,
    Upstream,
    is_for_anybody,
    settings,
)

NO_URL = "is not http://HOST or https://HOST with a port and a path perhaps"
_HEADER = re.compile(r"(?P<name>[A-Za-z0-9.!%*_+`'~-]+)[ \t]*:[ \t]*[^\x00-\x1f\x7f]*")
# Of the INVITE of "callback": what it lives by.
_OWN_HEADERS = frozenset((
    "via", "v", "from", "f", "to", "t", "call-id", "i", "cseq", "contact", "m", "max-forwards", "route", "record-route",
    "content-length", "l", "content-type", "c", "authorization", "proxy-authorization", "require", "expires",
))  # fmt: skip


def mistakes(config: Config) -> Iterator[tuple[str, str]]:
    """(key, reason) of everything that the types alone let through."""
    for key, value in settings(config):
        if isinstance(value, float) and not math.isfinite(value):
            yield key, f"{value} is not a number of seconds"
    yield from _address_mistakes(config)
    yield from _openness_mistakes(config)
    yield from _order_mistakes(config)
    yield from _policy_mistakes(config.redial)
    yield from _upstream_mistakes(config.upstream)
    yield from _peer_mistakes(config.peer)
    yield from _events_mistakes(config.events)
    if config.redial.webhook and not is_http(config.redial.webhook):
        yield "redial.webhook", f"{show(config.redial.webhook)} {NO_URL}"
    yield from _method_mistakes("redial.methods", config.redial.methods)
    if not config.redial.methods:
        yield "redial.methods", "no method, so nobody would be called: name some, or set redial.enabled = false"
    yield from phone_mistakes("redial.phone", config.redial.phone)
    yield from _user_mistakes(config.redial.user)
    yield from _credential_mistakes("redial", config.redial.credentials)
    if not config.store.data.strip() or "\0" in config.store.data:
        yield "store.data", f"{show(config.store.data)} is not a directory"


def _address_mistakes(config: Config) -> Iterator[tuple[str, str]]:
    if not config.listen:
        yield "listen", "nothing to listen on"
    seen = set()
    for index, text in enumerate(config.listen):
        try:
            address = parse_listen(text)
        except ConfigError as error:
            yield f"listen[{index}]", str(error)
            continue
        if address in seen and address[2]:
            yield f"listen[{index}]", f"{text!r} is there twice"
        seen.add(address)
    if config.advertise and not (is_host(config.advertise) or is_ip(config.advertise)):
        yield "advertise", f"{config.advertise!r} is neither a host name nor an IP address (it takes no port)"
    for index, domain in enumerate(config.domains):
        if not (is_host(domain) or is_ip(domain)):
            yield f"domains[{index}]", f"{domain!r} is neither a host name nor an IP address"


def _openness_mistakes(config: Config) -> Iterator[tuple[str, str]]:
    """Whoever can send here could register by any name: that has to be wanted."""
    if config.open and config.users:
        yield "open", "goes without users only; with them nobody comes in without a password"
    if not is_for_anybody(config) or config.open:
        return
    for index, text in enumerate(config.listen):
        try:
            host = parse_listen(text)[1]
        except ConfigError:
            continue
        if not is_loopback(host):
            reason = "is for other machines, too, and anybody could register there by any name: set users, or open = true"
            yield f"listen[{index}]", f"{text!r} {reason}"


def _order_mistakes(config: Config) -> Iterator[tuple[str, str]]:
    values = dict(settings(config))
    for low, high in (
        ("timers.t1", "timers.t2"),
        ("registrar.min_expires", "registrar.default_expires"),
        ("registrar.default_expires", "registrar.max_expires"),
        ("redial.min_period", "redial.max_period"),
        ("redial.default_period", "redial.max_period"),
    ):
        if values[low] > values[high]:
            yield low, f"{values[low]} is more than {high}, which is {values[high]}"


def _policy_mistakes(redial: Redial) -> Iterator[tuple[str, str]]:
    if redial.policy == "always" and not redial.default_period:
        yield "redial.policy", '"always" needs a period; set redial.default_period'
    for index, user in enumerate(redial.user):
        if not is_aor(user.aor):
            yield f"redial.user[{index}].aor", f"{show(user.aor)} is not sip:USER@HOST"
        yield from _period_mistakes(f"redial.user[{index}]", user, redial)
    for index, domain in enumerate(redial.domain):
        if not (is_host(domain.domain) or is_ip(domain.domain)):
            yield f"redial.domain[{index}].domain", f"{show(domain.domain)} is neither a host name nor an IP address"
        yield from _period_mistakes(f"redial.domain[{index}]", domain, redial)
    yield from _twice("redial.user", "aor", [_lower_host(user.aor) for user in redial.user])
    yield from _twice("redial.domain", "domain", [domain.domain.lower() for domain in redial.domain])
    for index, pattern in enumerate(redial.never_callees):
        if not pattern.strip():
            yield f"redial.never_callees[{index}]", "empty; name a user, or a pattern of users"


def _period_mistakes(key: str, rules: RedialUser | RedialDomain, redial: Redial) -> Iterator[tuple[str, str]]:
    if rules.period is not None and rules.policy != "always":
        yield f"{key}.period", 'goes with policy = "always" only'
    if rules.policy == "always" and not (rules.period or redial.default_period):
        yield f"{key}.policy", '"always" needs a period; set it here, or redial.default_period'
    if rules.period is not None and rules.period > redial.max_period:
        yield f"{key}.period", f"{rules.period} is more than redial.max_period, which is {redial.max_period}"


def _twice(table: str, name: str, values: list[str]) -> Iterator[tuple[str, str]]:
    for index, value in enumerate(values):
        if value in values[:index]:
            yield f"{table}[{index}].{name}", f"{show(value)} is in {table}[{values.index(value)}] already"


def _lower_host(aor: str) -> str:
    user, _, host = aor.rpartition("@")
    return f"{user}@{host.lower()}"


def _upstream_mistakes(upstreams: tuple[Upstream, ...]) -> Iterator[tuple[str, str]]:
    served: dict[str, int] = {}
    everything = [index for index, upstream in enumerate(upstreams) if not upstream.domains]
    if len(everything) > 1:
        first, second = everything[:2]
        yield f"upstream[{second}]", f"upstream[{first}] takes all other domains already; name those of this one"
    for index, upstream in enumerate(upstreams):
        yield from _uri_mistakes(f"upstream[{index}].uri", upstream)
        for place, domain in enumerate(upstream.domains):
            key = f"upstream[{index}].domains[{place}]"
            if not (is_host(domain) or is_ip(domain)):
                yield key, f"{domain!r} is neither a host name nor an IP address"
            if domain.lower() in served:
                yield key, f"{domain!r} belongs to upstream[{served[domain.lower()]}] already"
            served[domain.lower()] = index


def _peer_mistakes(peers: tuple[Peer, ...]) -> Iterator[tuple[str, str]]:
    for index, peer in enumerate(peers):
        if not peer.addresses:
            yield f"peer[{index}].addresses", "no address, so nobody is meant"
        for place, address in enumerate(peer.addresses):
            try:
                network = ipaddress.ip_network(address)
            except ValueError as error:
                reason = "has bits behind its prefix" if "host bits" in str(error) else "is no IP address or range of them"
                yield f"peer[{index}].addresses[{place}]", f"{address!r} {reason}"
                continue
            if network.prefixlen == 0:
                yield f"peer[{index}].addresses[{place}]", f"{address!r} is everybody; name the addresses of this peer"


def _events_mistakes(events: Events) -> Iterator[tuple[str, str]]:
    if events.to == "file" and (not events.path.strip() or "\0" in events.path):
        yield "events.path", f"{show(events.path)} is not a file; events.to asks for one"
    if events.to == "webhook" and not is_http(events.url):
        yield "events.url", f"{show(events.url)} {NO_URL}"


def _method_mistakes(key: str, methods: tuple[Method, ...]) -> Iterator[tuple[str, str]]:
    for place, method in enumerate(methods):
        if method in methods[:place]:
            yield f"{key}[{place}]", f'"{method}" is there twice'


def phone_mistakes(prefix: str, phones: tuple[Phone, ...]) -> Iterator[tuple[str, str]]:
    """The same of phone profiles, whose keys begin with `prefix`."""
    for index, phone in enumerate(phones):
        key = f"{prefix}[{index}]"
        yield from _method_mistakes(f"{key}.methods", phone.methods)
        for place, method in enumerate(phone.refuses):
            if method in phone.obeys:
                yield f"{key}.refuses[{place}]", f'"{method}" is in obeys, too; leave it in one of them'
        for place, line in enumerate(phone.headers):
            match = _HEADER.fullmatch(line)
            if match is None:
                yield f"{key}.headers[{place}]", f"{show(line)} is not one line such as 'Alert-Info: <...>'"
            elif match["name"].lower() in _OWN_HEADERS:
                yield f"{key}.headers[{place}]", f"{match['name']} is written by the server itself; leave it out"
        yield from _credential_mistakes(key, phone.credentials)


def _user_mistakes(users: tuple[RedialUser, ...]) -> Iterator[tuple[str, str]]:
    for index, user in enumerate(users):
        key = f"redial.user[{index}]"
        yield from _method_mistakes(f"{key}.methods", user.methods)
        yield from _credential_mistakes(key, user.credentials)


def _credential_mistakes(prefix: str, credentials: tuple[Credentials, ...]) -> Iterator[tuple[str, str]]:
    for index, each in enumerate(credentials):
        key = f"{prefix}.credentials[{index}]"
        if not each.user:
            yield f"{key}.user", "an empty name, by which no phone knows anybody"
        for name in ("user", "realm"):
            if not getattr(each, name).isprintable():
                yield f"{key}.{name}", f"{show(getattr(each, name))} has characters that no header line may have"
        if any(each.realm == other.realm for other in credentials[:index]):
            yield f"{key}.realm", f"{show(each.realm)} is there twice; one user and password for each"


def _uri_mistakes(key: str, upstream: Upstream) -> Iterator[tuple[str, str]]:
    if not upstream.uris:
        yield key, "an empty list; name at least one sip:HOST[:PORT]"
    seen = set()
    for place, uri in enumerate(upstream.uris):
        where = key if isinstance(upstream.uri, str) else f"{key}[{place}]"
        try:
            address = parse_upstream(uri)
        except ConfigError as error:
            yield where, str(error)
            continue
        if address in seen:
            yield where, f"{uri!r} is there twice"
        seen.add(address)
