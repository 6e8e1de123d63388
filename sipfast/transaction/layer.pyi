"""Typed face of the compiled transaction layer: RFC 3261 §17, RFC 6026. All times are milliseconds since the epoch."""

from typing import Final

from .. import config
from .._flow import Flow, Sink
from .._parser import Message
from .._wheel import Wheel
from ..trust.proven import Proven
from .client import ClientTransaction, ResponseHandler
from .server import ServerTransaction
from .transaction import Surroundings

NEW: Final[int]
ABSORBED: Final[int]
MERGED: Final[int]
UNMATCHED: Final[int]
FULL: Final[int]

class TransactionLayer(Surroundings):
    """All transactions of one worker.

    `proven` says who has given back a secret of ours, and is of this layer alone where none is given.
    `secret` has up to 128 bits; the branches made with it are recognised by every process that has it. `worker` is 0 to
    255. Raises ValueError for another.
    """

    unreachable: int
    most_servers: int
    most_held: int
    def __init__(
        self,
        timers: config.Timers,
        wheel: Wheel,
        sink: Sink,
        secret: int,
        worker: int = 0,
        proven: Proven | None = None,
    ) -> None: ...
    def configure(self, timers: config.Timers) -> None:
        """Take other settings; timers that run go on as they were set."""
    def limit(self, limits: config.Limits) -> int:
        """Take no more than that at once."""
    def take_request(self, message: Message, flow: Flow, now: int) -> tuple[int, ServerTransaction | None]:
        """NEW with its transaction, or ABSORBED, MERGED, UNMATCHED or FULL. Responses go to `flow`."""
    def take_response(self, message: Message, flow: Flow, now: int) -> bool:
        """Whether a client transaction took it."""
    def branch(self, loop: int = 0) -> bytes:
        """A branch for a request about to be sent; `loop` is 32 bits of RFC 3261 §16.6 step 8."""
    def release_branch(self, branch: bytes) -> bool:
        """Give a branch back that will not be used; False where it is not reserved."""
    def send_request(
        self, data: bytes, branch: bytes, flow: Flow, handler: ResponseHandler | None, now: int
    ) -> ClientTransaction:
        """Start a client transaction; `data` carries `branch` in its topmost Via.

        Raises ValueError for a branch that is not reserved.
        """
    def close(self) -> int:
        """End every transaction without telling anybody."""
    def counters(self) -> dict[str, int]:
        """What was counted since the start, by name."""
