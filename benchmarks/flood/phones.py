"""Two phones that register and call each other, ten times a second, and how soon they are answered.

They repeat what is not answered by timers A and E (RFC 3261 §17.1), as phones do, and answer a challenge with their
password, which is their name: once, and then each request has credentials by the nonce that they were given (RFC 7616 §3.4).
"""

from __future__ import annotations

import hashlib
import re
import select
import socket
import time
from dataclasses import dataclass, field
from itertools import count

DOMAIN = "example.test"
HOSTS = {"caller": "127.0.0.2", "callee": "127.0.0.3", "silent": "127.0.0.4"}
"""`silent` registers, and answers nothing."""
T1 = 0.5  # seconds
PATIENCE = 4.0
"""seconds after which a round has failed"""


@dataclass
class Told:
    """What they have seen."""

    rounds: int = 0
    done: int = 0
    slowest: float = 0.0
    """seconds of the slowest request of a round that got through"""
    repeated: int = 0
    failures: list[str] = field(default_factory=list)


@dataclass
class Login:
    """What a phone was challenged by."""

    realm: str
    nonce: str
    used: int = 0

    def credentials(self, name: str, method: str, uri: str) -> str:
        """The header that proves the password."""
        self.used += 1
        count, field = f"{self.used:08x}", "Authorization" if method == "REGISTER" else "Proxy-Authorization"
        first, second = md5(f"{name}:{self.realm}:{name}"), md5(f"{method}:{uri}")
        digest = md5(f"{first}:{self.nonce}:{count}:flood:auth:{second}")
        return (
            f'{field}: Digest username="{name}",realm="{self.realm}",nonce="{self.nonce}",uri="{uri}",algorithm=MD5,'
            f'qop=auth,nc={count},cnonce="flood",response="{digest}"\r\n'
        )


