"""The configuration: one TOML file, decoded into frozen structs; every key has a default.

Durations are seconds. A wrong key, type or range raises ConfigError with one line that names the key and the file.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

Seconds = Annotated[float, msgspec.Meta(ge=0)]
Positive = Annotated[float, msgspec.Meta(gt=0)]
Count = Annotated[int, msgspec.Meta(ge=1)]


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What all parts of the configuration share: frozen, and no unknown keys."""


class Timers(Section, frozen=True):
    """RFC 3261 §17, table 4."""

    t1: Annotated[float, msgspec.Meta(ge=0.01, le=10)] = 0.5
    t2: Annotated[float, msgspec.Meta(ge=0.01, le=60)] = 4.0
    t4: Annotated[float, msgspec.Meta(ge=0.01, le=60)] = 5.0
    c: Annotated[float, msgspec.Meta(gt=0, le=3600)] = 180.0
    """Timer C (§16.6 step 11): how long a proxied INVITE may go without a final response."""


class Registrar(Section, frozen=True):
    """RFC 3261 §10.3."""

    default_expires: Count = 3600
    min_expires: Annotated[int, msgspec.Meta(ge=0, le=3600)] = 60
    """Shorter than this (but not 0) is answered 423. RFC 3261 §10.3 step 7: no more than 3600."""
    max_expires: Count = 86400
    """Longer than this is cut to it."""
    max_contacts: Count = 16
    """Bindings of one AOR; one more is answered 403."""


class Redial(Section, frozen=True):
    """Automatic redial."""

    enabled: bool = True
    min_period: Annotated[int, msgspec.Meta(ge=1)] = 300
    """An INVITE's Expires below this asks for no redial: common desk phones send 180 or 240 on every call."""
    max_period: Annotated[int, msgspec.Meta(ge=1, le=864_000)] = 86_400
    default_period: Annotated[int, msgspec.Meta(ge=0, le=864_000)] = 0
    """The monitoring period of an INVITE that names none or too short a one; 0: no watch."""
    guard: Annotated[float, msgspec.Meta(ge=0, le=3600)] = 0.0
    """Pause between the callee's REGISTER and the recall."""
    order: Literal["serial", "all"] = "serial"
    end_on: Literal["answer", "refer"] = "answer"
    refer_timeout: Annotated[float, msgspec.Meta(gt=0, le=32)] = 5.0
    recall_timeout: Annotated[float, msgspec.Meta(gt=0, le=600)] = 20.0
    """From the REFER to the caller's INVITE."""
    retry_pause: Annotated[float, msgspec.Meta(ge=0, le=3600)] = 30.0
    """Before the next attempt while the callee stays bound."""
    attempts: Annotated[int, msgspec.Meta(ge=1, le=100)] = 3
    per_caller: Count = 20
    per_callee: Count = 100
    callers: Literal["local", "any"] = "local"
    max_talk: Positive = 7200.0
    """How long a recalled call whose BYE was never seen may keep the next caller waiting."""


class Storage(Section, frozen=True):
    """The embedded store."""

    data: str = "./sipfast-data"
    durability: Literal["process", "power"] = "process"
    """"process": committed before the answer, survives any crash of the process. "power": fsync before the answer."""
    flush_interval: Positive = 1.0
    """With "process": the longest time until what is committed is on the disk."""
    map_size: Annotated[int, msgspec.Meta(ge=1)] = 64
    """Most that the store may grow to, in GiB of address space (not of memory)."""


class Upstream(Section, frozen=True):
    """A SIP server behind this one that registers and routes for some domains."""

    uri: str
    """sip:HOST[:PORT]"""
    domains: tuple[str, ...] = ()
    """Domains that it serves; empty: all that no other upstream names."""


class Config(Section, frozen=True):
    """All of it."""

    listen: tuple[str, ...] = ("udp:0.0.0.0:5060",)
    """udp:HOST:PORT; an IPv6 host in brackets."""
    advertise: str = ""
    """Host that Via, Record-Route and Contact name; empty: the listener's address."""
    domains: tuple[str, ...] = ()
    """Domains served; empty: the host's own names and addresses."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    timers: Timers = Timers()
    registrar: Registrar = Registrar()
    redial: Redial = Redial()
    store: Storage = Storage()
    upstream: tuple[Upstream, ...] = ()
