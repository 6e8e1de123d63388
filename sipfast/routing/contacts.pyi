"""Typed face of the compiled module `_contacts`, which has none: it is for C callers only."""
