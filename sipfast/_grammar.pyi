"""Typed face of the compiled module `_grammar`: it has nothing for Python."""
