"""Typed face of the compiled module `connections`: see connections.pyx. For compiled modules only."""

from typing import final

@final
class Connections: ...
