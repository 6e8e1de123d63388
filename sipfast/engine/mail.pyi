"""Typed face of the compiled module `mail`: mail between workers. For compiled modules only."""

from typing import final

@final
class Mail: ...
