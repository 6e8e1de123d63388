"""Typed face of the compiled module `transaction`: what client and server transactions have in common."""

from .._flow import Flow
from .._wheel import Timed, Wheel
from ..trust.proven import Proven

def live_objects() -> int:
    """Transactions that exist in this process, whoever still holds them."""

class Guide:
    """Tells where phones have moved to, for compiled modules."""

class Witness(Timed):
    """Who is to know whether a final response was acknowledged, for compiled modules."""

class Surroundings:
    """The layer as its transactions see it."""

    wheel: Wheel
    proven: Proven
    servers: int
    clients: int
    held: int
    def shrink_finished(self) -> int:
        """All responses so far were committed: let finished server transactions shrink."""

class Transaction(Timed):
    """What client and server transactions have in common."""

    state: int
    flow: Flow | None
    @property
    def timed_out(self) -> bool: ...
    @property
    def state_name(self) -> str: ...
