from typing import final

from .._wheel import Timed, Wheel
from ..config import Redial as Settings
from ..store.repository import Store

@final
class PhoneMemory(Timed):
    """What phones did when they were recalled. All times are ms."""

    def __init__(self, settings: Settings, store: Store, wheel: Wheel) -> None: ...
    def configure(self, settings: Settings) -> None:
        """Take other settings while running."""

    def begin(self, now: int) -> None:
        """Load what the store holds, and from then on keep up with what others write there."""

    def of_device(self, contact: bytes, instance: bytes, now: int) -> dict[str, bool] | None:
        """What the device did: method -> whether it worked. None where nothing is remembered."""

    def of_agent(self, agent: bytes, now: int) -> dict[str, bool] | None:
        """What phones of this User-Agent did, in the same way."""

    def note(self, contact: bytes, instance: bytes, agent: bytes, method: str, worked: bool, now: int) -> int:
        """Remember what came of a method; written with the batch. Does not write what is known. May raise StoreError."""
