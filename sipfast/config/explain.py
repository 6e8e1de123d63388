"""What is wrong, in one line for people: where the key comes from, its name, the value found, what it may be."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from .schema import Section, is_secret

# What each command-line flag overrides: an error about such a key names the flag instead of the file.
FLAGS = {
    "listen": "--listen",
    "users": "--users",
    "open": "--open",
    "domains": "--domain",
    "store.data": "--data",
    "upstream": "--upstream",
    "workers": "--workers",
    "log_level": "--log-level",
    "redial.default_period": "--default-period",
}

_MSGSPEC_PATH = re.compile(r"(?P<what>.*) - at `\$\.?(?P<path>[^`]*)`", re.S)
_MSGSPEC_FIELD = re.compile(r"Object (?P<what>contains unknown|missing required) field `(?P<name>.*)`", re.S)
_STEP = re.compile(r"([^.\[\]]+)|\[(\d+)\]")


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


def explain(message: str, tree: dict[str, Any], whole: type[Section], source: Source) -> str:
    """A line for people out of msgspec's message, the value found, and the type that the key has."""
    match = _MSGSPEC_PATH.fullmatch(message)
    what, path = (match["what"], match["path"]) if match else (message, "")
    field = _MSGSPEC_FIELD.fullmatch(what)
    if field is None:
        value, kind = _follow(path, tree, whole)
        shown = "its value" if is_secret(path) else show(value)
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


def show(value: Any) -> str:
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
