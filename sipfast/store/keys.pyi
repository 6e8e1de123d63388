def key_of(aor: bytes) -> bytes:
    """The AOR as (part of) a key: itself, or a shortened form that no other AOR has, since all of that length are."""

def pair_of(first: bytes, second: bytes) -> bytes:
    """The key of a pair: both as `key_of` has them, and a NUL between them."""
