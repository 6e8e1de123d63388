"""`sipfast users`: who has a password, and who may watch for him. A running server takes up what is changed soon."""

from __future__ import annotations

import argparse
import getpass
import sys
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from ..config import load
from ..errors import ConfigError
from ..identity.user_file import Record, is_canonical, kept, parse_imported, problem_of, read_records, secrets_of
from .console import DONE, FAILED, complain, print_json, print_table
from .stored import aor


def add_to(commands: Any) -> None:
    """Its line of the command line."""
    command = commands.add_parser(
        "users", help="who has a password: list, add, passwd, rights, remove, import", allow_abbrev=False
    )
    verbs = command.add_subparsers(metavar="list | add | passwd | rights | remove | import", required=True)

    verb = verbs.add_parser("list", help="show them; no hash of a password is shown", allow_abbrev=False)
    verb.add_argument("--json", action="store_true", help="as JSON")
    say_which(verb, list_users)

    verb = verbs.add_parser("add", help="add USER@DOMAIN; the password is asked for, or read from stdin", allow_abbrev=False)
    verb.add_argument("aor", metavar="USER@DOMAIN")
    verb.add_argument(
        "--alias", metavar="USER@DOMAIN", action="append", default=[], help="another address that the user acts for"
    )
    verb.add_argument("--name", metavar="NAME", help="what the phone has as the name for authentication (USER)")
    verb.add_argument("--sha256-only", action="store_true", help="without MD5; then phones that know MD5 only cannot log in")
    say_rights(verb)
    say_which(verb, add_user)

    verb = verbs.add_parser("passwd", help="give a user another password", allow_abbrev=False)
    verb.add_argument("aor", metavar="USER@DOMAIN")
    say_which(verb, change_password)

    verb = verbs.add_parser("rights", help="who may watch for a user, that is, be called back", allow_abbrev=False)
    verb.add_argument("aor", metavar="USER@DOMAIN")
    say_rights(verb)
    say_which(verb, change_rights)

    verb = verbs.add_parser("remove", help="remove a user", allow_abbrev=False)
    verb.add_argument("aor", metavar="USER@DOMAIN")
    say_which(verb, remove_user)

    verb = verbs.add_parser("import", help="add users of a file, all or none", allow_abbrev=False)
    verb.add_argument("file", metavar="FILE", type=Path, help="lines of USER:REALM:MD5[:SHA256], as htdigest writes them")
    verb.add_argument("--plain", action="store_true", help="lines are USER@DOMAIN:PASSWORD")
    say_rights(verb)
    say_which(verb, import_users)


def say_which(verb: argparse.ArgumentParser, run: Any) -> None:
    """The options that all of them have."""
    verb.add_argument("--users", metavar="FILE", type=Path, help="the file of users")
    verb.add_argument("--config", metavar="FILE", type=Path, help="the server's configuration, which names it (users)")
    verb.set_defaults(run=run)


def say_rights(verb: argparse.ArgumentParser) -> None:
    """The options that restrict who watches for a user (3GPP TS 22.173)."""
    yes_or_no = argparse.BooleanOptionalAction
    verb.add_argument("--watch", action=yes_or_no, default=None, help="anybody may watch at all (yes)")
    who = verb.add_mutually_exclusive_group()
    who.add_argument(
        "--watchers",
        metavar="WHO,...",
        help="only these may: USER@DOMAIN, or @DOMAIN for everybody there; replaces the list",
    )
    who.add_argument(
        "--anybody", action="store_const", dest="watchers", const="", help="there is no such list (the default)"
    )
    verb.add_argument(
        "--anonymous", action=yes_or_no, default=None, help="callers may who want not to be known (yes; RFC 3323)"
    )


def with_rights(record: Record, arguments: argparse.Namespace) -> Record:
    """The record, with what is said of rights. ConfigError: the list has something else than addresses and domains."""
    said: dict[str, Any] = {
        name: getattr(arguments, name) for name in ("watch", "anonymous") if getattr(arguments, name) is not None
    }
    if arguments.watchers is not None:
        names = [each.strip() for each in arguments.watchers.split(",") if each.strip()]
        if arguments.watchers and not names:
            raise ConfigError("--watchers names nobody; see --anybody, and --no-watch")
        said["watchers"] = tuple(dict.fromkeys(each.lower() if each[0] == "@" else address_of(each) for each in names))
    record = replace(record, **said)
    refuse(record)
    return record


def rights_in_words(record: Record) -> str:
    """Who may watch for a user."""
    if not record.watch:
        return "nobody"
    who = ", ".join(each.removeprefix("sip:") for each in record.watchers) or "anybody"
    return who if record.anonymous else f"{who}, not anonymous"


def place_of(arguments: argparse.Namespace) -> tuple[Path, str]:
    """The file of users, and the realm of all (passwords.realm), or ""."""
    config = load(arguments.config, {} if arguments.users is None else {"users": str(arguments.users)})
    if not config.users:
        raise ConfigError("which file of users? Name it by --users FILE, or by --config FILE with the key users in it")
    return Path(config.users), config.passwords.realm


def list_users(arguments: argparse.Namespace) -> int:
    """Print who there is."""
    path, _ = place_of(arguments)
    rows = [(record, [name for name in ("md5", "sha256") if getattr(record, name)]) for _, record in read_records(path)]
    if arguments.json:
        return print_json(
            {
                "user": record.user, "realm": record.realm, "algorithms": algorithms, "aors": list(record.own),
                "watch": record.watch, "watchers": list(record.watchers), "anonymous": record.anonymous,
            }
            for record, algorithms in rows
        )  # fmt: skip
    shown = [
        (
            record.user, record.realm, ", ".join(kinds), ", ".join(each.removeprefix("sip:") for each in record.own),
            rights_in_words(record),
        )
        for record, kinds in rows
    ]  # fmt: skip
    return print_table(("user", "realm", "algorithms", "acts for", "watched by"), shown, f"no users in {path}")


