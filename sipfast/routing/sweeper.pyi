"""Typed face of the compiled module `sweeper`: see sweeper.pyx. For compiled modules only."""

from typing import final

@final
class Sweeper: ...
