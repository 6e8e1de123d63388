"""Typed face of the compiled URI module; the same functions are in `_parser`."""

def uri_parts(uri: bytes) -> tuple[str, bytes, bytes, int, dict[bytes, bytes | None]]:
    """Scheme, user (as written), host (no brackets, lower-case), port (-1 where absent), parameters.

    Names of parameters are lower-case. Of an unknown scheme everything after the colon is the user. Raises ParseError.
    """

def aor(uri: bytes) -> bytes:
    """Canonical address of record of a URI (RFC 3261 §10.3 step 5). Raises ParseError."""
