"""Typed face of the compiled registrar (RFC 3261 §10.3)."""

from typing import final

from .. import config
from .._flow import Flow
from .._parser import Message
from ..store.records import Move
from ..trust.proven import Proven
from .location import Location

@final
class Registrar:
    """Answers REGISTER and keeps the bindings in the store."""

    newly_bound: bool
    moves: list[Move]
    def __init__(
        self,
        settings: config.Registrar,
        location: Location,
        secret: int,
        longest_call: int = 7_200_000,
        proven: Proven | None = None,
    ) -> None:
        """`longest_call`: ms that a phone's move to another flow is kept for the calls that it is in."""
    def configure(self, settings: config.Registrar) -> None:
        """Take other settings; what is bound stays as it is."""
    def answer(self, request: Message, flow: Flow, aor: bytes, now: int) -> bytes:
        """The response to a REGISTER for `aor`; the caller commits the store before it sends it."""
