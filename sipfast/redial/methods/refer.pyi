"""Typed face of the compiled module `refer`: see refer.pyx. For compiled modules only."""

from typing import final

@final
class ReferAttempt: ...

@final
class ReferMethod: ...
