"""What tests look at of compiled modules and these show no Python: `compiled.looks()`."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int32_t, int64_t, uint32_t
from libc.string cimport memset

from sipfast._flow cimport Flow
from sipfast._parser cimport Message, Span, Uri
from sipfast.routing.learning cimport Learning
from sipfast.routing.location cimport Location
from sipfast.routing.ringing cimport Ringing
from sipfast.routing.token cimport MOST_TOKEN, TOKEN_BOTH, Token, Tokens
from sipfast.store.codec cimport (
    Entry, StoredWatch, WatchEntry, piece_in, stored_watch, written_bindings, written_watch,
)
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


cdef class TokenLook:
    """The tokens of a server as bytes and Flows. Kinds: 1 the flow of a REGISTER, 2 of the side that made the dialog, 3 of the
    other one, 4 both."""

    cdef Tokens tokens

    def __init__(self, Tokens tokens not None):
        self.tokens = tokens

    def make(self, int kind, Flow first not None, Flow second=None, unsigned int digest=0):
        """A token for one flow, or for two of one listener; None where it would be too long."""
        cdef char text[MOST_TOKEN]
        cdef int size = self.tokens.write(text, kind, first, second, digest)
        return text[:size] if size else None

    def parse(self, bytes user not None):
        """Kind, digest and flows of a token; None for what is none. A flow is None where no listener is left for it."""
        cdef Token token
        cdef Span span = Span(0, <int>PyBytes_GET_SIZE(user))
        if not self.tokens.read(<const unsigned char *>PyBytes_AS_STRING(user), span, &token):
            return None
        second = self.tokens.flow_to(&token, 1) if token.kind == TOKEN_BOTH else None
        return token.kind, token.digest, self.tokens.flow_to(&token, 0), second

    def digest(self, bytes aor not None):
        """What a token of kind 1 carries of its AOR."""
        return self.tokens.digest_of_aor(aor)


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


# ---- store

def write_one(bytes aor, binding):
    """One binding as compiled code writes it; the record is that of records.encode_bindings(aor, (binding,))."""
    cdef Entry entry
    cdef bytes contact = binding.contact, call_id = binding.call_id, params = binding.params, path = binding.path
    cdef bytes flow = binding.flow, instance = binding.instance
    entry.contact = piece_in(contact)
    entry.expires = binding.expires
    entry.call_id = piece_in(call_id)
    entry.cseq = binding.cseq
    entry.q = binding.q
    entry.params = piece_in(params)
    entry.path = piece_in(path)
    entry.flow = piece_in(flow)
    entry.instance = piece_in(instance)
    entry.updated = binding.updated
    entry.reg_id = binding.reg_id
    entry.branch = binding.branch
    entry.doubtful = binding.doubtful
    return written_bindings(aor, &entry)


def write_watch(bytes record not None):
    """The watch of a record, written again from memory in which nothing stays."""
    cdef bytes copy = PyBytes_FromStringAndSize(PyBytes_AS_STRING(record), PyBytes_GET_SIZE(record))
    cdef StoredWatch read = stored_watch(copy), written = written_watch(&read.at)
    memset(PyBytes_AS_STRING(copy), 0, PyBytes_GET_SIZE(copy))
    return written


def write_watch_with(StoredWatch watch not None, int64_t not_before, bytes last_result not None):
    """A watch, written with other values."""
    cdef WatchEntry entry = watch.at
    entry.not_before = not_before
    entry.last_result = piece_in(last_result)
    return written_watch(&entry)
