"""The order of recall methods for one phone, and how each is used with it.

What says so, the weightier first: the user's own order (`[[redial.user]]`), what is remembered of the device, the
operator's profile of its make, what is remembered of its User-Agent, the shipped profile, the generic order
(`redial.methods`). A method that a phone is known to refuse is left out, and the one that is known to work comes first.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from .._uri import aor as canonical
from ..config import Credentials, Phone, RedialUser
from ..config import Redial as Settings
from ..errors import ConfigError, ParseError
from ..store.records import EARLY_REFER
from .profiles import UNKNOWN, How, Profile, how_of, profile_of, shipped

Rungs = tuple[tuple[str, How], ...]
Verdicts = Mapping[str, bool]  # method -> whether it worked, or was refused
NO_CALL = frozenset({"message"})  # what tells a person, and places no call: always where the order has it


class Order:
    """The methods for each phone."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.users = {
            _aor(index, user): user
            for index, user in enumerate(settings.user)
            if user.methods or user.start or user.credentials
        }

    def rungs(self, aor: bytes, agent: bytes, device: Verdicts | None, make: Verdicts | None) -> Rungs:
        """What to try, first to last, with a user's phone: (name of the method, how). Never empty.

        `device`, `make`: what is remembered of the phone, and of those with its User-Agent.
        """
        user, text = self.users.get(aor), agent.decode("utf-8", "replace")
        given, known = profile_of(self.settings.phone, text), profile_of(shipped(), text)
        how = self.how(user, given, known, (device or {}).get(EARLY_REFER), (make or {}).get(EARLY_REFER))
        if user is not None and user.methods:
            return tuple((name, how) for name in user.methods)
        layers = (device or {}, _verdicts(given), make or {}, _verdicts(known))
        return tuple((name, how) for name in _sorted(given.methods or self.settings.methods, layers))

    def how(
        self, user: RedialUser | None, given: Profile, known: Profile, device: bool | None = None, make: bool | None = None
    ) -> How:
        """How methods are used, by an operator's words and then by the shipped table's.

        `device`, `make`: whether it is remembered of them that they obey a REFER while they ring.
        """
        # That the operator wants nobody to call unasked is weightier than that a phone could.
        start = (
            (user.start if user else "")
            or (device is False and "ring")
            or given.start
            or (self.settings.start == "ring" and "ring")
            or (make is not None and ("dial" if make else "ring"))
            or known.start
            or "dial"
        )
        return how_of(start, (given, known), self._credentials(user, given))

    def credentials_of(self, aor: bytes, agent: bytes | None) -> tuple[Credentials, ...]:
        """What a challenge in a call for a user is answered with. `agent`: of the user's phone; None: another asks."""
        given = UNKNOWN if agent is None else profile_of(self.settings.phone, agent.decode("utf-8", "replace"))
        return self._credentials(self.users.get(aor), given)

    def _credentials(self, user: RedialUser | None, given: Profile) -> tuple[Credentials, ...]:
        return (user.credentials if user else ()) + given.credentials + self.settings.credentials


def profiles_in_force(settings: Settings) -> list[tuple[str, Phone]]:
    """All lines with where they are from, in the order that they are asked in."""
    return [("configuration", each) for each in settings.phone] + [("shipped", each) for each in shipped()]


def _aor(index: int, user: RedialUser) -> bytes:
    has_scheme = user.aor.lower().startswith(("sip:", "sips:", "tel:"))
    with suppress(ParseError):
        found = canonical((user.aor if has_scheme else f"sip:{user.aor}").encode())
        if b"@" in found or found.startswith(b"tel:"):
            return found
    raise ConfigError(f"{user.aor!r} is not an address of record such as bob@example.com", f"redial.user[{index}].aor")


def _verdicts(profile: Profile) -> Verdicts:
    return dict.fromkeys(profile.refuses, False) | dict.fromkeys(profile.obeys, True)


def _sorted(order: tuple[str, ...], layers: tuple[Verdicts, ...]) -> tuple[str, ...]:
    """The order without what is refused, and with what works in front."""

    def verdict(method: str) -> bool | None:
        return next((layer[method] for layer in layers if method in layer), None)

    left = [method for method in order if verdict(method) is not False]
    if all(method in NO_CALL for method in left):
        left = list(order)  # all that could place a call was refused once: it is asked again
    for layer in layers:
        for method in left:
            if layer.get(method) and method not in NO_CALL:
                return (method, *(other for other in left if other != method))
    return tuple(left)
