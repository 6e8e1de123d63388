"""Typed face of the compiled module `_hash`; all but the reference hash is for C callers."""

def siphash(data: bytes, secret: int) -> int:
    """SipHash-2-4 of `data` with a secret of 128 bits, the first 8 bytes of the key as its low half."""
