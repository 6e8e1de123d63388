"""The configuration: one TOML file, decoded into frozen structs; every key has a default.

Durations are seconds. A wrong key, type or range raises ConfigError with one line that names the key and
the file.
"""

from __future__ import annotations

import difflib
import ipaddress
import json
import math
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import urlsplit

import msgspec
from msgspec.structs import replace

from ..errors import ConfigError

Seconds = Annotated[float, msgspec.Meta(ge=0)]
Positive = Annotated[float, msgspec.Meta(gt=0)]
Count = Annotated[int, msgspec.Meta(ge=1)]
MOST_WORKERS = 64
Method = Literal["refer", "refer-nosub", "callback", "b2bua", "message"]
METHODS: tuple[Method, ...] = ("refer", "refer-nosub", "callback", "b2bua", "message")
"""The recall methods, in the order that reaches the phones that nobody knows anything of."""


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What all parts of the configuration share: frozen, and no unknown keys."""


class Timers(Section, frozen=True):
    """RFC 3261 §17, table 4."""

    t1: Annotated[float, msgspec.Meta(ge=0.01, le=10)] = 0.5
    t2: Annotated[float, msgspec.Meta(ge=0.01, le=60)] = 4.0
    t4: Annotated[float, msgspec.Meta(ge=0.01, le=60)] = 5.0
    c: Annotated[float, msgspec.Meta(gt=180, le=3600)] = 181.0
    """Timer C: how long a proxied INVITE may go without a final response; more than three minutes (§16.6 step 11)."""


class Registrar(Section, frozen=True):
    """RFC 3261 §10.3."""

    default_expires: Count = 3600
    min_expires: Annotated[int, msgspec.Meta(ge=0, le=3600)] = 60
    """Shorter than this (but not 0) is answered 423. RFC 3261 §10.3 step 7: no more than 3600."""
    max_expires: Count = 86400
    """Longer than this is cut to it."""
    max_contacts: Count = 16
    """Bindings of one AOR."""
    when_full: Literal["replace", "refuse"] = "replace"
    """With one more than max_contacts the oldest goes, or the answer is 503 with Retry-After."""
    probe: bool = True
    """An OPTIONS to a phone that registers and has proven nothing: who answers it, is there."""


class Credentials(Section, frozen=True):
    """What a phone is told that asks the server who it is (401 or 407, RFC 3261 §22)."""

    user: str
    password: str
    realm: str = ""
    """Empty: whichever asks."""


class Phone(Section, frozen=True):
    """What a make of phone is known to do when it is recalled: a profile. What it leaves open, the next that fits says."""

    agent: str
    """The User-Agent begins so; with * or ? the whole of it looks so; "": the phone sends none."""
    methods: tuple[Method, ...] = ()
    """Their order with such phones; empty: redial.methods."""
    obeys: tuple[Method, ...] = ()
    refuses: tuple[Method, ...] = ()
    start: Literal["", "dial", "ring"] = ""
    """"ring": it refuses a REFER before it has been answered; "dial": it obeys one."""
    norefersub: Literal["", "supported", "require", "none"] = ""
    """Where the option tag of RFC 4488 stands in the REFER of "refer-nosub"; "": supported."""
    headers: tuple[str, ...] = ()
    """Header lines that the INVITE of "callback" has for it."""
    refer_after: Annotated[float, msgspec.Meta(ge=0, le=30)] | None = None
    """From the ACK of the answered INVITE to the REFER."""
    hangs_up: bool | None = None
    """It ends the call that it was asked in by itself."""
    credentials: tuple[Credentials, ...] = ()
    source: str = ""
    """How that is known."""


class RedialUser(Section, frozen=True):
    """What applies to one caller."""

    aor: str
    """sip:USER@HOST, as its phone has it in From."""
    policy: Literal["ask", "always", "never"] | None = None
    """Whether its calls that find nobody arm a watch; none: as its domain's or everybody's do."""
    period: Count | None = None
    """With "always": the monitoring period; none: redial.default_period."""
    methods: tuple[Method, ...] = ()
    """How the user is recalled, whatever the phone: in this order, and no others."""
    start: Literal["", "dial", "ring"] = ""
    credentials: tuple[Credentials, ...] = ()


class RedialDomain(Section, frozen=True):
    """What applies to the callers of one domain."""

    domain: str
    policy: Literal["ask", "always", "never"]
    period: Count | None = None


class Redial(Section, frozen=True):
    """Automatic redial."""

    enabled: bool = True
    policy: Literal["ask", "always", "never"] = "ask"
    """Which calls that find nobody arm a watch: those whose INVITE asks for it by its Expires (and where default_period is
    not 0, all others), all, or none."""
    never_callees: tuple[str, ...] = ()
    """Who is never watched for: users ("112", "group-*") or whole AORs ("*@conference.example.com")."""
    user: tuple[RedialUser, ...] = ()
    domain: tuple[RedialDomain, ...] = ()
    min_period: Annotated[int, msgspec.Meta(ge=1)] = 300
    """An INVITE's Expires below this asks for no redial: common desk phones send 180 or 240 on every call."""
    max_period: Annotated[int, msgspec.Meta(ge=1, le=864_000)] = 86_400
    default_period: Annotated[int, msgspec.Meta(ge=0, le=864_000)] = 0
    """The monitoring period of an INVITE that names none or too short a one; 0: no watch."""
    guard: Annotated[float, msgspec.Meta(ge=0, le=3600)] = 0.0
    """Pause between the callee's REGISTER and the recall."""
    order: Literal["serial", "all"] = "serial"
    end_on: Literal["answer", "refer"] = "answer"
    recall_ring: Annotated[float, msgspec.Meta(ge=1, le=300)] = 20.0
    """How long a phone that is called rings for somebody to pick up."""
    refer_timeout: Annotated[float, msgspec.Meta(gt=0, le=32)] = 5.0
    recall_timeout: Annotated[float, msgspec.Meta(gt=0, le=600)] = 20.0
    """From the REFER to the caller's INVITE."""
    declined: Literal["wait", "end"] = "wait"
    """What a caller's no to a recall means: wait for the callee's next login, or no more recalls."""
    no_reply_after: Annotated[float, msgspec.Meta(ge=0, le=180)] = 15.0
    """How long a recalled call rings until nobody is there to answer it; a caller who hangs up sooner wants no more."""
    other_devices: Literal["never", "authenticated", "always"] = "authenticated"
    """Whether another device of the caller is asked where the one that called is not there."""
    retry_pause: Annotated[float, msgspec.Meta(ge=0, le=3600)] = 30.0
    """Before the next attempt while the callee stays bound."""
    attempts: Annotated[int, msgspec.Meta(ge=1, le=100)] = 3
    keepalive: Annotated[float, msgspec.Meta(ge=0, le=86_400)] = 0.0
    """Between the OPTIONS that ask the phones of a callee who is waited for whether they are there; 0: none are sent."""
    recalls_per_second: Annotated[float, msgspec.Meta(ge=0, le=100_000)] = 0.0
    """Recalls that may begin in a second, once recalls_burst of them have; 0: as many as there are."""
    recalls_burst: Count = 100
    """Recalls that may begin at once."""
    recalls_per_host: Annotated[float, msgspec.Meta(ge=0, le=100_000)] = 0.0
    """Of these, how many may go to one address; 0: as many as there are."""
    per_caller: Count = 20
    per_callee: Count = 100
    callers: Literal["local", "any"] = "local"
    max_talk: Positive = 7200.0
    """How long a recalled call whose BYE was never seen may keep the next caller waiting."""
    methods: tuple[Method, ...] = METHODS
    """How a caller's phone is made to ring: the next where one is refused. What is not named is never done."""
    message: str = "{callee} can be reached now."
    """What the method `message` says; {callee} is who can be reached."""
    webhook: str = ""
    """http:// or https://, to which it is POSTed, too; empty: nowhere."""
    start: Literal["dial", "ring"] = "dial"
    """"dial": a phone that is called back is asked to place its call while it still rings; "ring": once it was answered."""
    phones: str = ""
    """A TOML file with more [[phone]] tables; a relative one starts where the configuration file is."""
    phone: tuple[Phone, ...] = ()
    """Those of that file come after them; the shipped ones (redial/phones.toml) after all."""
    credentials: tuple[Credentials, ...] = ()
    remember_phones: Annotated[float, msgspec.Meta(ge=0, le=31_536_000)] = 2_592_000.0
    """How long it is remembered what a phone has obeyed and refused; 0: it is not."""


