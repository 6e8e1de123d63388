"""Typed face of the compiled response contexts (RFC 3261 §16.7). Only the proxy and the engine drive them."""

from typing import final

from .._wheel import Timed
from .upstream import Waiter

def live_contexts() -> int:
    """Response contexts alive in this process, for tests."""

@final
class ResponseContext(Waiter):
    """What gathers the responses of all branches of one request (RFC 3261 §16.7)."""

class Forwarder(Timed):
    """The proxy as its response contexts see it."""

class CallObserver:
    """What the proxy tells of, for compiled modules."""
