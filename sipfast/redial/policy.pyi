"""Typed face of the compiled module `policy`: what redial goes by. For compiled modules only."""

from typing import final

@final
class Policy: ...
