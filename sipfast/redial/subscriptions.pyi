"""Typed face of the compiled module `subscriptions`: see subscriptions.pyx. For compiled modules only."""

from typing import final

@final
class Subscriptions: ...
