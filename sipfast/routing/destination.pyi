"""Typed face of the compiled module `destination`: where a request goes. Its methods are for compiled modules."""

from typing import final

from ..trust.peers import Peers
from .location import Location
from .outbound import Outbound
from .router import Router

@final
class Destination:
    """Finds the targets of a request (RFC 3261 §16.5), or says why it does not go on.

    `plain_until`: until then (ms since the epoch) dialogs pass whose Record-Route values of ours have no token.
    """

    def __init__(self, router: Router, location: Location, outbound: Outbound, peers: Peers, plain_until: int) -> None: ...
