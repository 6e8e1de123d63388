"""The configuration: one TOML file, decoded into frozen structs; every key has a default."""

from .schema import (
    METHODS,
    Config,
    Credentials,
    Events,
    Peer,
    Phone,
    Redial,
    RedialDomain,
    RedialUser,
    Registrar,
    Storage,
    Timers,
    Upstream,
    load,
    load_phones,
)

__all__ = [
    "METHODS",
    "Config",
    "Credentials",
    "Events",
    "Peer",
    "Phone",
    "Redial",
    "RedialDomain",
    "RedialUser",
    "Registrar",
    "Storage",
    "Timers",
    "Upstream",
    "load",
    "load_phones",
]
