"""Typed face of the compiled module `b2bua`: see b2bua.pyx. For compiled modules only."""

from typing import final

@final
class B2buaMethod: ...

@final
class Joining: ...

@final
class Join: ...
