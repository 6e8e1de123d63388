"""Typed face of the compiled module `progress`: what a NOTIFY tells. For compiled modules only."""
