"""Typed face of the compiled module `suspended`: see suspended.pyx. For compiled modules only."""

from typing import final

@final
class Suspended: ...
