"""Typed face of the compiled module `responses`: where a response belongs. For compiled modules only."""

from typing import final

@final
class Responses: ...
