"""Typed face of the compiled module `token`: flow tokens (RFC 5626 §5)."""

from collections.abc import Sequence
from typing import final

from .._flow import Flow
from .._listener import Listener

@final
class Tokens:
    """Makes and reads the tokens of one server: all of its workers, before and after a restart."""

    def __init__(self, secret: bytes, listeners: Sequence[Listener]) -> None:
        """`secret`: 16 bytes that nobody else knows. ValueError for another length."""
    def make(self, kind: int, first: Flow, second: Flow | None = None, digest: int = 0) -> bytes | None:
        """A token for one flow or, of kind 4, for two of one listener; None where it would be too long.

        Kinds: 1 the flow of a REGISTER, 2 of the side that made the dialog, 3 of the other one, 4 both.
        """
    def parse(self, user: bytes) -> tuple[int, int, Flow | None, Flow | None] | None:
        """Kind, digest and flows of a token; None for what is none. A flow is None where no listener is left for it."""
    def digest(self, aor: bytes) -> int:
        """What a token of kind 1 carries of its AOR."""
