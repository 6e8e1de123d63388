"""Typed face of the compiled module `matching`, which has none: it is for C callers only."""
