"""Typed face of the compiled location service."""

from collections.abc import Mapping, Sequence
from typing import final

from .._flow import Flow
from ..store.repository import Store
from ..trust.peers import Peers

@final
class Location:
    """Where an AOR's phones are."""

    store: Store
    def __init__(
        self, store: Store, families: Sequence[int], hosts: Mapping[str, str] | None = None, peers: Peers | None = None
    ) -> None: ...
    def resolve(self, uri: bytes) -> Flow | None:
        """The flow to a URI's host; None for a name that is not known here."""