def add_user(arguments: argparse.Namespace) -> int:
    """Add one, with a new password."""
    path, realm = place_of(arguments)
    own = address_of(arguments.aor)
    user, _, domain = own.removeprefix("sip:").partition("@")
    record = Record(
        user=arguments.name or user,
        realm=realm or domain,
        aors=(own, *(address_of(each) for each in arguments.alias)),
        md5="0" * 32,
    )
    if record.aors == (f"sip:{record.user}@{record.realm}",):
        record = replace(record, aors=())
    record = with_rights(record, arguments)
    secrets = secrets_of(record.user, record.realm, new_password())
    record = replace(record, **(secrets | {"md5": ""} if arguments.sha256_only else secrets))
    with kept(path) as records:
        for other in records:
            if (other.user, other.realm) == (record.user, record.realm):
                raise ConfigError(
                    f"{path}: {record.user} is there already in the realm {record.realm}; see sipfast users passwd"
                )
            for each in record.own:
                if each in other.own:
                    raise ConfigError(f"{path}: {other.user} in the realm {other.realm} acts for {each} already")
        records.append(record)
    names = ", ".join(each.removeprefix("sip:") for each in record.own)
    print(f"added: {record.user} in the realm {record.realm}, for {names}")
    return DONE


def change_password(arguments: argparse.Namespace) -> int:
    """Give one another password."""
    path, realm = place_of(arguments)
    password = None
    with kept(path) as records:
        place = find(records, address_of(arguments.aor), realm)
        if place >= 0:
            record = records[place]
            password = new_password()
            secrets = secrets_of(record.user, record.realm, password)
            records[place] = replace(record, **(secrets | {"md5": ""} if record.sha256 and not record.md5 else secrets))
    if password is None:
        return complain(f"{path}: nobody is {arguments.aor}", FAILED)
    print(f"changed: {record.user} in the realm {record.realm}")
    return DONE


def change_rights(arguments: argparse.Namespace) -> int:
    """Say who may watch for one; what is not said stays as it is."""
    if (arguments.watch, arguments.watchers, arguments.anonymous) == (None, None, None):
        raise ConfigError("which right? See --watch, --watchers, --anybody, --anonymous and their opposites")
    path, realm = place_of(arguments)
    changed = None
    with kept(path) as records:
        place = find(records, address_of(arguments.aor), realm)
        if place >= 0:
            changed = records[place] = with_rights(records[place], arguments)
    if changed is None:
        return complain(f"{path}: nobody is {arguments.aor}", FAILED)
    print(f"changed: {changed.user} in the realm {changed.realm} is watched by {rights_in_words(changed)}")
    return DONE


def remove_user(arguments: argparse.Namespace) -> int:
    """Remove one. His bindings stay until they run out, or `sipfast bindings remove`."""
    path, realm = place_of(arguments)
    removed = None
    with kept(path) as records:
        place = find(records, address_of(arguments.aor), realm)
        if place >= 0:
            removed = records.pop(place)
    if removed is None:
        return complain(f"{path}: nobody is {arguments.aor}", FAILED)
    print(f"removed: {removed.user} in the realm {removed.realm}; see sipfast bindings remove for where his phones are")
    return DONE


def import_users(arguments: argparse.Namespace) -> int:
    """Add many; where one is there already, or twice, none is added."""
    path, realm = place_of(arguments)
    try:
        lines = arguments.file.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{arguments.file}: cannot read it: {error}") from None
    try:
        found = [with_rights(each, arguments) for each in parse_imported(lines, plain=arguments.plain, realm=realm)]
    except ConfigError as error:
        raise ConfigError(f"{arguments.file}: {error}") from None
    with kept(path) as records:
        known = {(record.user, record.realm) for record in records}
        for record in found:
            if (record.user, record.realm) in known:
                raise ConfigError(f"{path}: {record.user} is there already in the realm {record.realm}; nobody was added")
            known.add((record.user, record.realm))
        records.extend(found)
    print(f"added: {len(found)}")
    return DONE


def find(records: list[Record], own: str, realm: str) -> int:
    """Whose address it is; -1: nobody's. One whose first it is comes before one whose alias it is."""
    for own_only in (True, False):
        for place, record in enumerate(records):
            if own in (record.own[:1] if own_only else record.own) and (not realm or record.realm == realm):
                return place
    return -1


def address_of(text: str) -> str:
    """An AOR as people type it, as the file has it."""
    found = aor(text).decode()
    if not found.startswith("sip:") or not is_canonical(found):
        raise ConfigError(f"{text!r} is not an address of record such as alice@example.com")
    return found


def refuse(record: Record) -> None:
    """ConfigError where it cannot be."""
    problem = problem_of(record)
    if problem:
        raise ConfigError(problem)


def new_password() -> str:
    """Of a terminal, asked for twice; else the first line of stdin. Never of the command line, which everybody sees."""
    if not sys.stdin.isatty():
        password = sys.stdin.readline().rstrip("\r\n")
    else:
        password = getpass.getpass("password: ")
        if getpass.getpass("once more: ") != password:
            raise ConfigError("these are two passwords; nothing was changed")
    if not password:
        raise ConfigError("an empty password lets everybody in; nothing was changed")
    return password
