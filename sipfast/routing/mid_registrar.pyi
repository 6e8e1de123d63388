"""Typed face of the compiled module `mid_registrar`: a flow token in the place of a phone's Contact, for registrars behind
us that know no Path."""

from typing import final

from .location import Location
from .outbound import Outbound

@final
class MidRegistrar:
    """Hides phones' Contacts from a registrar behind us, and finds the phones again by the tokens that stand for them."""

    def __init__(self, location: Location, outbound: Outbound) -> None: ...
