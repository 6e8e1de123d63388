"""A small SIP codec of the tests' own.

Nothing here comes from the package: a test whose phones used the code under test would share its errors. It reads what
RFC 3261 §7 and §25 allow in messages that elements of these tests send, and writes plain text.
Text is UTF-8 with surrogate escapes, so that any byte survives.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

Address = tuple[str, int]
Headers = Sequence[tuple[str, str]]

COMPACT = {
    "v": "via", "f": "from", "t": "to", "i": "call-id", "m": "contact", "l": "content-length",
    "c": "content-type", "e": "content-encoding", "k": "supported", "s": "subject", "r": "refer-to",
    "b": "referred-by", "o": "event", "u": "allow-events", "x": "session-expires",
}  # fmt: skip
LISTS = {
    "via", "route", "record-route", "contact", "path", "require", "proxy-require", "supported", "unsupported",
    "allow", "call-info", "warning",
}  # fmt: skip
REASONS = {
    100: "Trying", 180: "Ringing", 183: "Session Progress", 200: "OK", 202: "Accepted", 302: "Moved Temporarily",
    400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 408: "Request Timeout",
    416: "Unsupported URI Scheme", 423: "Interval Too Brief", 480: "Temporarily Unavailable",
    481: "Call/Transaction Does Not Exist", 482: "Loop Detected", 486: "Busy Here", 487: "Request Terminated",
    500: "Server Internal Error", 501: "Not Implemented", 503: "Service Unavailable", 600: "Busy Everywhere",
    603: "Decline", 606: "Not Acceptable",
}  # fmt: skip


class Sip:
    """One message as it was read. Header names are lower-case and long."""

    __slots__ = ("body", "headers", "method", "raw", "reason", "status", "uri")

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        head, _, body = raw.partition(b"\r\n\r\n")
        lines = head.decode("utf-8", "surrogateescape").split("\r\n")
        self.status = 0
        self.uri = self.reason = ""
        if lines[0].startswith("SIP/2.0 "):
            _, status, self.reason = (lines[0] + " ").split(" ", 2)
            self.status = int(status)
            self.reason = self.reason.strip()
        else:
            self.method, self.uri, version = lines[0].split(" ")
            if version != "SIP/2.0":
                raise ValueError(f"not SIP/2.0: {lines[0]!r}")
        self.headers = _fields(lines[1:])
        if self.status:
            # An answer to a request without CSeq has none to copy
            self.method = "".join(self.first("cseq").split()[-1:])
        length = self.first("content-length")
        self.body = body[: int(length)] if length else body

    def first(self, name: str) -> str:
        """The first field's value, or "" where there is none."""
        for field, value in self.headers:
            if field == name:
                return value
        return ""

    def lines(self, name: str) -> list[str]:
        """Every field's value as written."""
        return [value for field, value in self.headers if field == name]

    def all(self, name: str) -> list[str]:
        """Every value of a list header, over commas and lines."""
        if name not in LISTS:
            return self.lines(name)
        return [part for value in self.lines(name) for part in split_list(value)]

    @property
    def call_id(self) -> str:
        return self.first("call-id")

    @property
    def cseq(self) -> int:
        return int(self.first("cseq").split()[0])

    @property
    def branch(self) -> str:
        return param(self.all("via")[0], "branch") or ""

    @property
    def from_tag(self) -> str:
        return param(self.first("from"), "tag") or ""

    @property
    def to_tag(self) -> str:
        return param(self.first("to"), "tag") or ""

    @property
    def title(self) -> str:
        """What a ladder shows."""
        return f"{self.status} {self.reason} ({self.method})" if self.status else f"{self.method} {self.uri}"

    def __repr__(self) -> str:
        return f"<{self.title}>"


def _fields(lines: list[str]) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for line in lines:
        if line[:1] in (" ", "\t"):
            name, value = found.pop()
            found.append((name, f"{value} {line.strip()}"))
        else:
            name, colon, value = line.partition(":")
            if not colon:
                raise ValueError(f"not a header field: {line!r}")
            name = name.strip().lower()
            found.append((COMPACT.get(name, name), value.strip()))
    return found


