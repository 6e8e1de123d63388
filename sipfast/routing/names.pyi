"""Typed face of the compiled module `names`: see names.pyx. For compiled modules only."""

from typing import final

from .._wheel import Timed

class Waiting: ...

@final
class Question: ...

@final
class Names(Timed): ...
