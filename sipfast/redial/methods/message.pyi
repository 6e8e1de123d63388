"""Typed face of the compiled module `message`: see message.pyx. For compiled modules only."""

from typing import final

@final
class MessageAttempt: ...

@final
class MessageMethod: ...