class Phones:
    """Each has a socket of its own; the callee answers from the same loop."""

    def __init__(self, port: int) -> None:
        self._server = ("127.0.0.1", port)
        self._sockets = {name: self._open(host) for name, host in HOSTS.items()}
        self._numbers = count(1)
        self._registered = dict.fromkeys(self._sockets, 0)
        self._logins: dict[str, Login] = {}
        self.told = Told()

    def _open(self, host: str) -> socket.socket:
        opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        opened.bind((host, 0))
        return opened

    def close(self) -> None:
        """Hang up."""
        for opened in self._sockets.values():
            opened.close()

    def round(self) -> bool:
        """Both register, one calls the other, and hangs up."""
        self.told.rounds += 1
        try:
            for name in ("caller", "callee"):
                self.register(name)
            self._call()
        except TimeoutError as error:
            self.told.failures.append(str(error))
            return False
        self.told.done += 1
        return True

    def register(self, name: str) -> None:
        """Refresh a binding. Raises TimeoutError."""
        self._registered[name] += 2  # one for a challenge
        contact = self._contact(name)
        self._ask(
            name,
            "REGISTER",
            f"sip:{DOMAIN}",
            f"<sip:{name}@{DOMAIN}>",
            f"reg-{contact}",
            self._registered[name],
            f"Contact: <{contact}>\r\nExpires: 600\r\n",
        )

    def _call(self) -> None:
        number = next(self._numbers)
        call, callee = f"call-{number}-{self._contact('caller')}", f"sip:callee@{DOMAIN}"
        contact = f"Contact: <{self._contact('caller')}>\r\n"
        answer = self._ask("caller", "INVITE", callee, f"<{callee}>", call, 1, contact)
        to, target = header(answer, "To"), header(answer, "Contact").strip("<>")
        routes = "".join(f"Route: {value}\r\n" for value in reversed(headers(answer, "Record-Route")))
        cseq = int(header(answer, "CSeq").split()[0])
        self._send("caller", "ACK", target, to, call, cseq, routes, self._branch())
        self._ask("caller", "BYE", target, to, call, cseq + 1, routes)

    # ---- the wire

    def _contact(self, name: str) -> str:
        host, port = self._sockets[name].getsockname()
        return f"sip:{name}@{host}:{port}"

    def _branch(self) -> str:
        return f"z9hG4bKgood{next(self._numbers)}"

    def _send(self, name: str, method: str, uri: str, to: str, call: str, cseq: int, more: str, branch: str) -> None:
        host, port = self._sockets[name].getsockname()
        text = (
            f"{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {host}:{port};branch={branch}\r\nMax-Forwards: 70\r\n"
            f"From: <sip:{name}@{DOMAIN}>;tag=good\r\nTo: {to}\r\nCall-ID: {call}\r\nCSeq: {cseq} {method}\r\n{more}"
            f"Content-Length: 0\r\n\r\n"
        )
        self._sockets[name].sendto(text.encode(), self._server)

    def _ask(self, name: str, method: str, uri: str, to: str, call: str, cseq: int, more: str) -> str:
        for attempt in range(2):
            login = self._logins.get(name)
            credentials = login.credentials(name, method, uri) if login and method != "BYE" else ""
            answer = self._once(name, method, uri, to, call, cseq + attempt, more + credentials)
            if answer is not None:
                return answer
        raise TimeoutError(f"{method} was challenged again")

    def _once(self, name: str, method: str, uri: str, to: str, call: str, cseq: int, more: str) -> str | None:
        """The 200; None where it was challenged."""
        branch, began, interval = self._branch(), time.monotonic(), T1
        again = began
        while time.monotonic() < began + PATIENCE:
            if time.monotonic() >= again:
                self.told.repeated += again > began
                self._send(name, method, uri, to, call, cseq, more, branch)
                again, interval = time.monotonic() + interval, interval * 2
            found = self._listen(name, min(again, began + PATIENCE) - time.monotonic(), branch)
            if found is not None:
                took = time.monotonic() - began
                status = int(found.split(" ", 2)[1])
                if status in (401, 407):
                    lines = (*headers(found, "WWW-Authenticate"), *headers(found, "Proxy-Authenticate"))
                    parts = dict(re.findall(r'(\w+)="([^"]*)"', lines[-1]))       # MD5 is the last
                    self._logins[name] = Login(parts["realm"], parts["nonce"])
                    if method == "INVITE":
                        self._send(name, "ACK", uri, header(found, "To"), call, cseq, "", branch)
                    return None
                if status != 200:
                    raise TimeoutError(f"{method} answered {status} after {took:.2f} s")
                self.told.slowest = max(self.told.slowest, took)
                return found
        raise TimeoutError(f"{method} not answered within {PATIENCE:g} s")

    def _listen(self, name: str, patience: float, branch: str) -> str | None:
        """The final response to a branch, if it comes; the callee's calls are answered meanwhile."""
        awake = {self._sockets[each] for each in ("caller", "callee", name)}
        readable, _, _ = select.select(awake, [], [], max(patience, 0))
        for ready in readable:
            text = ready.recv(65_535).decode("utf-8", "replace")
            if not text.startswith("SIP/2.0 "):
                self._answer(ready, text)
            elif f"branch={branch}" in headers(text, "Via")[0] and not text.startswith("SIP/2.0 1"):
                return text
        return None

    def _answer(self, ready: socket.socket, text: str) -> None:
        method = text.split(" ", 1)[0]
        if method == "ACK":
            return
        copied = "".join(f"{name}: {value}\r\n" for name in ("Via", "Record-Route") for value in headers(text, name))
        tag = "" if ";tag=" in header(text, "To") else ";tag=answered"
        host, port = ready.getsockname()
        reply = (
            f"SIP/2.0 200 OK\r\n{copied}From: {header(text, 'From')}\r\nTo: {header(text, 'To')}{tag}\r\n"
            f"Call-ID: {header(text, 'Call-ID')}\r\nCSeq: {header(text, 'CSeq')}\r\n"
            f"Contact: <sip:callee@{host}:{port}>\r\nContent-Length: 0\r\n\r\n"
        )
        ready.sendto(reply.encode(), self._server)


def md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def headers(text: str, name: str) -> list[str]:
    """All values of a header, in their order."""
    return [line.split(":", 1)[1].strip() for line in text.split("\r\n") if line.lower().startswith(f"{name.lower()}:")]


def header(text: str, name: str) -> str:
    """The first one, or nothing."""
    return next(iter(headers(text, name)), "")
