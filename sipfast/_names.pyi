"""Typed face of the compiled module `_names`, which has none: it is for C callers only."""
