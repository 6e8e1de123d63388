"""Phone profiles: what a make of phone is known to do with each recall method, and how a method is used with it.

A profile is a line of a table (config.Phone), found by the phone's User-Agent. The shipped table is `phones.toml`; an
operator's lines go before it. Lines are asked in order: what one leaves open, the next one that fits says.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

import msgspec

from ..config import Credentials, Phone, load_phones

REFER_AFTER = 50  # ms. Some phones do not know their own dialog in the moment of the ACK
OPTION_TAG = {"supported": b"Supported", "require": b"Require", "none": b""}


class How(msgspec.Struct, frozen=True, gc=False):
    """How a method is used with a phone. As made without arguments: with one that nothing is known of."""

    start: str = "dial"
    """"dial": it is asked to place its call while it still rings; "ring": once it was answered."""
    norefersub: bytes = b"Supported"
    """Header that has the option tag of RFC 4488 §4 in a REFER without subscription; b"": none has."""
    headers: bytes = b""
    """Whole header lines, each with its CRLF, that the INVITE of "callback" has besides its own."""
    refer_after: int = REFER_AFTER
    """ms from the ACK to the REFER inside the dialog."""
    hangs_up: bool = False
    """It ends the dialog that it was asked in by itself, and mostly before a BYE of ours comes."""
    credentials: tuple[Credentials, ...] = ()
    """What a 401 or 407 is answered with, the ones to prefer first."""


class Profile(msgspec.Struct, frozen=True, gc=False):
    """What a table says of one User-Agent; a field that none of its lines speaks of is empty or None."""

    methods: tuple[str, ...] = ()
    obeys: frozenset[str] = frozenset()
    refuses: frozenset[str] = frozenset()
    start: str = ""
    norefersub: str = ""
    headers: tuple[str, ...] = ()
    refer_after: float | None = None
    hangs_up: bool | None = None
    credentials: tuple[Credentials, ...] = ()

    def verdict(self, method: str) -> bool | None:
        """Whether the phone obeys that method; None: nobody knows."""
        return True if method in self.obeys else False if method in self.refuses else None


UNKNOWN = Profile()


@cache
def shipped() -> tuple[Phone, ...]:
    """The table that comes with the server."""
    return load_phones(Path(__file__).with_name("phones.toml"))


def fits(phone: Phone, agent: str) -> bool:
    """Whether a line is about phones with this User-Agent ("": they send none). Case does not matter."""
    if not phone.agent or not agent:
        return phone.agent == agent or phone.agent == "*"
    return _pattern(phone.agent).match(agent) is not None


@cache
def _pattern(agent: str) -> re.Pattern[str]:
    if not ("*" in agent or "?" in agent):
        return re.compile(re.escape(agent), re.IGNORECASE)
    wild = {"*": ".*", "?": "."}
    return re.compile("".join(wild.get(each, re.escape(each)) for each in agent) + r"\Z", re.IGNORECASE | re.DOTALL)


def profile_of(phones: Iterable[Phone], agent: str) -> Profile:
    """What a table says of this User-Agent."""
    lines = [phone for phone in phones if fits(phone, agent)]
    if not lines:
        return UNKNOWN
    verdicts: dict[str, bool] = {}
    for line in lines:
        for method, obeyed in [*((one, True) for one in line.obeys), *((one, False) for one in line.refuses)]:
            verdicts.setdefault(method, obeyed)
    return Profile(
        methods=next((line.methods for line in lines if line.methods), ()),
        obeys=frozenset(method for method, obeyed in verdicts.items() if obeyed),
        refuses=frozenset(method for method, obeyed in verdicts.items() if not obeyed),
        start=next((line.start for line in lines if line.start), ""),
        norefersub=next((line.norefersub for line in lines if line.norefersub), ""),
        headers=next((line.headers for line in lines if line.headers), ()),
        refer_after=next((line.refer_after for line in lines if line.refer_after is not None), None),
        hangs_up=next((line.hangs_up for line in lines if line.hangs_up is not None), None),
        credentials=next((line.credentials for line in lines if line.credentials), ()),
    )


def how_of(start: str, profiles: Sequence[Profile], credentials: tuple[Credentials, ...]) -> How:
    """How methods are used where these profiles, the weightier first, are known."""

    def first(name: str) -> object:
        return next((said for each in profiles if (said := getattr(each, name)) not in ("", (), None)), None)

    norefersub, headers, refer_after = first("norefersub"), first("headers"), first("refer_after")
    how = How(
        start=start,
        norefersub=OPTION_TAG[str(norefersub or "supported")],
        headers=b"".join(f"{line}\r\n".encode() for line in headers) if isinstance(headers, tuple) else b"",
        refer_after=round(refer_after * 1000) if isinstance(refer_after, int | float) else REFER_AFTER,
        hangs_up=bool(first("hangs_up")),
        credentials=credentials,
    )
    return GENERIC if how == GENERIC else how


GENERIC = How()
