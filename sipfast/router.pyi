"""Typed face of the compiled router: whose a request is."""

from collections.abc import Iterable, Mapping

from ._flow import Flow
from ._token import Tokens

class Router:
    """Tells this server's own URIs, served users, and the upstream of a domain. Domains are lower-case bytes.

    `own`: hosts (no brackets, lower-case) that are this server itself; `ports`: those it listens on; `any_domain`: every
    domain that is not our own belongs to the default upstream.
    """

    domains: frozenset[bytes]
    any_domain: bool
    upstreams: dict[bytes, Flow]
    default_upstream: Flow | None
    def __init__(
        self,
        domains: Iterable[bytes],
        own: Iterable[bytes],
        ports: Iterable[int],
        upstreams: Mapping[bytes, Flow],
        default_upstream: Flow | None,
        any_domain: bool,
        tokens: Tokens,
    ) -> None: ...
