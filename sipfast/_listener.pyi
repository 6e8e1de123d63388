"""Typed face of the compiled module `_listener`."""

from typing import final

@final
class Listener:
    """A local address and transport that the server listens on. Its place in the engine's sequence is `Flow.local`.

    `host` is the address that it is bound to, without brackets; 0.0.0.0 and :: are all of a family. `sent_by` is what Via,
    Record-Route and Contact name: b"192.0.2.1:5060", b"[2001:db8::1]:5060". Raises ValueError for an unknown transport.
    """

    transport: str
    host: str
    port: int
    family: int
    sent_by: bytes
    def __init__(self, transport: str, host: str, port: int, sent_by: bytes) -> None: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
