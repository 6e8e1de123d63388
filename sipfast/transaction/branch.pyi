"""Typed face of the compiled module `_branch`; all of it is for C callers."""
