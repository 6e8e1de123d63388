"""Typed face of the compiled module `pending`: what of redial waits for a commit. For compiled modules only."""

from typing import final

@final
class Pending: ...
