"""Typed face of the compiled redial: the watch list and the recalls. Driven by the engine; all times are ms.

What begins with an underscore is for redial_shared, which inherits from it.
"""

from typing import Protocol

from . import config
from ._flow import Flow
from ._parser import Message
from ._transaction import ClientTransaction, Handler
from ._wheel import Timed, Wheel
from .location import Location
from .records import Binding, Talk, Watch
from .store.protocol import Store

EXPIRE: int
GUARD: int
RETRY: int
RECALL: int
TALK: int
FORGET: int
RESUME: int
REWRITE: int
FORGET_AFTER: int
REWRITE_AFTER: int
RESUME_EVERY: int

Pair = tuple[bytes, bytes]  # callee, caller

class Originator(Protocol):
    """What redial needs of the engine to send its REFER."""

    def contact(self, flow: Flow) -> bytes:
        """The Contact value of this server towards a flow."""
        ...

    def start(
        self, method: str, uri: bytes, headers: list[tuple[str, bytes]], flow: Flow, handler: Handler, now: int
    ) -> ClientTransaction:
        """Send a request in a client transaction of its own."""
        ...

class Recall(Handler):
    """A recall that is going on, from its claim until the call is answered or has come to nothing."""

    redial: Redial
    pair: Pair
    refer_call_id: bytes
    call_id: bytes
    timer: int
    refer: ClientTransaction | None
    over: bool
    worker: int
    waited: bool
    def __init__(self, redial: Redial, watch: Watch) -> None: ...
    def on_response(self, transaction: ClientTransaction, response: Message, now: int) -> int:
        """A response to the REFER."""

    def on_failure(self, transaction: ClientTransaction, status: int, now: int) -> int:
        """The REFER was never answered, or could not be sent."""

class Redial(Timed):
    """Arms, claims, expires and cancels watches, and recalls callers."""

    _settings: config.Redial
    _store: Store
    _wheel: Wheel
    _location: Location
    _originator: Originator
    _serial: bool
    _guard: int
    _retry: int
    _refer_timeout: int
    _recall_timeout: int
    _expiries: dict[Pair, int]
    _recalls: dict[Pair, Recall]
    _taken: dict[bytes, Pair | bytes]
    _refers: dict[bytes, Pair]
    _talks: dict[bytes, bytes]
    _pauses: dict[bytes, int]
    _claimed: list[Recall]
    _touched: dict[Pair, Watch | None]
    _talked: dict[bytes, Talk | None]
    _lost: dict[Pair, Watch | None]
    _lost_talks: dict[bytes, Talk | None]
    _rewrite: int
    _armed: set[Pair]
    _counts: dict[str, int]
    def __init__(
        self, settings: config.Redial, store: Store, wheel: Wheel, location: Location, originator: Originator
    ) -> None: ...
    def start(self, now: int) -> None:
        """Take up what the store holds: run timers on, drop what ran out, resume recalls that were in flight."""

    def committed(self, now: int) -> bool:
        """The store has committed: the REFERs of the claims in it may leave. True: there is more to commit."""

    def rolled_back(self, now: int) -> None:
        """The writes since the last commit are lost: undo what was only promised, write again what has happened."""

    def _write_again(self, now: int) -> None: ...
    def _take_back(self, pair: Pair, now: int) -> None: ...
    def counters(self) -> dict[str, int]:
        """Watches and recalls, counted since the start."""

    def unavailable(
        self, request: Message, flow: Flow, caller: bytes, callee: bytes, allowed: bool, now: int
    ) -> tuple[bytes | None, bytes] | None:
        """An INVITE found the callee unbound. Returns reason and header lines of its 480; None: a plain one."""

    def _arm(self, request: Message, flow: Flow, pair: Pair, expires_at: int, now: int) -> Watch | None: ...
    def cancel(self, caller: bytes, callee: bytes, now: int) -> bool:
        """The caller no longer wants to be recalled. Whether there was a watch."""

    def callee_bound(self, callee: bytes, now: int) -> None:
        """An AOR went from unbound to bound, and its 200 is on its way."""

    def _bound(self, callee: bytes, now: int) -> None: ...
    def call_started(self, caller: bytes, callee: bytes, call_id: bytes, now: int) -> None:
        """An INVITE from caller to callee is being proxied."""

    def is_recalling(self, caller: bytes, callee: bytes) -> bool:
        """Whether a recall of the pair is going on."""

    def call_answered(self, caller: bytes, callee: bytes, call_id: bytes, now: int) -> None:
        """An INVITE was answered: the two talk, whoever called."""

    def _answered(self, pair: Pair, call_id: bytes, now: int) -> None: ...
    def _keeps_others_waiting(self, pair: Pair) -> bool: ...
    def _talk(self, pair: Pair, call_id: bytes, now: int) -> None: ...
    def call_failed(self, caller: bytes, callee: bytes, call_id: bytes, status: int, now: int) -> None:
        """An INVITE got a final response other than 2xx."""

    def call_ended(self, call_id: bytes, now: int) -> None:
        """A call is over: its BYE was answered. If a recall brought it about, the callee's next watch is due."""

    def notify(self, request: Message, now: int) -> int:
        """A NOTIFY for the server itself: the status to answer with. It belongs to a REFER of ours or to nothing."""

    def _recall(self, callee: bytes, now: int) -> None: ...
    def _claim_due(self, callee: bytes, serial: bool, now: int) -> None: ...
    def _claim(self, watch: Watch, now: int) -> bool: ...
    def _adopt(self, watch: Watch, now: int) -> Recall: ...
    def _refer(self, recall: Recall, watch: Watch, now: int) -> None: ...
    def refer_answered(self, recall: Recall, status: int, reason: str, now: int) -> None:
        """The REFER got a final response."""

    def _come_to_nothing(self, recall: Recall, result: str, now: int) -> None: ...
    def _target(self, watch: Watch, now: int) -> tuple[bytes, bytes, Flow | None]: ...
    def _binding_of(self, caller: bytes, contact: bytes, instance: bytes, now: int) -> Binding | None: ...
    def expired(self, kind: int, payload: object, now: int) -> int:
        """A timer of ours ran out."""

    def _expire(self, pair: Pair, now: int) -> None: ...
    def _resume(self, pair: Pair, now: int) -> None: ...
    def _time(self, watch: Watch) -> None: ...
    def _untime(self, pair: Pair) -> None: ...
    def _late(self, recall: Recall, when: int) -> None: ...
    def _stop(self, recall: Recall) -> None: ...
    def _pause(self, callee: bytes, when: int, kind: int, now: int) -> None: ...
    def _watch(self, callee: bytes, caller: bytes) -> Watch | None: ...
    def _watches(self, callee: bytes) -> list[Watch]: ...
    def _owns(self, callee: bytes) -> bool: ...
    def _new_call_id(self) -> bytes: ...
    def _put(self, watch: Watch) -> None: ...
    def _remove(self, pair: Pair, reason: str) -> bool: ...
    def _wrote(self, callee: bytes, caller: bytes, watch: Watch | None) -> None: ...
    def _keep_talk(self, callee: bytes, talk: Talk | None) -> None: ...
    def _release(self, recall: Recall) -> None: ...
    def _hold(self, talk: Talk, now: int) -> None: ...
    def _know(self, talk: Talk, now: int) -> None: ...
def expires_of(request: Message) -> int | None:
    """The INVITE's Expires in seconds; None where it is absent or malformed."""

def offer(watch: Watch, now: int) -> tuple[bytes, bytes]:
    """Reason phrase and header lines of a 480 whose caller will be recalled (RFC 6910 §7.1 for Call-Info)."""
