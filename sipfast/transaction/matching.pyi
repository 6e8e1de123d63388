"""Typed face of the compiled module `_matching`, which has none: it is for C callers only."""
