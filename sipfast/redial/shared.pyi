"""Typed face of the compiled redial of several workers. Driven by the engine; all times are ms."""

from collections.abc import Callable

import msgspec

from .. import config
from .._wheel import Wheel
from ..observe.events import Events
from ..routing.location import Location
from ..store.repository import Store
from .answers import Recent
from .redial import Redial
from .refer import Referrer

LOOK: int
BOUND: int
STARTED: int
FAILED: int
GONE: int
ANSWERED: int
TALK: int
ENDED: int
HELLO: int
AWAITED: int
UNCONFIRMED: int
REACH_BACK: int
COMMIT_AGAIN: int
EARLY_ENDS: int

class Notice(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What one worker tells another."""

    kind: int
    sender: int
    callee: bytes = b""
    caller: bytes = b""
    call_id: bytes = b""
    status: int = 0
    since: int = 0

def _encode(notice: Notice) -> bytes: ...
def _decode(data: bytes) -> Notice: ...

class SharedRedial(Redial):
    """Redial in worker `worker` of `workers`. `post(worker, notice)` leaves with the engine's next commit.

    `resumed`: it takes the place of a worker that died, while the others went on.
    """

    _ended: Recent
    _acknowledged: Recent
    def __init__(
        self,
        settings: config.Redial,
        store: Store,
        wheel: Wheel,
        location: Location,
        referrer: Referrer,
        patience: int = 32_000,
        *,
        worker: int,
        workers: int,
        post: Callable[[int, bytes], None],
        resumed: bool = False,
        events: Events | None = None,
    ) -> None: ...
    def owner(self, callee: bytes) -> int:
        """The worker that a callee belongs to."""
    def home(self, call_id: bytes) -> int:
        """The worker that has made a REFER with this Call-ID; -1 where none has."""
    def told(self, data: bytes, now: int) -> None:
        """Take a notice."""
