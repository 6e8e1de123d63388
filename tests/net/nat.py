"""NAT boxes of the virtual network (RFC 4787): a home with private addresses behind one outer address.

Network.add(endpoint, behind=nat) puts an endpoint into a home. It knows its private address only; another home may have the
same. What it sends leaves from an outer port that the box has mapped for it, and what comes to that port is let in or not.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from net.endpoint import Endpoint
from net.sipwire import Address

# RFC 4787 §4.1 and §5 call these: endpoint-independent, address-dependent, address and port-dependent.
Behaviour = Literal["endpoint", "address", "port"]
FIRST_PORT = 40_000
STRIDE = 7  # ports of one box are neighbours in no test by chance


@dataclass
class Mapping:
    """One outer port: whose it is, when something last left by it, and for whom."""

    inner: Address
    outer: Address
    used: int
    remotes: set[Address] = field(default_factory=set)


class Nat:
    """One home's box.

    `mapping`: how much of the remote address a new one has to share to be sent to from the same outer port.
    `filtering`: how much of a sender's address must be one that the inner endpoint has sent to from there. "port" twice
    is what is called a symmetric NAT, "endpoint" twice a full cone.
    `lifetime`: ms after which a mapping that nothing leaves by is forgotten (RFC 4787 §4.3: what comes in does not renew
    it); None: never. `hairpin`: whether what goes from inside to the box's own outer address comes back in (§6).
    """

    def __init__(
        self, name: str, host: str, *, mapping: Behaviour = "endpoint", filtering: Behaviour = "port",
        lifetime: int | None = None, hairpin: bool = False,
    ) -> None:  # fmt: skip
        self.name, self.host = name, host
        self.mapping, self.filtering, self.lifetime, self.hairpin = mapping, filtering, lifetime, hairpin
        self.inside: dict[Address, Endpoint] = {}
        self._leaving: dict[tuple[Address, Address | str | None], Mapping] = {}
        self._coming: dict[Address, Mapping] = {}
        self._port = FIRST_PORT

    def rebind(self, host: str | None = None) -> None:
        """Forget all mappings, as a box that restarts does: the next datagram of each endpoint leaves from a port that was
        never used before. `host`: and from another outer address, as after the provider has cut the line."""
        self.host = host or self.host
        self._leaving.clear()
        self._coming.clear()

    def outgoing(self, inner: Address, to: Address, now: int) -> Address:
        """The outer address that a datagram leaves from."""
        key = inner, _part(to, self.mapping)
        mapping = self._leaving.get(key)
        if mapping is None or self._is_over(mapping, now):
            if mapping is not None:
                self._coming.pop(mapping.outer, None)
            self._port += STRIDE
            mapping = self._leaving[key] = Mapping(inner, (self.host, self._port), now)
            self._coming[mapping.outer] = mapping
        mapping.used = now
        mapping.remotes.add(to)
        return mapping.outer

    def incoming(self, outer: Address, source: Address, now: int) -> Address | None:
        """The inner address that a datagram from `source` to `outer` is let in to; None: it is dropped."""
        mapping = self._coming.get(outer)
        if mapping is None or self._is_over(mapping, now):
            return None
        known = {_part(remote, self.filtering) for remote in mapping.remotes}
        return mapping.inner if _part(source, self.filtering) in known else None

    def outer(self, inner: Address, to: Address) -> Address | None:
        """Where `to` sees an inner address; None where nothing has gone there yet."""
        mapping = self._leaving.get((inner, _part(to, self.mapping)))
        return mapping.outer if mapping is not None else None

    def inner(self, outer: Address) -> Address | None:
        """Whose an outer address is."""
        mapping = self._coming.get(outer)
        return mapping.inner if mapping is not None else None

    def _is_over(self, mapping: Mapping, now: int) -> bool:
        return self.lifetime is not None and now - mapping.used > self.lifetime


def _part(remote: Address, behaviour: Behaviour) -> Address | str | None:
    """As much of a remote address as matters."""
    if behaviour == "port":
        return remote
    return remote[0] if behaviour == "address" else None
