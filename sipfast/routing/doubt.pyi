"""Typed face of the compiled module `doubt`: bindings whose phones do not answer. For compiled modules only."""

from typing import final

from ..transaction.server import Handler

@final
class Question(Handler): ...

@final
class Doubts: ...
