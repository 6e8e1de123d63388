"""Typed face of the compiled module `registrations`: what comes of a REGISTER. For compiled modules only."""

from typing import final

@final
class Registrations: ...
