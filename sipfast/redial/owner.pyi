"""Typed face of the compiled module `owner`: the owner of callees. For compiled modules only."""

from typing import final

@final
class Owner: ...
