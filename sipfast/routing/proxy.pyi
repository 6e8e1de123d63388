"""Typed face of the compiled stateful proxy (RFC 3261 §16). Only the engine drives it."""

from typing import final

from .._flow import Flow
from .._parser import Message
from .._wheel import Timed
from ..transaction.server import ServerTransaction
from .upstream import Group, Waiter

def live_contexts() -> int:
    """Response contexts alive in this process, for tests."""

@final
class ResponseContext(Waiter):
    """What gathers the responses of all branches of one request (RFC 3261 §16.7)."""

    server: ServerTransaction
    request: Message
    flow: Flow
    best_status: int
    final_sent: bool
    group: Group | None
    caller: bytes | None
    callee: bytes | None

@final
class Proxy(Timed):
    """Forwards requests and gathers their responses."""

    forwarded: int
    looped: int
