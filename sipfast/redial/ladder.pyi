"""Typed face of the compiled module `ladder`: see ladder.pyx. For compiled modules only."""

from typing import final

@final
class Rung: ...

@final
class Ladder: ...
