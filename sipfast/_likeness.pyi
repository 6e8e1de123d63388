"""Typed face of the compiled comparison of URIs; the same function is in `_parser`."""

def same_uri(a: bytes, b: bytes) -> bool:
    """URI comparison by RFC 3261 §19.1.4. Raises ParseError."""
