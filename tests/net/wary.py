"""Who wants to know who calls: a phone and an upstream that check digests by RFC 7616 and RFC 8760 themselves."""

from __future__ import annotations

import hashlib
import re
from typing import Any

from net.endpoint import ServerTransaction
from net.sipwire import Sip, uri_of
from net.stubborn import Stubborn
from net.upstream import Upstream

_PART = re.compile(r'(\w+)=(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')
HASHES = {"MD5": "md5", "SHA-256": "sha256"}


class Guard:
    """Makes challenges, and says of an answer whether it is right."""

    def __init__(self, realm: str, user: str, password: str, algorithms: tuple[str, ...] = ("MD5", "SHA-256")) -> None:
        self.realm, self.user, self.password, self.algorithms = realm, user, password, algorithms
        self.stale = 0  # so many right answers are told that their nonce is too old
        self.once = False  # each nonce is good for one request only, and what is wrong with the next is not said
        self.made = 0
        self.counts: dict[str, int] = {}  # nonce -> the last nc that came with it

    def challenges(self, stale: bool = False) -> list[str]:
        """One for each algorithm, the weakest first: a client takes the best that it knows (RFC 7616 §3.7)."""
        self.made += 1
        nonce = f"{self.realm}{self.made}"
        self.counts[nonce] = 0
        rest = f'qop="auth,auth-int", opaque="o,{nonce}"{", stale=true" if stale else ""}'
        return [
            f'Digest realm="{self.realm}", nonce="{nonce}", algorithm={algorithm}, {rest}' for algorithm in self.algorithms
        ]

    def wants(self, request: Sip, field: str) -> list[str]:
        """The challenges that the request gets; none: it is from whom it says."""
        for line in request.lines(field):
            given = {key.lower(): quoted or bare for key, quoted, bare in _PART.findall(line)}
            if given["realm"] == self.realm:
                if not self._is_right(request, given):
                    return self.challenges()
                if self.stale:
                    self.stale -= 1
                    return self.challenges(stale=True)
                return []
        return self.challenges()

    def _is_right(self, request: Sip, given: dict[str, str]) -> bool:
        assert given["algorithm"] == self.algorithms[-1], "never the weaker where the stronger is offered"
        # RFC 3261 §22.4: a proxy on the way may have made another Request-URI of it.
        assert given["uri"] in (request.uri, uri_of(request.first("to")))
        assert given["qop"] == "auth" and given["opaque"] == f"o,{given['nonce']}"
        count = int(given["nc"], 16)
        if given["nonce"] not in self.counts or (self.once and self.counts[given["nonce"]]):
            return False
        assert count > self.counts[given["nonce"]], "RFC 7616 §3.4: nc counts the requests with this nonce"
        self.counts[given["nonce"]] = count

        def digest(text: str) -> str:
            return hashlib.new(HASHES[given["algorithm"]], text.encode()).hexdigest()

        first, second = digest(f"{self.user}:{self.realm}:{self.password}"), digest(f"{request.method}:{given['uri']}")
        expected = digest(f"{first}:{given['nonce']}:{given['nc']}:{given['cnonce']}:auth:{second}")
        return given["username"] == self.user and given["response"] == expected


class Wary(Stubborn):
    """A phone that asks who sends it requests with these methods."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.guard: Guard | None = None
        self.asks: frozenset[str] = frozenset()
        self.asks_by = 401  # or 407, as a proxy before it
        self.let_in: list[Sip] = []  # what came of those methods, and was answered
        self.turned_away: list[Sip] = []
        self.unsigned: list[Sip] = []  # ACKs of a 2xx that have other credentials than their INVITE (RFC 3261 §22.1)

    def on_request(self, transaction: ServerTransaction) -> None:
        request = transaction.request
        if self.guard is None or request.method not in self.asks:
            super().on_request(transaction)
        elif found := self.guard.wants(request, "authorization" if self.asks_by == 401 else "proxy-authorization"):
            self.turned_away.append(request)
            field = "WWW-Authenticate" if self.asks_by == 401 else "Proxy-Authenticate"
            transaction.answer(self.asks_by, self.token("w"), headers=[(field, each) for each in found])
        else:
            self.let_in.append(request)
            super().on_request(transaction)

    def on_ack(self, ack: Sip) -> None:
        for invite in self.let_in:
            of_it = (invite.method, invite.call_id, invite.cseq) == ("INVITE", ack.call_id, ack.cseq)
            if of_it and invite.lines("authorization") != ack.lines("authorization"):
                self.unsigned.append(ack)
        super().on_ack(ack)


class WaryUpstream(Upstream):
    """An upstream that asks each caller by the own password."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.guards: dict[str, Guard] = {}  # user -> of that one
        self.let_in: list[Sip] = []

    def _refusal(self, invite: Sip) -> int:
        user = invite.first("from").partition("sip:")[2].partition("@")[0]
        guard = self.guards.get(user)
        if guard is None or any((each.call_id, each.cseq) == (invite.call_id, invite.cseq) for each in self.let_in):
            return 0  # nobody asks for it, or it comes again
        self.challenges = guard.wants(invite, "proxy-authorization")
        if not self.challenges:
            self.let_in.append(invite)
        return 407 if self.challenges else 0
