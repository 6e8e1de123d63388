"""The configuration: one TOML file, decoded into frozen structs; every key has a default."""

from .load import load, load_phones
from .schema import (
    METHODS,
    Config,
    Credentials,
    Events,
    Limits,
    Passwords,
    Peer,
    Phone,
    Rates,
    Redial,
    RedialDomain,
    RedialUser,
    Registrar,
    Storage,
    Timers,
    Upstream,
)

__all__ = [
    "METHODS",
    "Config",
    "Credentials",
    "Events",
    "Limits",
    "Passwords",
    "Peer",
    "Phone",
    "Rates",
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
