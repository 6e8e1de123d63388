"""Typed face of the compiled registrar (RFC 3261 §10.3)."""

from . import config
from ._flow import Flow
from ._parser import Message
from .location import Location

class Registrar:
    """Answers REGISTER and keeps the bindings in the store."""

    newly_bound: bool
    def __init__(self, settings: config.Registrar, location: Location, secret: int) -> None: ...
    def answer(self, request: Message, flow: Flow, aor: bytes, now: int) -> bytes:
        """The response to a REGISTER for `aor`; the caller commits the store before it sends it."""
    def learn_from(self, request: Message, response: Message, flow: Flow, aor: bytes, now: int) -> None:
        """Store what an upstream registrar's 200 to `request` lists."""