def split_list(value: str) -> list[str]:
    """The values between commas that are in no quotes and no angle brackets."""
    if "," not in value:
        return [value.strip()]
    parts, depth, quoted, start, i = [], 0, False, 0, 0
    while i < len(value):
        char = value[i]
        if quoted:
            if char == "\\":
                i += 1
            elif char == '"':
                quoted = False
        elif char == '"':
            quoted = True
        elif char == "<":
            depth += 1
        elif char == ">":
            depth -= 1
        elif char == "," and depth == 0:
            parts.append(value[start:i].strip())
            start = i + 1
        i += 1
    parts.append(value[start:].strip())
    return parts


def uri_of(value: str) -> str:
    """The URI of a name-addr or addr-spec."""
    if "<" in value:
        return value.partition("<")[2].partition(">")[0]
    return value.partition(";")[0].strip()


def param(value: str, name: str) -> str | None:
    """A header parameter (not one inside angle brackets); "" where it has no value, None where it is not there."""
    tail = value.rpartition(">")[2]
    for item in tail.split(";")[1:]:
        key, _, text = item.partition("=")
        if key.strip().lower() == name:
            return text.strip()
    return None


def uri_param(uri: str, name: str) -> str | None:
    """A URI's own parameter."""
    return param(uri.partition("?")[0], name)


def host_port(text: str) -> Address:
    """Host and port of a URI or of host[:port]; the port is 5060 where none is written."""
    if ":" in text and text.partition(":")[0].lower() in ("sip", "sips"):
        text = text.partition(":")[2]
    text = text.partition("?")[0].partition(";")[0].rpartition("@")[2]
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        return host, int(rest[1:] or 5060)
    host, _, port = text.partition(":")
    return host, int(port or 5060)


def literal(address: Address) -> str:
    """host:port as a URI or a Via writes it."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _join(start: str, headers: Iterable[tuple[str, str]], body: bytes) -> bytes:
    lines = [start, *(f"{name}: {value}" for name, value in headers), f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode("utf-8", "surrogateescape") + body


def request(method: str, uri: str, headers: Headers, body: bytes = b"") -> bytes:
    """A request; Content-Length is added."""
    return _join(f"{method} {uri} SIP/2.0", headers, body)


def response(
    to: Sip, status: int, *, source: Address | None = None, tag: str = "", headers: Headers = (),
    reason: str | None = None, body: bytes = b"",
) -> bytes:  # fmt: skip
    """RFC 3261 §8.2.6.2; `source` is where the request came from: received and rport are filled in (RFC 3581 §4)."""
    vias = to.all("via")
    if source is not None:
        vias[0] = _note_received(vias[0], source)
    target = to.first("to")
    if tag and not param(target, "tag"):
        target += f";tag={tag}"
    copied = [("Via", via) for via in vias]
    if status > 100 and to.method == "INVITE":
        copied += [("Record-Route", value) for value in to.all("record-route")]
    copied += [("From", to.first("from")), ("To", target), ("Call-ID", to.call_id), ("CSeq", to.first("cseq"))]
    phrase = reason if reason is not None else REASONS.get(status, "Unknown")
    return _join(f"SIP/2.0 {status} {phrase}", [*copied, *headers], body)


def _note_received(via: str, source: Address) -> str:
    sent_by = via.partition(" ")[2].partition(";")[0].strip()
    if param(via, "rport") == "":
        via = via.replace(";rport", f";rport={source[1]}", 1)
        return f"{via};received={source[0]}"
    return via if host_port(sent_by)[0] == source[0] else f"{via};received={source[0]}"


def is_probe(message: Sip) -> bool:
    """Whether it is the OPTIONS of a server's own to a user who has registered."""
    return message.method == "OPTIONS" and "@" not in uri_of(message.first("from")) and "@" in uri_of(message.first("to"))


def return_address(answer: Sip) -> Address:
    """Where a response goes by its topmost Via: RFC 3261 §18.2.2, RFC 3581 §4."""
    via = answer.all("via")[0]
    host, port = host_port(via.partition(" ")[2].partition(";")[0].strip())
    return param(via, "received") or host, int(param(via, "rport") or port)
