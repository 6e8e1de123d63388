"""Typed face of the compiled module `peers`."""

from collections.abc import Iterable
from typing import final

from .._flow import Flow
from ..config import Peer

@final
class Peers:
    """What each configured peer may do, by its address."""

    def __init__(self, peers: Iterable[Peer], upstreams: Iterable[str] = ()) -> None:
        """`upstreams`: addresses of servers behind this one, which have all rights."""
    def rights(self, flow: Flow) -> frozenset[str]:
        """The rights of whoever sends by a flow: "relay", "path", "refer", "identity"."""
