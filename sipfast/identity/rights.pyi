"""Typed face of the compiled module `rights`: whom a callee lets watch for him."""

from collections.abc import Iterable
from typing import final

@final
class Rights:
    """Whether anybody may watch; who may, AORs and b"@DOMAIN" for all of one, or anybody; whether anonymous callers may."""

    watch: bool
    watchers: frozenset[bytes]
    anonymous: bool
    def __init__(self, watch: bool = True, watchers: Iterable[bytes] = (), anonymous: bool = True) -> None: ...
