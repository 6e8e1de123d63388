"""Typed face of the compiled module `token`: flow tokens (RFC 5626 §5)."""

from collections.abc import Sequence
from typing import final

from .._listener import Listener

@final
class Tokens:
    """Makes and reads the tokens of one server: all of its workers, before and after a restart."""

    def __init__(self, secret: bytes, listeners: Sequence[Listener]) -> None:
        """`secret`: 16 bytes that nobody else knows. ValueError for another length."""
