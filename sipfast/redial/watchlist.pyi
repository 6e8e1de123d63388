"""Typed face of the compiled module `watchlist`: the watch list. For compiled modules only."""

from typing import final

@final
class Watchlist: ...
