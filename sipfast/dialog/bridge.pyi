"""Typed face of the compiled module `bridge`: two legs joined into one call. For compiled modules only."""

from typing import final

class BridgeObserver: ...

@final
class Forward: ...

@final
class Bridge: ...
