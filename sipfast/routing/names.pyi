"""Typed face of the compiled module `names`: see names.pyx. For compiled modules only."""

from collections.abc import Callable
from typing import final

from .._wheel import Timed, Wheel

class Waiting: ...

@final
class Question: ...

@final
class Names(Timed):
    def __init__(
        self, wheel: Wheel, addresses: dict[bytes, str | None], resolver: Callable[[int, bytes], object] | None = None
    ) -> None: ...
