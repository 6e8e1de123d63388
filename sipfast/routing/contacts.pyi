"""Typed face of the compiled module `contacts`, which has none: it is for C callers only."""
