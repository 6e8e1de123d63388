"""Typed face of the compiled module `answers`: what the server answers itself. For compiled modules only."""

from typing import final

@final
class Answers: ...
