"""Typed face of the compiled module `shares`; all but this is for C callers."""

from typing import final

@final
class Shares:
    """Who has more than his part of the transactions and of their memory, once half of either is in use.

    `part`: of all that there is room for, from 0 to 1; from 1 on nobody is counted.
    """

    def __init__(self, part: float) -> None: ...
