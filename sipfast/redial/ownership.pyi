"""Typed face of the compiled module `ownership`: see ownership.pyx. For compiled modules only."""

from typing import final

class CalleeOwner: ...

@final
class Ownership: ...
