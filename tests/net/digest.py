"""Digest authentication as a phone does it (RFC 3261 §22, RFC 2617): MD5, with qop where the challenge offers it."""

from __future__ import annotations

import hashlib
import re

from net.sipwire import Sip, param, request

_PART = re.compile(r'(\w+)\s*=\s*(?:"([^"]*)"|([^",\s]+))')


def answer_challenge(asked: Sip, challenge: Sip, user: str, password: str, via: str) -> bytes:
    """The request once more, with its next CSeq, a new Via, and what the 401 or 407 asks for."""
    name, field = ("WWW-Authenticate", "Authorization") if challenge.status == 401 else (
        "Proxy-Authenticate", "Proxy-Authorization")  # fmt: skip
    wanted = {key.lower(): quoted or bare for key, quoted, bare in _PART.findall(challenge.first(name.lower()))}
    realm, nonce, qop = wanted.get("realm", ""), wanted.get("nonce", ""), "auth" in wanted.get("qop", "").split(",")
    first = _md5(f"{user}:{realm}:{password}")
    second = _md5(f"{asked.method}:{asked.uri}")
    cnonce = param(via, "branch") or "c"
    parts = [f'username="{user}"', f'realm="{realm}"', f'nonce="{nonce}"', f'uri="{asked.uri}"', "algorithm=MD5"]
    if qop:
        parts += ["qop=auth", "nc=00000001", f'cnonce="{cnonce}"']
        digest = _md5(f"{first}:{nonce}:00000001:{cnonce}:auth:{second}")
    else:
        digest = _md5(f"{first}:{nonce}:{second}")
    parts.append(f'response="{digest}"')
    if "opaque" in wanted:
        parts.append(f'opaque="{wanted["opaque"]}"')
    replaced = {"via": via, "cseq": f"{asked.cseq + 1} {asked.method}"}
    dropped = ("content-length", field.lower())
    headers = [(key, replaced.get(key, value)) for key, value in asked.headers if key not in dropped]
    return request(asked.method, asked.uri, [*headers, (field, f"Digest {', '.join(parts)}")], asked.body)


def _md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()
