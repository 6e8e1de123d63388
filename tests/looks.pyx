"""What tests look at of compiled modules and these show no Python: `compiled.looks()`."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int32_t, int64_t, uint32_t

from sipfast._flow cimport Flow
from sipfast._parser cimport Message, Span, Uri
from sipfast.routing.learning cimport Learning
from sipfast.routing.location cimport Location
from sipfast.routing.ringing cimport Ringing
from sipfast.transaction.layer cimport TransactionLayer


# ---- transactions

def undelivered(TransactionLayer layer, bytes data, Flow flow, int64_t now):
    """Whether a transaction that waits for a response has sent what an error quotes, and by that flow; it is over then."""
    return layer.undelivered(data, flow, now)


def sender_of(TransactionLayer layer, bytes data):
    """The worker that has sent what an error quotes; None where that shows no branch of ours."""
    cdef int worker = layer.sender_of(data)
    return None if worker < 0 else worker


def loop_of(TransactionLayer layer, bytes branch):
    """The loop value of a branch that was made with our secret, None for any other."""
    cdef uint32_t loop = 0
    if layer.is_own_branch(<const unsigned char *>PyBytes_AS_STRING(branch), <int>PyBytes_GET_SIZE(branch), &loop):
        return loop
    return None


def worker_of(TransactionLayer layer, bytes branch):
    """The worker that made a branch of ours, None for any other."""
    cdef int worker = layer.worker_of(<const unsigned char *>PyBytes_AS_STRING(branch), <int>PyBytes_GET_SIZE(branch))
    return None if worker < 0 else worker


# ---- routing

def note(Ringing ringing, Message invite, int number, bytes branch, Flow flow, int64_t until, int64_t now):
    """Take down the branch of this number of an INVITE as its caller sent it."""
    ringing.note(ringing.key_of(invite, &invite.via), number, branch, flow, flow, until, now)


def branches_of(Ringing ringing, Message message, int64_t now):
    """The branches that are of use of the INVITE that this CANCEL, ACK or INVITE is of, each with its flow."""
    return ringing.branches(ringing.key_of(message, &message.via), now)


def lookup(Location location, bytes aor, int64_t now):
    """Bindings that have not expired, highest q first, then the latest."""
    return location.lookup(aor, now)


def flow_of(Location location, binding):
    """Where a request for the binding goes next; None where that cannot be told."""
    return location.flow_of(binding)


def way(Location location, Message request, Flow came, bytes contact):
    """The flow to store with the one Contact of a REGISTER that came by a flow."""
    cdef Uri parts
    cdef Span span = Span(request.data.index(contact), 0)
    span.end = span.start + <int32_t>PyBytes_GET_SIZE(contact)
    return location.way(request, came, &parts, True) if request.parse_uri(span, &parts) == 1 else None


def learn(Learning learning, Message request, Message response, Flow flow, bytes aor, int64_t now):
    """Store what an upstream registrar's 200 to `request` lists or grants."""
    learning.learn(request, response, flow, aor, now)
