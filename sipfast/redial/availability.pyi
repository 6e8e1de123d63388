"""Typed face of the compiled module `availability`: see availability.pyx. For compiled modules only."""

from typing import final

class Availability: ...

@final
class Unbound: ...
