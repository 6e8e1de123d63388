"""Typed face of the compiled module `nonces`; all but this is for C callers."""

from typing import final

from .._flow import Flow

@final
class Nonces:
    """The nonces of one worker, made with a `secret` of 16 bytes; each lasts `lasts` ms. Those of before `now` are stale."""

    def __init__(self, secret: bytes, worker: int, lasts: int, now: int) -> None: ...
    def new(self, realm: bytes, flow: Flow, now: int) -> bytes:
        """One for a challenge that goes back by a flow."""
    def spend(self, nonce: bytes, realm: bytes, flow: Flow, count: int, request: bytes, now: int) -> str:
        """What it is worth with a count (nc): "good", "copy" of a request that was let in, or "stale"."""
