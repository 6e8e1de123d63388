"""Typed face of the compiled module `remote`: see remote.pyx. For compiled modules only."""

from typing import final

@final
class Remote: ...
