"""The client's side of digest authentication: what a request is sent anew with when somebody asks who we are.

RFC 3261 §22, RFC 7616 and, for its algorithms in SIP, RFC 8760: MD5, SHA-256 and SHA-512-256, each as -sess too, with qop
"auth", "auth-int" or, as RFC 2069 had it, none.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from .._parser import Message
from ..config import Credentials

MOST_ROUNDS = 4  # answers to challenges of one request, whoever asks: proxies on the way, the phone
MOST_BYTES = 2048  # of the header lines that answer; a challenge that needs more is not answered
ANSWERED_IN = {"www-authenticate": "Authorization", "proxy-authenticate": "Proxy-Authorization"}
# The best first, by RFC 7616 §3.2; RFC 8760 §2.4 leaves the choice to us.
ALGORITHMS = {"sha-512-256": "sha512_256", "sha-256": "sha256", "md5": "md5"}
STRENGTHS = [name for name, made_by in ALGORITHMS.items() if made_by in hashlib.algorithms_available]

_TOKEN = rb"[A-Za-z0-9!#$%&'*+.^_`|~-]+"
_PART = re.compile(
    rb"(?P<scheme>" + _TOKEN + rb")[ \t]+(?=" + _TOKEN + rb"[ \t]*=)"
    rb"|(?P<name>" + _TOKEN + rb')[ \t]*=[ \t]*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<bare>[^\s,"]+))'
)
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")


class Challenge(NamedTuple):
    """One challenge. Texts are as they stand between their quotes, escapes included (RFC 7616 §3.3)."""

    field: str  # the header that answers it
    realm: bytes
    nonce: bytes
    algorithm: str  # as it was sent; "" where it was not
    qops: tuple[str, ...]  # in lower case
    opaque: bytes | None
    stale: bool

    @property
    def hash_name(self) -> str:
        """Key of ALGORITHMS."""
        return self.algorithm.lower().removesuffix("-sess") or "md5"  # RFC 7616 §3.3: absent is MD5

    @property
    def can_be_answered(self) -> bool:
        """Whether we know its algorithm and one of its qop values."""
        return self.hash_name in STRENGTHS and (not self.qops or "auth" in self.qops or "auth-int" in self.qops)


Realm = tuple[str, bytes]  # the header that answers it, and its name
Nonces = dict[Realm, tuple[Challenge, int]]  # who has asked: its last challenge, and how often that nonce was used


class Request(NamedTuple):
    """What is signed of a request."""

    method: bytes
    uri: bytes
    body: bytes = b""


def challenges_of(response: Message) -> list[Challenge]:
    """The digest challenges of a 401 or 407, in their order. What cannot be read is none."""
    found = []
    for name, value in response.headers:
        field = ANSWERED_IN.get(name.decode("latin-1").lower())
        if field is not None:
            found += _challenges(field, value)
    return found


def _challenges(field: str, value: bytes) -> list[Challenge]:
    """Those of one header field: several in one are against RFC 3261 §20.44, and are understood."""
    schemes: list[tuple[bytes, dict[bytes, bytes]]] = []
    for part in _PART.finditer(value):
        if part["scheme"] is not None:
            schemes.append((part["scheme"].lower(), {}))
        elif schemes:
            text = part["bare"] if part["quoted"] is None else part["quoted"]
            schemes[-1][1].setdefault(part["name"].lower(), text)
    return [
        _challenge(field, params)
        for scheme, params in schemes
        if scheme == b"digest" and b"realm" in params and b"nonce" in params
        and not any(_CONTROL.search(text) for text in params.values())
    ]  # fmt: skip


def _challenge(field: str, params: dict[bytes, bytes]) -> Challenge:
    return Challenge(
        field=field,
        realm=params[b"realm"],
        nonce=params[b"nonce"],
        algorithm=params.get(b"algorithm", b"").decode("latin-1"),
        qops=tuple(each.strip().decode("latin-1").lower() for each in params.get(b"qop", b"").split(b",") if each.strip()),
        opaque=params.get(b"opaque"),
        stale=params.get(b"stale", b"").lower() == b"true",
    )


class Cnonces:
    """Makes client nonces: each is new, and nobody who has seen some can tell another. `seed`: at least 16 random bytes."""

    def __init__(self, seed: bytes) -> None:
        self.seed = seed[:64]
        self.made = 0

    def __call__(self) -> bytes:
        """One more."""
        self.made += 1
        return hashlib.blake2b(self.made.to_bytes(8, "big"), digest_size=8, key=self.seed).hexdigest().encode()


class Answers:
    """What the challenges to one request, sent again and again, are answered with: each realm once, and once more where it
    says that only its nonce was stale.

    `new_cnonce()` gives a token that nobody can guess. `nonces`: those of the dialog that it is sent in, which its requests
    share.
    """

    def __init__(
        self, credentials: Sequence[Credentials], new_cnonce: Callable[[], bytes], nonces: Nonces | None = None
    ) -> None:
        self.credentials = credentials
        self.new_cnonce = new_cnonce
        self.rounds = 0
        self.nonces: Nonces = {} if nonces is None else nonces
        self.answered: set[Realm] = set()
        self.renewed: set[Realm] = set()

    def answer(self, response: Message, request: Request) -> bytes:
        """Header lines, each with its CRLF, to send the request again with, under the next CSeq; b"": it is not.

        They answer all who have asked so far: a proxy on the way wants to see its own again (RFC 3261 §22.3).
        """
        taken = self._taken(challenges_of(response))
        if not taken or self.rounds >= MOST_ROUNDS:
            return b""
        self.rounds += 1
        for key, challenge in taken.items():
            if key in self.answered:
                self.renewed.add(key)
            self.answered.add(key)
            self.nonces[key] = (challenge, 0)
        return self.lines(request)

    def lines(self, request: Request) -> bytes:
        """The same for those who have asked before, be it another request of the dialog (RFC 3261 §22.3)."""
        lines = []
        for key, (challenge, used) in self.nonces.items():
            credentials = self._credentials_for(challenge.realm)
            if credentials is not None:  # it may have been taken out of the configuration since
                self.nonces[key] = (challenge, used + 1)
                lines.append(_line(challenge, credentials, request, used + 1, self.new_cnonce()))
        whole = b"".join(lines)
        return whole if len(whole) <= MOST_BYTES else b""

    def _taken(self, challenges: Sequence[Challenge]) -> dict[Realm, Challenge]:
        """The best challenge of each realm that we can answer; none at all where an answer of ours was refused."""
        taken: dict[Realm, Challenge] = {}
        for challenge in challenges:
            key = (challenge.field, challenge.realm)
            if not challenge.can_be_answered or self._credentials_for(challenge.realm) is None:
                continue
            if key in self.answered and (not challenge.stale or key in self.renewed):
                return {}  # RFC 3261 §22.2: the same credentials are not to be tried again
            best = taken.get(key)
            if best is None or STRENGTHS.index(challenge.hash_name) < STRENGTHS.index(best.hash_name):
                taken[key] = challenge
        return taken

    def _credentials_for(self, realm: bytes) -> Credentials | None:
        """The first for this realm by name, else the first for any."""
        named = (each for each in self.credentials if each.realm and each.realm.encode() == realm)
        return next(named, next((each for each in self.credentials if not each.realm), None))


def _line(challenge: Challenge, credentials: Credentials, request: Request, used: int, cnonce: bytes) -> bytes:
    """The header line that answers a challenge, with its CRLF (RFC 7616 §3.4). `used`: so often its nonce is, with this."""
    qop = b"" if not challenge.qops else b"auth" if "auth" in challenge.qops else b"auth-int"
    count = b"%08x" % used
    parts = [
        b'username="%b"' % re.sub(rb'([\\"])', rb"\\\1", credentials.user.encode()),
        b'realm="%b"' % challenge.realm,
        b'nonce="%b"' % challenge.nonce,
        b'uri="%b"' % request.uri,
        b'response="%b"' % response_of(challenge, credentials, request, qop, count, cnonce),
    ]
    if challenge.algorithm:
        parts.append(b"algorithm=" + challenge.algorithm.encode("latin-1"))
    if challenge.opaque is not None:
        parts.append(b'opaque="%b"' % challenge.opaque)
    if qop:
        parts += [b"qop=" + qop, b"nc=" + count]
    if qop or challenge.algorithm.lower().endswith("-sess"):
        parts.append(b'cnonce="%b"' % cnonce)
    return b"%b: Digest %b\r\n" % (challenge.field.encode(), b", ".join(parts))


def response_of(
    challenge: Challenge, credentials: Credentials, request: Request, qop: bytes, count: bytes, cnonce: bytes
) -> bytes:
    """The response parameter's value, in hex (RFC 7616 §3.4.1)."""

    def digest(*parts: bytes) -> bytes:
        return hashlib.new(made_by, b":".join(parts), usedforsecurity=False).hexdigest().encode()

    made_by = ALGORITHMS[challenge.hash_name]
    first = digest(credentials.user.encode(), challenge.realm, credentials.password.encode())
    if challenge.algorithm.lower().endswith("-sess"):
        first = digest(first, challenge.nonce, cnonce)  # §3.4.2
    second = digest(request.method, request.uri)
    if qop == b"auth-int":
        second = digest(request.method, request.uri, digest(request.body))  # §3.4.3
    if not qop:
        return digest(first, challenge.nonce, second)  # RFC 2069
    return digest(first, challenge.nonce, count, cnonce, qop, second)
