"""Typed face of the compiled module `commits`: see commits.pyx. For compiled modules only."""

from typing import final

@final
class Commits: ...
