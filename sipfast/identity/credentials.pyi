"""Typed face of the compiled module `credentials`; all but this is for C callers."""

def credentials(value: bytes) -> dict[str, bytes] | None:
    """The parameters that count of an Authorization value, without quotes; None where it is malformed or no Digest."""
