"""Typed face of the compiled notices."""

import msgspec

LOOK: int
BOUND: int
STARTED: int
FAILED: int
GONE: int
ANSWERED: int
TALK: int
ENDED: int
HELLO: int
AWAITED: int
UNCONFIRMED: int

class Notice(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What one worker tells another."""

    kind: int
    sender: int
    callee: bytes = b""
    caller: bytes = b""
    call_id: bytes = b""
    status: int = 0
    since: int = 0

def encode(notice: Notice) -> bytes: ...
def decode(data: bytes) -> Notice: ...
