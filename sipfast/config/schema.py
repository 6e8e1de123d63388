"""The settings: frozen structs, one for each table of the file; every key has a default. Durations are seconds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

import msgspec

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
    max_aors: Count = 2_000_000
    """AORs that have bindings; a new one more is answered 503."""
    when_full: Literal["replace", "refuse"] = "replace"
    """With one more than max_contacts the oldest goes, or the answer is 503 with Retry-After."""
    probe: bool = True
    """An OPTIONS to a phone that registers and has proven nothing: who answers it, is there."""


class Credentials(Section, frozen=True):
    """What who asks the server who it is (401 or 407, RFC 3261 §22) is told: a phone, or an upstream."""

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
    max_watches: Count = 2_000_000
    """Watches in all; a call that would arm one more gets the plain 480."""
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


class Limits(Section, frozen=True):
    """What one worker takes on at once. Beyond it a new request is answered 503 with Retry-After; what goes on goes on."""

    transactions: Annotated[int, msgspec.Meta(ge=100)] = 250_000
    """Requests that are answered, or were in the last half minute."""
    memory: Annotated[int, msgspec.Meta(ge=1, le=65_536)] = 256
    """MiB of the messages that these keep."""
    source: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.125
    """The part of both that one address may have from when half is in use; 1: all of it. Peers may."""


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


PerSecond = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]


class Rates(Section, frozen=True):
    """How much each source may send; five seconds' worth at once, of all strangers one. Peers and upstreams are exempt.

    See docs/security.md.

    *New* is what makes state: all requests but REGISTER, ACK and CANCEL.
    """

    enabled: bool = True
    source: PerSecond = 1000
    """Messages a second from one address (of IPv6: /64)."""
    source_new: PerSecond = 100
    """New ones among them."""
    binding: PerSecond = 20
    """What each phone that is registered at an address adds to `source`."""
    binding_new: PerSecond = 5
    """What it adds to `source_new`."""
    phone: PerSecond = 200
    """Messages a second from the address and port that a phone is registered by."""
    phone_new: PerSecond = 50
    """New ones among them."""
    strangers_new: PerSecond = 2000
    """New ones a second from all addresses together where no phone is registered."""
    strangers_register: PerSecond = 5000
    """REGISTERs a second from all those together."""
    source_aors: Annotated[int, msgspec.Meta(ge=0)] = 2000
    """AORs that one address may bind anew within an hour, where nobody is asked for a password; 0: any number."""
    ban_after: Annotated[int, msgspec.Meta(ge=0)] = 10_000
    """Messages refused within ten seconds after which an address where no phone is registered is banned; 0: never."""
    ban_time: Annotated[int, msgspec.Meta(ge=1)] = 300
    """Seconds that a ban lasts."""


class Phones(Section, frozen=True):
    """A file of phone profiles."""

    phone: tuple[Phone, ...] = ()


class Passwords(Section, frozen=True):
    """What goes with users who have passwords (RFC 3261 §22)."""

    realm: str = ""
    """The realm of all users, as phones and the file name it; empty: each domain is one."""
    nonce_lasts: Annotated[float, msgspec.Meta(ge=10, le=86_400)] = 3600.0
    """How long a phone may use what it was challenged with, until it is asked anew."""
    md5_only: tuple[str, ...] = ("baresip v0.", "baresip v1.")
    """How the User-Agents begin of phones that give up where SHA-256 is offered: they are offered MD5 alone."""
    outside_calls: bool = False
    """Calls from other domains to users of ours are let in, though nobody knows whom they are from. They arm nothing."""
    ban_after: Annotated[int, msgspec.Meta(ge=0, le=60_000)] = 20
    """Logins refused within a minute after which an address where no phone is registered is banned; 0: never."""


LOOPBACK, EVERYWHERE = "udp:127.0.0.1:5060", "udp:0.0.0.0:5060"


class Config(Section, frozen=True):
    """All of it."""

    listen: tuple[str, ...] = (LOOPBACK,)
    """udp:HOST:PORT; an IPv6 host in brackets; port 0 takes any free one. On 0.0.0.0 or [::] an answer leaves from the
    address that was asked; Via and Record-Route name the one of `advertise`. Where none is named: EVERYWHERE, and LOOPBACK
    for a server at which anybody could register."""
    advertise: str = ""
    """Host that Via, Record-Route and Contact name; empty: the listener's address."""
    domains: tuple[str, ...] = ()
    """Domains served; empty: the host's own names and addresses."""
    workers: Annotated[int, msgspec.Meta(ge=0, le=MOST_WORKERS)] = 0
    """Processes that serve together; 0: one for each core that this process may use."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_registrations: bool = True
    """A line for each AOR that gets its first binding, or loses its last one."""
    open: bool = False
    """Anybody may register, by any name, and be called so: without users a server that others than this machine reach has to
    say
    that it wants that."""
    users: str = ""
    """The file of users (`sipfast users`); a relative one starts where the configuration file is. Empty: nobody is asked."""
    passwords: Passwords = Passwords()
    timers: Timers = Timers()
    registrar: Registrar = Registrar()
    redial: Redial = Redial()
    limits: Limits = Limits()
    events: Events = Events()
    store: Storage = Storage()
    upstream: tuple[Upstream, ...] = ()
    peer: tuple[Peer, ...] = ()
    rates: Rates = Rates()


def is_for_anybody(config: Config) -> bool:
    """Whether anybody may register here: there are no users, and no upstream that asks for all domains."""
    upstreams = {domain.lower() for upstream in config.upstream for domain in upstream.domains}
    asked = any(not upstream.domains for upstream in config.upstream) or (
        bool(config.domains) and all(domain.lower() in upstreams for domain in config.domains)
    )
    return not config.users and not asked


def listen_unset(config: Config) -> tuple[str, ...]:
    """What is listened on where nobody says so."""
    return (EVERYWHERE,) if config.open or not is_for_anybody(config) else (LOOPBACK,)


def settings(config: Config) -> Iterator[tuple[str, Any]]:
    """Every key, dotted, with its value, in the order of the structs above."""
    return _settings("", config)


def is_secret(key: str) -> bool:
    """Whether the value of a dotted key is shown to nobody."""
    return key.rpartition(".")[2] == "password"


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