class Storage(Section, frozen=True):
    """The embedded store."""

    data: str = "./sipfast-data"
    """Directory; a relative one starts where the server was started."""
    durability: Literal["process", "power"] = "process"
    """"process": committed before the answer, survives any crash of the process.
    "power": fsync before the answer, survives a power cut, too."""
    flush_interval: Positive = 1.0
    """With "process": the longest time until what is committed is on the disk."""
    map_size: Annotated[int, msgspec.Meta(ge=1, le=65_536)] = 64
    """Most that the store may grow to, in GiB of address space (not of memory), of which a process has 128 TiB."""


class Events(Section, frozen=True):
    """Each step of a watch's life, as a JSON line (docs/events.md)."""

    to: Literal["off", "file", "stdout", "webhook"] = "off"
    path: str = ""
    """Of the file; it is begun anew once somebody has moved it away."""
    url: str = ""
    """http:// or https://, to which lines are POSTed."""
    timeout: Annotated[float, msgspec.Meta(gt=0, le=60)] = 5.0
    """How long the webhook may say nothing, until the lines are sent once more."""
    batch: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 1
    """Lines in one POST at the most: one is a JSON object, several are lines of them (NDJSON)."""
    queue: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 10_000
    """Events of one worker that may wait; with one more the oldest is lost."""


