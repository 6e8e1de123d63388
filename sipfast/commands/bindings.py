"""`sipfast bindings`: who is registered, and bindings removed by hand."""

from __future__ import annotations

import argparse
from typing import Any

from ..config.addresses import in_uri
from ..errors import ConfigError, ParseError
from ..observe.printable import text_of
from .console import DONE, FAILED, complain, iso, local, person, print_json, print_table, until
from .listing import add_listing
from .stored import aor, configuration, now_and_ahead, opened


def add_to(commands: Any) -> None:
    """Its line of the command line."""
    verbs = {"remove": (("AOR", "[CONTACT]"), remove_bindings)}
    add_listing(commands, "bindings", "who is registered", list_bindings, verbs)


def list_bindings(arguments: argparse.Namespace) -> int:
    """Print the bindings that have not expired."""
    config = configuration(arguments)
    with opened(config) as store:
        now, ahead = now_and_ahead(store)
        rows = [
            (owner, binding) for owner, bindings in store.each_bindings() for binding in bindings if binding.expires > now
        ]
    if arguments.json:
        return print_json(
            {
                "aor": text_of(owner),
                "contact": text_of(binding.contact),
                "expires_at": iso(binding.expires + ahead),
                "remaining": (binding.expires - now) // 1000,
                "q": binding.q / 1000,
                "path": text_of(binding.path),
                "instance": text_of(binding.instance),
                "received_from": source(binding.flow),
                "call_id": text_of(binding.call_id),
                "cseq": binding.cseq,
                "doubtful_since": iso(binding.doubtful + ahead) if binding.doubtful else None,
            }
            for owner, binding in rows
        )
    return print_table(
        ("aor", "contact", "expires at", "q", "received from", "in doubt since"),
        [
            (
                person(owner),
                text_of(binding.contact),
                until(binding.expires, now, ahead),
                f"{binding.q / 1000:g}",
                source(binding.flow),
                local(binding.doubtful + ahead) if binding.doubtful else "",
            )
            for owner, binding in rows
        ],
        f"no bindings in {config.store.data}",
    )


def remove_bindings(arguments: argparse.Namespace) -> int:
    """Remove one binding of an AOR, or all."""
    from .._likeness import same_uri

    owner = aor(arguments.aor)
    config = configuration(arguments)
    with opened(config, write=True) as store:
        store.for_update()  # a REGISTER of this moment comes before or after, not in between
        stored = store.bindings(owner)
        kept = []
        if arguments.contact:
            contact = arguments.contact.strip("<>").encode()
            try:
                kept = [binding for binding in stored if not same_uri(binding.contact, contact)]
            except ParseError:
                raise ConfigError(f"{arguments.contact!r} is not a contact URI such as sip:bob@192.0.2.1:5060") from None
        if len(kept) == len(stored):
            which = f"binding {arguments.contact}" if arguments.contact else "bindings"
            return complain(f"{config.store.data}: {person(owner)} has no {which}", FAILED)
        store.put_bindings(owner, kept)
        store.commit()
    print(f"removed: {len(stored) - len(kept)} of {person(owner)}, {len(kept)} left")
    return DONE


def source(packed: bytes) -> str:
    """Where a REGISTER came from."""
    from .._flow import Flow

    try:
        flow = Flow.unpack(packed)
    except ValueError:
        return ""
    return f"{flow.transport_name.lower()}:{in_uri(flow.host)}:{flow.port}"
