"""What users with passwords say to a challenge, for the fuzzer: mostly the right thing."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

from net.digest import answer_challenge
from net.sipwire import Sip, param

from fuzz.course import Address
from sipfast.identity.user_file import secrets_of
from sipfast.identity.users import User, UserTable

REALM = "example.com"


def table(names: Sequence[bytes]) -> UserTable:
    """Users whose passwords are their names."""
    users = UserTable()
    for name in names:
        secrets = secrets_of(name.decode(), REALM, name.decode())
        aors = (b"sip:%b@%b" % (name, REALM.encode()),)
        users.add(User(name, REALM.encode(), secrets["md5"].encode(), secrets["sha256"].encode(), aors))
    return users


def login(draw: random.Random, challenge: bytes, said: Iterable[tuple[bytes, Address]]) -> tuple[bytes, Address] | None:
    """The request that was challenged, with credentials; None where it is no longer known, or was never a whole one."""
    try:
        answer = Sip(challenge)
        branch = param(answer.first("via"), "branch") or "none"
        for data, source in said:
            if branch.encode() in data:
                asked = Sip(data)
                user = asked.first("to" if asked.method == "REGISTER" else "from").partition("sip:")[2].partition("@")[0]
                password = user if draw.random() < 0.9 else "wrong"
                via = asked.first("via").replace(branch, f"{branch}d")
                return answer_challenge(asked, answer, user, password, via), source
    except (ValueError, IndexError):
        return None
    return None