class Upstream(Section, frozen=True):
    """A SIP server behind this one that registers and routes for some domains."""

    uri: str | tuple[str, ...]
    """sip:HOST[:PORT], reached over UDP; port 5060 where none is given. A name is resolved once, at start. Several, in a
    list or as addresses of one name, stand in for each other."""
    domains: tuple[str, ...] = ()
    """Domains that it serves; empty: all that no other upstream names."""
    timeout: Annotated[float, msgspec.Meta(gt=0, le=32)] = 4.0
    """How long an address may let requests wait without a word, even a 100, until it counts as down."""
    probe_interval: Annotated[float, msgspec.Meta(ge=0.1, le=3600)] = 5.0
    """Between the OPTIONS that ask an address which is down whether it is back; also the Retry-After of a 503."""
    contact: Literal["phone", "token"] = "phone"
    """What it sees as the Contact of a phone that registers: the phone's own, and a Path through this server; or an address
    of this server with a token that leads to the phone, and no Path, for servers that ignore Path or rewrite Contacts."""

    @property
    def uris(self) -> tuple[str, ...]:
        """All of them, the one to prefer first."""
        return (self.uri,) if isinstance(self.uri, str) else self.uri


class Peer(Section, frozen=True):
    """Another server or a trunk, known by its addresses, and what it may do."""

    addresses: tuple[str, ...]
    """IP addresses or ranges: "10.0.0.5", "192.0.2.0/24", "2001:db8::/32"."""
    rights: tuple[Literal["relay", "path", "refer", "identity"], ...] = ()
    """"relay": its requests are sent on, wherever they go. "path": a Path or Contact that names it is followed there.
    "refer": its REFERs out of a dialog reach phones. "identity": it says who a request is from."""


class Phones(Section, frozen=True):
    """A file of phone profiles."""

    phone: tuple[Phone, ...] = ()


