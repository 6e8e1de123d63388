"""Typed face of the compiled stateful proxy (RFC 3261 §16). Only the engine drives it."""

from ._flow import Flow
from ._parser import Message
from ._transaction import Handler, ServerTransaction
from ._wheel import Timed

def live_contexts() -> int:
    """Response contexts alive in this process, for tests."""

class ResponseContext(Handler):
    """What gathers the responses of all branches of one request (RFC 3261 §16.7)."""

    server: ServerTransaction
    request: Message
    flow: Flow
    best_status: int
    final_sent: bool
    from_upstream: bool
    caller: bytes | None
    callee: bytes | None

class Proxy(Timed):
    """Forwards requests and gathers their responses."""

    forwarded: int
    looped: int
