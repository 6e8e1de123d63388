"""Typed face of the compiled module `offers`: what a 480 says of a watch, until its ACK comes. For compiled modules only."""

from typing import final

from ..transaction.transaction import Witness

@final
class Offer: ...

@final
class Offers(Witness): ...
