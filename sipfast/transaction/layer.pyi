"""Typed face of the compiled transaction layer: RFC 3261 §17, RFC 6026. All times are milliseconds since the epoch."""

from typing import Final, final

from .. import config
from .._flow import Flow, Sink
from .._parser import Message
from .._wheel import Timed, Wheel
from ..trust.proven import Proven

NEW: Final[int]
ABSORBED: Final[int]
MERGED: Final[int]
UNMATCHED: Final[int]
UNREACHABLE: Final[int]
"""What `on_failure` is told in the place of a status where the request could not be delivered; no status code."""

def live_objects() -> int:
    """Transactions that exist in this process, whoever still holds them."""

class Guide:
    """Tells where phones have moved to, for compiled modules."""

class Handler:
    """The transaction user: subclass it and override what matters. Every method returns 0."""

    def on_response(self, transaction: ClientTransaction, response: Message, now: int) -> int:
        """Each 1xx, the first final response, and every 2xx to an INVITE."""
    def on_failure(self, transaction: ClientTransaction, status: int, now: int) -> int:
        """No final response will come: 408 after a timeout, UNREACHABLE after a transport error."""
    def on_cancel(self, transaction: ServerTransaction, cancel: Message, now: int) -> int:
        """A CANCEL came before a final response was given; it has been answered 200."""
    def on_gone(self, transaction: ServerTransaction, now: int) -> int:
        """The server transaction is over."""
    def on_fault(self, now: int) -> int:
        """One of these has raised: end what was begun, and answer what is to be answered. The exception goes on up."""

class Transaction(Timed):
    """What client and server transactions have in common."""

    state: int
    flow: Flow | None
    @property
    def timed_out(self) -> bool: ...
    handler: Handler | None
    @property
    def state_name(self) -> str: ...

@final
class ServerTransaction(Transaction):
    """Answers one request (RFC 3261 §17.2)."""

    request: Message | None
    @property
    def to_tag(self) -> bytes | None: ...
    def respond(self, response: bytes, status: int, now: int) -> int:
        """Send a response on; 1 where it was sent, 0 where the state machine does not allow it."""
    def retract(self, response: bytes, status: int, now: int) -> int:
        """The last final response never left: forget it and give this one instead."""

@final
class ClientTransaction(Transaction):
    """Sends one request (RFC 3261 §17.1)."""

    provisional: int
    @property
    def request(self) -> Message | None:
        """The request as sent; None once its final response has been dealt with."""
    def cancel(self, now: int, why: bytes = b"") -> int:
        """CANCEL an INVITE (RFC 3261 §9.1): at once, or when a provisional response has come; `why`: Reason lines."""
    def hush(self) -> None:
        """Send it no more, and wait for what still comes."""
    def abandon(self) -> int:
        """Send it no more, and tell nobody: whatever still comes for it is stray."""

class TransactionLayer:
    """All transactions of one worker.

    `proven` says who has given back a secret of ours, and is of this layer alone where none is given.
    `secret` has up to 128 bits; the branches made with it are recognised by every process that has it. `worker` is 0 to
    255. Raises ValueError for another.
    """

    created: ServerTransaction | None
    wheel: Wheel
    servers: int
    clients: int
    retransmissions_received: int
    retransmissions_sent: int
    timeouts: int
    stray_responses: int
    withheld: int
    proven: Proven
    merged: int
    transport_errors: int
    unreachable: int
    def __init__(
        self,
        timers: config.Timers,
        wheel: Wheel,
        sink: Sink,
        secret: int,
        worker: int = 0,
        proven: Proven | None = None,
    ) -> None: ...
    def take_request(self, message: Message, flow: Flow, now: int) -> tuple[int, ServerTransaction | None]:
        """NEW with its transaction, or ABSORBED, MERGED or UNMATCHED. Responses go to `flow`."""
    def take_response(self, message: Message, flow: Flow, now: int) -> bool:
        """Whether a client transaction took it."""
    def take_undelivered(self, data: bytes, flow: Flow, now: int) -> bool:
        """RFC 3261 §18.4: `data`, which may be cut, could not be delivered by `flow`.

        Whether a client transaction that waits for a response has sent it, and there; that is over then, and its user has
        heard so. An error that quotes another branch, or names another flow, is somebody's invention.
        """
    def sent_by_worker(self, data: bytes) -> int | None:
        """The number of the worker that has sent what an error quotes; None where that shows no branch of ours."""
    def branch(self, loop: int = 0) -> bytes:
        """A branch for a request about to be sent; `loop` is 32 bits of RFC 3261 §16.6 step 8."""
    def release_branch(self, branch: bytes) -> bool:
        """Give a branch back that will not be used; False where it is not reserved."""
    def send_request(
        self, data: bytes, branch: bytes, flow: Flow, handler: Handler | None, now: int
    ) -> ClientTransaction:
        """Start a client transaction; `data` carries `branch` in its topmost Via.

        Raises ValueError for a branch that is not reserved.
        """
    def owns(self, branch: bytes) -> int | None:
        """The loop value of a branch that was made with our secret, None for any other."""
    def worker_that_made(self, branch: bytes) -> int | None:
        """The number of the worker that made a branch of ours, None for any other."""
    def settle(self) -> int:
        """All responses so far were committed: let finished server transactions shrink."""
    def close(self) -> int:
        """End every transaction without telling anybody."""
    def counters(self) -> dict[str, int]:
        """What was counted since the start, by name."""
