"""Typed face of the compiled module `learning`: what an upstream's registrar teaches."""

from typing import final

from .. import config
from ..trust.proven import Proven
from .location import Location

@final
class Learning:
    """Keeps the bindings that a registrar behind us has granted in the store."""

    newly_bound: bool
    def __init__(
        self, settings: config.Registrar, location: Location, longest_call: int = 7_200_000, proven: Proven | None = None
    ) -> None:
        """`longest_call`: ms that a phone's move to another flow is kept for the calls that it is in."""
    def configure(self, settings: config.Registrar) -> None:
        """Take other settings."""
