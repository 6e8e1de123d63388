"""Listeners: a local address and transport, and everything that messages of ours say about it, ready-made.

Nothing else writes the transport or the address of ours into a message: Via, Record-Route, Path, Contact and the URIs with a flow
token are put together here, once for each listener.
"""

import cython

cdef dict URI_PARAMETERS = {"UDP": b""}      # transport: what its URIs say of it (RFC 3261 §19.1.1); UDP is the default


@cython.final
cdef class Listener:

    def __init__(self, str transport not None, str host not None, int port, bytes sent_by not None):
        if transport not in URI_PARAMETERS:
            raise ValueError(f"not a transport that is listened on: {transport!r}")
        cdef bytes parameter = <bytes>URI_PARAMETERS[transport]
        self.transport = transport
        self.host = host
        self.port = port
        self.family = 6 if ":" in host else 4
        self.sent_by = sent_by
        self.via = b"Via: SIP/2.0/" + transport.encode("ascii") + b" " + sent_by + b";branch="
        self.before_token = b"sip:"
        self.after_token = b"@" + sent_by + parameter
        self.record_route = b"Record-Route: <" + self.before_token
        self.end_record_route = self.after_token + b";lr>\r\n"
        self.contact = b"Contact: <sip:" + sent_by + parameter + b">\r\n"

    cdef bytes uri(self, bytes token):
        return self.before_token + token + self.after_token

    cdef bytes path(self, bytes token):
        return b"Path: <" + self.uri(token) + b";lr>\r\n"

    def __eq__(self, other):
        if not isinstance(other, Listener):
            return NotImplemented
        cdef Listener it = <Listener>other
        return (self.transport, self.host, self.port, self.sent_by) == (it.transport, it.host, it.port, it.sent_by)

    def __hash__(self):
        return hash((self.transport, self.host, self.port, self.sent_by))

    def __repr__(self):
        return f"Listener({self.transport!r}, {self.host!r}, {self.port}, {self.sent_by!r})"
