from .._parser import Message
from ..store.codec import StoredWatch

class Referrer:
    """Starts REFERs: it knows transactions, Vias and listeners, which redial does not."""

def offer(watch: StoredWatch, now: int) -> tuple[bytes, bytes]:
    """Reason phrase and header lines of a 480 whose caller will be recalled (RFC 6910 §7.1 for Call-Info)."""

def warning(callee: bytes, text: bytes) -> bytes:
    """A Warning line for people to read (RFC 3261 §20.43, code 399)."""

def expires_of(request: Message) -> int:
    """The INVITE's Expires in seconds, at most 2**31; -1 where it is absent or malformed."""
