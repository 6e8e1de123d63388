"""Typed face of the compiled redial: the watch list and the recalls. Driven by the engine; all times are ms.

What begins with an underscore is for `shared`, which inherits from it.
"""

from .. import config
from .._flow import Flow
from .._parser import Message
from .._wheel import Wheel
from ..observe.events import Events
from ..routing.location import Location
from ..store.codec import StoredWatch
from ..store.records import Talk
from ..store.repository import Store
from ..transaction.client import ClientTransaction
from ..transaction.server import Handler
from .refer import Referrer
from .watchlist import Pair as Pair
from .watchlist import Watchlist

Tags = tuple[bytes, bytes]  # of the dialog: of the caller's side and of the callee's

GUARD: int
RETRY: int
RECALL: int
TALK: int
FORGET: int
RESUME: int
NO_ACK: int
DOUBT: int
NO_TAGS: Tags
FORGET_AFTER: int
RESUME_EVERY: int
SAID_AGAIN: int
CALLED_AGAIN: int

class Recall(Handler):
    """A recall that is going on, from its claim until the call is answered or has come to nothing."""

    pair: Pair
    call_id: bytes
    timer: int
    over: bool
    worker: int
    waited: bool
    def __init__(self, redial: Redial, pair: Pair, refer_call_id: bytes) -> None: ...
    def on_response(self, transaction: ClientTransaction, response: Message, now: int) -> int:
        """A response to the REFER."""

    def on_failure(self, transaction: ClientTransaction, status: int, now: int) -> int:
        """The REFER was never answered, or could not be sent."""

class Question(Handler):
    """Whether a talk goes on, asked of all phones of its caller: no, once each has said that it knows no such dialog."""

    def __init__(self, redial: Redial, call_id: bytes, phones: int) -> None: ...

class Redial(Watchlist):
    """Arms, claims, expires and cancels watches, and recalls callers."""

    _location: Location
    _guard: int
    _recall_timeout: int
    _recalls: dict[Pair, Recall]
    _taken: dict[bytes, Pair | bytes]
    _talks: dict[bytes, bytes]
    _armed: set[Pair]
    _counts: dict[str, int]
    def __init__(
        self,
        settings: config.Redial,
        store: Store,
        wheel: Wheel,
        location: Location,
        referrer: Referrer,
        patience: int = 32_000,
        events: Events | None = None,
    ) -> None:
        """`patience`: 64*T1 in ms, for which an ACK is waited for."""

    def start(self, now: int) -> None:
        """Take up what the store holds: run timers on, drop what ran out, resume recalls that were in flight."""

    def committed(self, now: int) -> bool:
        """The store has committed: the REFERs of the claims in it may leave. True: there is more to commit."""

    def rolled_back(self, now: int) -> None:
        """The writes since the last commit are lost: undo what was only promised, write again what has happened."""

    def _take_back(self, pair: Pair, now: int) -> None: ...
    def counters(self) -> dict[str, int]:
        """Watches and recalls, counted since the start."""

    def unavailable(
        self, request: Message, flow: Flow, caller: bytes, callee: bytes, allowed: bool, now: int
    ) -> tuple[bytes | None, bytes] | None:
        """An INVITE found the callee unbound. Returns reason and header lines of its 480; None: a plain one."""

    def _arm(self, request: Message, flow: Flow, pair: Pair, expires_at: int, now: int) -> StoredWatch | None: ...
    def cancel(self, caller: bytes, callee: bytes, now: int) -> bool:
        """The caller no longer wants to be recalled. Whether there was a watch."""

    def callee_bound(self, callee: bytes, now: int) -> None:
        """An AOR went from unbound to bound, and its 200 is on its way."""

    def _bound(self, callee: bytes, now: int) -> None: ...
    def call_started(self, caller: bytes, callee: bytes, request: Message, now: int) -> None:
        """An INVITE from caller to callee is being proxied."""

    def _calls(self, watch: StoredWatch) -> None:
        """Its caller is calling. Nothing where that is known."""

    def is_recalling(self, caller: bytes, callee: bytes) -> bool:
        """Whether a recall of the pair is going on."""

    def call_answered(self, caller: bytes, callee: bytes, call_id: bytes, now: int) -> None:
        """An INVITE got a 2xx. With the ACK the two talk, whoever called."""

    def _is_known(self, pair: Pair) -> bool: ...
    def _await_ack(self, pair: Pair, call_id: bytes, now: int) -> None: ...
    def call_acknowledged(self, ack: Message, now: int) -> None:
        """An ACK for a 2xx passes: the two talk."""

    def _connected(self, pair: Pair, call_id: bytes, tags: Tags, now: int) -> None: ...
    def _answered(self, pair: Pair, call_id: bytes, tags: Tags, now: int) -> None: ...
    def _keeps_others_waiting(self, pair: Pair) -> bool: ...
    def _talk(self, pair: Pair, call_id: bytes, tags: Tags, now: int) -> None: ...
    def call_failed(self, caller: bytes, callee: bytes, call_id: bytes, status: int, now: int) -> None:
        """An INVITE got a final response other than 2xx."""

    def call_hung_up(self, bye: Message, now: int) -> None:
        """A BYE was answered, or never will be: its call is over."""

    def _unconfirmed(self, pair: Pair, call_id: bytes, now: int) -> None: ...
    def call_ended(self, call_id: bytes, now: int) -> None:
        """A call is over. If a recall brought it about, the callee's next watch is due."""

    def notify(self, request: Message, now: int) -> int:
        """A NOTIFY for the server itself: the status to answer with. It belongs to a REFER of ours or to nothing."""

    def _recall(self, callee: bytes, now: int) -> None: ...
    def _adopt(self, watch: StoredWatch, pair: Pair, now: int) -> Recall: ...
    def _come_to_nothing(self, recall: Recall, result: str, now: int) -> None: ...
    def expired(self, kind: int, payload: object, now: int) -> int:
        """A timer of ours ran out."""

    def _late(self, recall: Recall, when: int) -> None: ...
    def _stop(self, recall: Recall) -> None: ...
    def _pause(self, callee: bytes, when: int, kind: int, now: int) -> None: ...
    def _new_call_id(self) -> bytes: ...
    def _release(self, recall: Recall) -> None: ...
    def _hold(self, talk: Talk, now: int) -> None: ...
    def _know(self, talk: Talk, now: int) -> None: ...
