"""Typed face of the compiled module `branch`; all of it is for C callers."""