class Config(Section, frozen=True):
    """All of it."""

    listen: tuple[str, ...] = ("udp:0.0.0.0:5060",)
    """udp:HOST:PORT; an IPv6 host in brackets; port 0 takes any free one. On 0.0.0.0 or [::] an answer leaves from the
    address that was asked; Via and Record-Route name the one of `advertise`."""
    advertise: str = ""
    """Host that Via, Record-Route and Contact name; empty: the listener's address."""
    domains: tuple[str, ...] = ()
    """Domains served; empty: the host's own names and addresses."""
    workers: Annotated[int, msgspec.Meta(ge=0, le=MOST_WORKERS)] = 0
    """Processes that serve together; 0: one for each core that this process may use."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_registrations: bool = True
    """A line for each AOR that gets its first binding, or loses its last one."""
    timers: Timers = Timers()
    registrar: Registrar = Registrar()
    redial: Redial = Redial()
    events: Events = Events()
    store: Storage = Storage()
    upstream: tuple[Upstream, ...] = ()
    peer: tuple[Peer, ...] = ()


# What each command-line flag overrides: an error about such a key names the flag instead of the file.
FLAGS = {
    "listen": "--listen",
    "domains": "--domain",
    "store.data": "--data",
    "upstream": "--upstream",
    "workers": "--workers",
    "log_level": "--log-level",
    "redial.default_period": "--default-period",
}
NO_URL = "is not http://HOST or https://HOST with a port and a path perhaps"
DEFAULT_PORT = 5060  # RFC 3261 §19.1.2
Whole = TypeVar("Whole", bound=Section)

# RFC 3261 §25.1, hostname; the underscore is there because internal DNS zones are full of it.
_NAME = re.compile(r"(?i:(?:[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?\.)*[a-z](?:[a-z0-9_-]*[a-z0-9_])?\.?)")
_USER = re.compile(r"[^\s\x00-\x1f\x7f@<>\"\\]+")
_HEADER = re.compile(r"(?P<name>[A-Za-z0-9.!%*_+`'~-]+)[ \t]*:[ \t]*[^\x00-\x1f\x7f]*")
# Of the INVITE of "callback": what it lives by.
_OWN_HEADERS = frozenset((
    "via", "v", "from", "f", "to", "t", "call-id", "i", "cseq", "contact", "m", "max-forwards", "route", "record-route",
    "content-length", "l", "content-type", "c", "authorization", "proxy-authorization", "require", "expires",
))  # fmt: skip
_MSGSPEC_PATH = re.compile(r"(?P<what>.*) - at `\$\.?(?P<path>[^`]*)`", re.S)
_MSGSPEC_FIELD = re.compile(r"Object (?P<what>contains unknown|missing required) field `(?P<name>.*)`", re.S)
_STEP = re.compile(r"([^.\[\]]+)|\[(\d+)\]")


def load(path: Path | None, overrides: Mapping[str, Any] | None = None) -> Config:
    """The configuration of a TOML file (None: the defaults) with some keys overridden by flags.

    `overrides` maps dotted keys ("store.data") to values.
    Raises ConfigError: one line with the file or flag, the key, and what is wrong with it.
    """
    tree = {} if path is None else _read(path)
    for key, value in (overrides or {}).items():
        section, _, name = key.rpartition(".")
        place = tree.setdefault(section, {}) if section else tree
        if isinstance(place, dict):  # otherwise the conversion says what is wrong with it
            place[name] = value
    if isinstance(tree.get("log_level"), str):
        tree["log_level"] = tree["log_level"].lower()
    source = Source(path, overrides or ())
    config = _convert(tree, Config, source)
    for key, reason in _mistakes(config):
        raise ConfigError(source.blame(key, reason))
    redial = config.redial
    if not redial.phones:
        return config
    file = (path.parent if path is not None else Path()) / redial.phones
    phones = load_phones(file, f"{path}: redial.phones")
    return replace(config, redial=replace(redial, phone=redial.phone + phones))


def load_phones(path: Path, named_by: str = "") -> tuple[Phone, ...]:
    """The phone profiles of a TOML file. Raises ConfigError; `named_by`: what names the file, where it cannot be read."""
    try:
        tree = _read(path)
    except ConfigError as error:
        raise ConfigError(f"{named_by}: {error}" if named_by else str(error)) from None
    source = Source(path, ())
    phones = _convert(tree, Phones, source).phone
    for key, reason in _phone_mistakes("phone", phones):
        raise ConfigError(source.blame(key, reason))
    return phones


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


def settings(config: Config) -> Iterator[tuple[str, Any]]:
    """Every key, dotted, with its value, in the order of the structs above."""
    return _settings("", config)


def is_secret(key: str) -> bool:
    """Whether the value of a dotted key is shown to nobody."""
    return key.rpartition(".")[2] == "password"


class Source:
    """Where the keys come from, to put the blame: a file, and the keys that flags have overridden."""

    def __init__(self, path: Path | None, overridden: Iterable[str]) -> None:
        self.path = path
        self.overridden = frozenset(overridden)

    def blame(self, key: str, reason: str) -> str:
        """One line: file or flag, key, what is wrong with it."""
        for name in self.overridden:
            if key == name or key.startswith((name + "[", name + ".")):
                return f"{FLAGS.get(name, name)}: {reason}"
        return ": ".join(part for part in (str(self.path or ""), key, reason) if part)


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8-sig"))  # some editors put a byte order mark in front
    except OSError as error:
        raise ConfigError(f"{path}: cannot read the configuration: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 at byte {error.start}") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not TOML: {error}") from None


def _convert(tree: dict[str, Any], kind: type[Whole], source: Source) -> Whole:
    try:
        return msgspec.convert(tree, kind)
    except msgspec.ValidationError as error:
        raise ConfigError(_explain(str(error), tree, kind, source)) from None


def _explain(message: str, tree: dict[str, Any], whole: type[Section], source: Source) -> str:
    """A line for people out of msgspec's message, the value found, and the type that the key has."""
    match = _MSGSPEC_PATH.fullmatch(message)
    what, path = (match["what"], match["path"]) if match else (message, "")
    field = _MSGSPEC_FIELD.fullmatch(what)
    if field is None:
        value, kind = _follow(path, tree, whole)
        shown = "its value" if is_secret(path) else _show(value)
        return source.blame(path, f"{shown} is not {_describe(kind)}")
    key = f"{path}.{field['name']}" if path else field["name"]
    if field["what"] == "missing required":
        return source.blame(path, f"the key {field['name']} is missing")
    _, kind = _follow(path, tree, whole)
    names = [each.name for each in kind.fields] if isinstance(kind, msgspec.inspect.StructType) else []
    near = difflib.get_close_matches(field["name"], names, n=1)
    hint = f"did you mean {near[0]}?" if near else f"known here: {', '.join(names)}"
    return source.blame(key, f"unknown key; {hint}")


