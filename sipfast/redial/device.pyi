"""Typed face of the compiled module `device`: where the phone of a caller is. For compiled modules only."""
