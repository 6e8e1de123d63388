"""Brings stored records of earlier formats up to date.

Format 2 (format 1 is of the first version)
    bindings   `flow` has become the way to the phone. Before, it was the REGISTER's own, and a Contact at the address that
               the REGISTER came from was followed to the port that it names. `reg_id` is new: it stands in the parameters.
    moves      new: where flow tokens of old flows lead to.
    contacts   new: an index of bindings by their Contact.
"""

from __future__ import annotations

from msgspec.structs import replace

from ..._flow import Flow
from ..._parser import parse_address, uri_parts
from ...errors import ParseError
from ..records import Binding, decode_bindings_1, encode_bindings

DEFAULT_PORT = 5060  # RFC 3261 §19.1.2
MOST_REG_ID = 2**31 - 1  # RFC 5626 §4.2


def bindings_from_1(stored: bytes) -> tuple[bytes, bytes]:
    """The AOR of a record of format 1, and the record in format 2. Raises StoreCorrupt."""
    aor, bindings = decode_bindings_1(stored)
    return aor, encode_bindings(aor, tuple(_with_reg_id(_with_way(binding)) for binding in bindings))


def _with_reg_id(binding: Binding) -> Binding:
    """RFC 5626 §6: by it and its instance a phone that moves is known again."""
    if not binding.instance:
        return binding
    try:
        _, _, params = parse_address(b"<" + binding.contact + b">" + binding.params)
        reg_id = int(params.get(b"reg-id") or b"0")
    except (ValueError, ParseError):
        return binding
    return replace(binding, reg_id=reg_id) if 0 < reg_id <= MOST_REG_ID else binding


def _with_way(binding: Binding) -> Binding:
    if binding.path:
        return binding
    try:
        flow = Flow.unpack(binding.flow)
        _, _, host, port, params = uri_parts(binding.contact)
        host = params.get(b"maddr") or host
        there = Flow(host.strip(b"[]"), DEFAULT_PORT if port < 0 else port, local=flow.local)
    except (ValueError, ParseError):
        return binding  # no flow, no SIP URI, or a name: nothing was followed
    if flow.transport_name != "UDP" or there.host != flow.host:
        return binding
    packed = bytearray(binding.flow)
    packed[3:5] = there.port.to_bytes(2, "big")
    return replace(binding, flow=bytes(packed))
