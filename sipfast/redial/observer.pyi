"""Typed face of the compiled module `observer`: what redial sees of calls. For compiled modules only."""

from typing import final

@final
class Observer: ...
