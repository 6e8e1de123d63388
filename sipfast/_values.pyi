"""Typed face of the compiled module `_values`; the same functions are in `_parser`."""

def parse_address(value: bytes) -> tuple[bytes, bytes, dict[bytes, bytes | None]]:
    """Split a name-addr or addr-spec into display name (unquoted), URI and header parameters.

    Names of parameters are lower-case, quoted values keep their quotes. Raises ParseError.
    """

def parse_via(value: bytes) -> tuple[str, bytes, int, dict[bytes, bytes | None]]:
    """Split one Via value into transport, host (IPv6 in brackets), port (-1 where absent) and parameters.

    Raises ParseError.
    """
