"""Typed face of the compiled module `calls`: what becomes of calls. For compiled modules only."""

from typing import final

@final
class Calls: ...
