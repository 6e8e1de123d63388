from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from ..tables import Tables
from .directory import Directory

class LmdbTables(Tables):
    """Tables in an LMDB environment, in a directory of its own. It must not be used across a fork.

    The arguments are those of `Directory`, which says what they mean and what it raises; `names` may add tables.
    """

    @property
    def directory(self) -> Directory:
        """Where it lies."""

    def __init__(
        self,
        path: str | Path,
        *,
        durability: Literal["process", "power"] = "process",
        map_size_gib: float = 64,
        readonly: bool = False,
        exclusive: bool = False,
        now: int = 0,
        names: Sequence[str] = ...,
    ) -> None: ...
