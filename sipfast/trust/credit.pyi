"""Typed face of the compiled credits: see credit.pyx. For compiled modules only."""

from typing import final

@final
class Credit: ...
