"""Typed face of the compiled module `batch`: the batch. For compiled modules only."""

from typing import final

@final
class Batch: ...
