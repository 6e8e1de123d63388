"""Every error that sipfast raises, as one small tree.

Local misuse and trouble of the machine are exceptions; a remote's malformed message is not: inside the core it is a
status and an offset on the message, and only the engine turns it into a response.
"""

from __future__ import annotations

from collections.abc import Collection


class SipFastError(Exception):
    """The root of all errors raised by sipfast."""


class ParseError(SipFastError):
    """A SIP message or URI that the grammar of RFC 3261 §25 does not allow.

    `status` is the response code to answer with, `offset` the byte at which the parser gave up.
    """

    def __init__(self, status: int, offset: int, reason: str = "") -> None:
        super().__init__(f"{reason or 'malformed message'} at byte {offset} (answer {status})")
        self.status = status
        self.offset = offset
        self.reason = reason


class TransportError(SipFastError):
    """A socket that cannot be opened, bound or written."""


class StoreError(SipFastError):
    """The store failed; nothing that depended on the failed operation was answered."""


class StoreUnavailable(StoreError):
    """The store cannot be reached or written now: no space, no permission, not there."""


class StoreConflict(StoreError):
    """Somebody else has changed what a batch was decided upon, so that not all of it was kept.

    `units` are those of its units (store/tables.pyx) of which nothing was kept; None: of all.
    """

    def __init__(self, reason: str, units: Collection[int] | None = None) -> None:
        super().__init__(reason)
        self.units = units


class StoreCorrupt(StoreError):
    """What is stored cannot be read: not ours, damaged, or of a newer version."""


class StoreUnreadable(StoreCorrupt):
    """One record of the store cannot be read; nothing else is the worse for it.

    `record` is what was read, b"" where it is a page that cannot be.
    """

    def __init__(self, reason: str, record: bytes = b"") -> None:
        super().__init__(reason)
        self.record = record


class ConfigError(SipFastError):
    """A wrong key, type or range in the configuration or on the command line.

    `key` is the dotted key where whoever raises it does not know whether a flag or a file has set it; else "".
    """

    def __init__(self, reason: str, key: str = "") -> None:
        super().__init__(f"{key}: {reason}" if key else reason)
        self.reason = reason
        self.key = key
