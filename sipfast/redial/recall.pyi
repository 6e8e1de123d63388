"""Typed face of the compiled module `recall`: see recall.pyx. For compiled modules only."""

from typing import final

@final
class Recall: ...

class Turns: ...

@final
class Recalls: ...
