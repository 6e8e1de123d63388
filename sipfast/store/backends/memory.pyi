from collections.abc import Callable

from ..tables import Tables

class MemoryTables(Tables):
    """Tables in the memory of this process: for tests, demonstrations and as the reference.

    `randomness(n)` gives n random bytes.
    """

    def __init__(self, randomness: Callable[[int], bytes] = ...) -> None: ...
