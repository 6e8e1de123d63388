"""Typed face of the compiled module `senders`: see senders.pyx. For compiled modules only."""

from typing import final

@final
class Senders: ...
