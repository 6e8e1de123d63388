"""Typed face of the compiled router: whose a request is."""

from collections.abc import Iterable, Mapping
from typing import final

from .token import Tokens
from .upstream import Group, Upstreams

@final
class Router:
    """Tells this server's own URIs, served users, and the upstream of a domain. Domains are lower-case bytes.

    `own`: hosts (no brackets, lower-case) that are this server itself; `ports`: those it listens on; `any_domain`: every
    domain that is not our own belongs to the default group. `groups`: the upstream of each domain that has one.
    """

    def __init__(
        self,
        domains: Iterable[bytes],
        own: Iterable[bytes],
        ports: Iterable[int],
        upstreams: Upstreams,
        groups: Mapping[bytes, Group],
        default_group: Group | None,
        any_domain: bool,
        tokens: Tokens,
    ) -> None: ...
