from .records import Binding

def read_one(record: bytes, aor: bytes) -> Binding | None:
    """The binding of a record that holds exactly one, and of this AOR; None for any other record."""

def write_one(aor: bytes, binding: Binding) -> bytes:
    """The same bytes as records.encode_bindings(aor, (binding,))."""
