"""From a TOML file and the flags of a command line to the configuration.

A wrong key, type or range raises ConfigError with one line that names the key and the file.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec.structs import replace

from ..errors import ConfigError
from .checks import mistakes, phone_mistakes
from .explain import Source, explain
from .schema import Config, Phone, Phones, Section, listen_unset

Whole = TypeVar("Whole", bound=Section)


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
    if "listen" not in tree:
        config = replace(config, listen=listen_unset(config))
    for key, reason in mistakes(config):
        raise ConfigError(source.blame(key, reason))
    if config.users and "users" not in (overrides or {}) and path is not None:
        config = replace(config, users=str(path.parent / config.users))
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
    for key, reason in phone_mistakes("phone", phones):
        raise ConfigError(source.blame(key, reason))
    return phones


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
        raise ConfigError(explain(str(error), tree, kind, source)) from None
