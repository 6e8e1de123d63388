"""Typed face of the compiled module `speaker`: whom a request speaks for. For compiled modules only."""

from typing import final

@final
class Speaker: ...
