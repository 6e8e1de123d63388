"""Typed face of the compiled upstreams: the servers behind this one, and which of their addresses answer."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import final

from .._flow import Flow
from .._wheel import Timed
from ..config import Upstream
from ..transaction.server import Handler

class Waiter(Handler):
    """A transaction user that waits for the first answer of an address."""

@final
class Member(Handler):
    """One address of an upstream, up or down; times in ms.

    `timeout`: how long requests may wait without a word from it until it is down; `probe_interval`: between the OPTIONS
    that ask then whether it is back.
    """

    def __init__(self, flow: Flow, timeout: int, probe_interval: int) -> None: ...

@final
class Group:
    """Addresses that stand in for each other, the one to prefer first.

    `by_token`: they see our URI with a flow token in the place of a phone's Contact. `names`: the host names that mean
    several of them.
    """

    def __init__(
        self, members: Iterable[Member], by_token: bool = False, names: Mapping[bytes, list[Member]] | None = None
    ) -> None: ...

@final
class Upstreams(Timed):
    """All of them. `groups` are of Member; one that several groups name is one and the same.

    `failures`: how often one of them went down, since the start.
    """

    def __init__(self, groups: Iterable[Group]) -> None: ...

def make_group(
    upstream: Upstream,
    hosts: Mapping[str, Sequence[str]],
    resolve: Callable[[bytes], Flow | None],
    known: dict[Flow, Member],
) -> Group:
    """The addresses of one [[upstream]].

    `hosts` gives the IP addresses of host names, `resolve` the flow to a URI with one of them; `known` are the members of
    other groups, which share them. Raises ConfigError where an address is of no family that is listened on.
    """
