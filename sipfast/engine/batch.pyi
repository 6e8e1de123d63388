"""Typed face of the compiled module `batch`: the batch. A store that answers later is given one, and gives it back."""

from typing import final

@final
class Batch:
    """All that is decided between two commits."""

@final
class Promise: ...
