"""Typed face of the compiled module `bucket`: how many recalls may begin. For compiled modules only."""

from typing import Any, final

@final
class Bucket:
    def configure(self, settings: Any) -> None:
        """`settings`: a config.Redial."""
