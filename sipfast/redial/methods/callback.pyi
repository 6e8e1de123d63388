"""Typed face of the compiled module `callback`: see callback.pyx. For compiled modules only."""

from typing import final

@final
class CallbackMethod: ...

@final
class Callback: ...