def _follow(path: str, tree: Any, whole: type[Section]) -> tuple[Any, msgspec.inspect.Type]:
    """The value at a path like upstream[0].uri, and its type there."""
    kind = msgspec.inspect.type_info(whole)
    for name, index in _STEP.findall(path):
        if index:
            tree = tree[int(index)]
            kind = kind.item_type if isinstance(kind, msgspec.inspect.VarTupleType) else kind
        else:
            tree = tree[name]
            fields = kind.fields if isinstance(kind, msgspec.inspect.StructType) else ()
            kind = next((each.type for each in fields if each.name == name), kind)
    return tree, kind


def _show(value: Any) -> str:
    """A value as TOML writes it, cut to fit into a line."""
    try:
        text = str(value) if isinstance(value, float) else json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _describe(kind: msgspec.inspect.Type) -> str:
    """What a key may be, in words."""
    match kind:
        case msgspec.inspect.LiteralType(values=values):
            return "one of " + ", ".join(f'"{value}"' for value in values)
        case msgspec.inspect.IntType() | msgspec.inspect.FloatType():
            noun = "a whole number" if isinstance(kind, msgspec.inspect.IntType) else "a number"
            low = f" above {kind.gt:g}" if kind.gt is not None else ""
            low = f" of at least {kind.ge}" if kind.ge is not None else low
            high = f"{' and' if low else ''} at most {kind.le}" if kind.le is not None else ""
            return noun + low + high
        case msgspec.inspect.StrType():
            return "a text in quotes"
        case msgspec.inspect.BoolType():
            return "true or false"
        case msgspec.inspect.VarTupleType(item_type=msgspec.inspect.StructType()):
            return "a list of tables"
        case msgspec.inspect.VarTupleType():
            return "a list of texts"
        case msgspec.inspect.UnionType(types=types):
            return " or ".join(_describe(each) for each in types if not isinstance(each, msgspec.inspect.NoneType))
        case _:
            return "a table"


