"""Typed face of the compiled module `dispatch`: what is done with a request, in ordered steps. For compiled modules only."""

from typing import final

@final
class Dispatch: ...
