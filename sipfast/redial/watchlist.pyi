from .. import config
from .._wheel import Timed, Wheel
from ..observe.events import Events
from ..store.codec import StoredWatch
from ..store.records import Talk
from ..store.repository import Store

Pair = tuple[bytes, bytes]  # callee, caller

class Watchlist(Timed):
    """The watch list, as redial reads and writes it. What begins with an underscore is for `shared`."""

    _settings: config.Redial
    _store: Store
    _wheel: Wheel
    _touched: dict[Pair, StoredWatch | None]
    _lost: dict[Pair, StoredWatch | None]
    def __init__(self, settings: config.Redial, store: Store, wheel: Wheel, events: Events | None = None) -> None: ...
    def _watch(self, pair: Pair) -> StoredWatch | None:
        """The pair's watch, as it is or is to be written again."""

    def _watches(self, callee: bytes) -> list[StoredWatch]:
        """The callee's watches, the oldest first."""

    def _is_watched(self, pair: Pair) -> bool:
        """Whether the pair has a watch."""

    def _owns(self, callee: bytes) -> bool:
        """Whether the timers and recalls of a callee's watches are held here."""

    def _may_arm(self, caller: bytes, callee: bytes) -> bool:
        """Whether the limits leave room for one more watch."""

    def _put(self, pair: Pair, watch: StoredWatch, new: bool = True) -> None: ...
    def _remove(self, pair: Pair, reason: str, answer: str = "", result: str = "") -> bool: ...
    def _keep_talk(self, callee: bytes, talk: Talk | None) -> None: ...
    def _write_again(self, now: int) -> None:
        """Write what has happened, and was lost with a batch."""

    def _time(self, pair: Pair, expires_at: int) -> None: ...
    def _untime(self, pair: Pair) -> None: ...
