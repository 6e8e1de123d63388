"""Typed face of the compiled stateful proxy (RFC 3261 §16). Only the engine drives it."""

from typing import final

from .context import Forwarder

@final
class Proxy(Forwarder):
    """Forwards requests and gathers their responses."""
