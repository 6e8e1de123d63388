"""Typed face of the compiled module `digests`; all but this is for C callers."""

quick: bool
"""Whether the C library's own functions are called, and not hashlib's."""

def hexdigest(algorithm: str, data: bytes) -> bytes:
    """H(data) of "MD5" or "SHA-256" as hex digits, as requests are checked with it."""
