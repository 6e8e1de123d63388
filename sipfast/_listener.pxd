# A local address and transport, with its ready-made lines. See _listener.pyx.

cdef enum:
    DEFAULT_PORT = 5060                  # of UDP and TCP (RFC 3261 §19.1.2)

cdef class Listener:
    cdef readonly str transport          # as Via names it: UDP
    cdef readonly str host               # that it is bound to, without brackets; 0.0.0.0 and :: are all of a family
    cdef readonly int port
    cdef readonly int family             # 4 or 6
    cdef readonly bytes sent_by          # host and port, as others are to see them
    cdef bytes via                       # `Via: ... branch=`: the branch follows
    cdef bytes before_token              # what stands around a flow token in an own URI: `sip:`
    cdef bytes after_token               # `@host:port`
    cdef bytes record_route              # `Record-Route: <sip:`: a token follows
    cdef bytes end_record_route          # `@host:port;lr>` and the line's end
    cdef bytes contact                   # `Contact: <sip:host:port>` and the line's end
    cdef bytes path(self, bytes token)   # the whole line
    cdef bytes uri(self, bytes token)    # an own URI with a token

# That of a flow's listener, out of all of them in order.
cdef inline Listener listener_at(tuple listeners, int local):
    return <Listener>listeners[local]
