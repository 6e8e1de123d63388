"""Typed face of the compiled module `claims`."""

from collections.abc import Iterable
from typing import final

from ..trust.peers import Peers

@final
class Claims:
    """What goes on of what a message says of its sender. `realms`: whose credentials end here."""

    def __init__(self, peers: Peers, realms: Iterable[bytes] = ()) -> None: ...
