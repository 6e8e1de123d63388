"""Typed face of the compiled location service."""

from collections.abc import Mapping, Sequence
from typing import final

from .._flow import Flow
from .._parser import Message
from ..store.protocol import Store
from ..store.records import Binding
from ..trust.peers import Peers

@final
class Location:
    """Where an AOR's phones are."""

    store: Store
    def __init__(
        self, store: Store, families: Sequence[int], hosts: Mapping[str, str] | None = None, peers: Peers | None = None
    ) -> None: ...
    def live(self, aor: bytes, now: int) -> list[Binding]:
        """Bindings that have not expired, highest q first, then the latest."""
    def flow_for(self, binding: Binding) -> Flow | None:
        """Where a request for the binding goes next; None where that cannot be resolved."""
    def way_of(self, request: Message, came: Flow, contact: bytes) -> Flow | None:
        """The flow to store with the one Contact of a REGISTER that came by a flow."""
    def resolve(self, uri: bytes) -> Flow | None:
        """The flow to a URI's host; None for a name that is not known here."""
