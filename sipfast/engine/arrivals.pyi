"""Typed face of the compiled module `arrivals`: messages that wait for what they are about. For compiled modules only."""

from typing import final

@final
class Arrival: ...

@final
class Group:
    """Messages of one batch. A store that was asked for what they are about gives it back."""

@final
class Arrivals:
    def __init__(self, store: object) -> None: ...