def _mistakes(config: Config) -> Iterator[tuple[str, str]]:
    """(key, reason) of everything that the types alone let through."""
    for key, value in settings(config):
        if isinstance(value, float) and not math.isfinite(value):
            yield key, f"{value} is not a number of seconds"
    yield from _address_mistakes(config)
    yield from _order_mistakes(config)
    yield from _policy_mistakes(config.redial)
    yield from _upstream_mistakes(config.upstream)
    yield from _peer_mistakes(config.peer)
    yield from _events_mistakes(config.events)
    if config.redial.webhook and not is_http(config.redial.webhook):
        yield "redial.webhook", f"{_show(config.redial.webhook)} {NO_URL}"
    yield from _method_mistakes("redial.methods", config.redial.methods)
    if not config.redial.methods:
        yield "redial.methods", "no method, so nobody would be called: name some, or set redial.enabled = false"
    yield from _phone_mistakes("redial.phone", config.redial.phone)
    yield from _user_mistakes(config.redial.user)
    yield from _credential_mistakes("redial", config.redial.credentials)
    if not config.store.data.strip() or "\0" in config.store.data:
        yield "store.data", f"{_show(config.store.data)} is not a directory"


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
            yield f"redial.user[{index}].aor", f"{_show(user.aor)} is not sip:USER@HOST"
        yield from _period_mistakes(f"redial.user[{index}]", user, redial)
    for index, domain in enumerate(redial.domain):
        if not (is_host(domain.domain) or is_ip(domain.domain)):
            yield f"redial.domain[{index}].domain", f"{_show(domain.domain)} is neither a host name nor an IP address"
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
            yield f"{table}[{index}].{name}", f"{_show(value)} is in {table}[{values.index(value)}] already"


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
        yield "events.path", f"{_show(events.path)} is not a file; events.to asks for one"
    if events.to == "webhook" and not is_http(events.url):
        yield "events.url", f"{_show(events.url)} {NO_URL}"


def _method_mistakes(key: str, methods: tuple[Method, ...]) -> Iterator[tuple[str, str]]:
    for place, method in enumerate(methods):
        if method in methods[:place]:
            yield f"{key}[{place}]", f'"{method}" is there twice'


def _phone_mistakes(prefix: str, phones: tuple[Phone, ...]) -> Iterator[tuple[str, str]]:
    for index, phone in enumerate(phones):
        key = f"{prefix}[{index}]"
        yield from _method_mistakes(f"{key}.methods", phone.methods)
        for place, method in enumerate(phone.refuses):
            if method in phone.obeys:
                yield f"{key}.refuses[{place}]", f'"{method}" is in obeys, too; leave it in one of them'
        for place, line in enumerate(phone.headers):
            match = _HEADER.fullmatch(line)
            if match is None:
                yield f"{key}.headers[{place}]", f"{_show(line)} is not one line such as 'Alert-Info: <...>'"
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
                yield f"{key}.{name}", f"{_show(getattr(each, name))} has characters that no header line may have"
        if any(each.realm == other.realm for other in credentials[:index]):
            yield f"{key}.realm", f"{_show(each.realm)} is there twice; one user and password for each"


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


def _settings(prefix: str, section: Section) -> Iterator[tuple[str, Any]]:
    for name in section.__struct_fields__:
        value = getattr(section, name)
        if isinstance(value, Section):
            yield from _settings(f"{prefix}{name}.", value)
        elif isinstance(value, tuple) and value and isinstance(value[0], Section):
            for index, item in enumerate(value):
                yield from _settings(f"{prefix}{name}[{index}].", item)
        else:
            yield prefix + name, value
