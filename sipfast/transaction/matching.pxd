# Which requests belong together: RFC 3261 §17.2.3 for transactions, §8.2.2.2 for merged requests. See matching.pyx.

from libc.stdint cimport uint32_t, uint64_t

from .._hash cimport Secret
from .._parser cimport Message, Span

cdef struct Key:
    uint64_t low
    uint64_t high
    bint legacy             # the topmost branch is without the magic cookie

# The key of the request's transaction; an ACK and a CANCEL have that of their INVITE, the method tells them apart.
cdef void identify(const Secret *secret, Message request, Key *key) noexcept
# For a request whose key is that of `original`, both legacy: whether it belongs to the same transaction. `final` is the
# final response that an ACK would acknowledge, None where that is not known.
cdef bint same_legacy(Message original, Message request, bytes final) except -1
# Equal for requests that are the same but for their path. The Request-URI is in it: a spiral may come by with another
# one (§16.3).
cdef uint64_t merge_hash(const Secret *secret, Message request) noexcept
# A To tag for the responses to the request with this key: unpredictable (§19.3), and the same whenever it is asked for.
cdef bytes tag_of(const Secret *secret, uint64_t low, uint64_t high)
# The method of a request of ours and the branch of its topmost Via, out of the first bytes that somebody quotes of it. False
# where the branch is not among them, or cannot be told.
cdef bint quoted_branch(const unsigned char *p, Py_ssize_t size, Span *method, Span *branch) noexcept
# A Method, or a hash of another method's name with the top bit set.
cdef uint32_t method_of(const unsigned char *p, int method, Span name) noexcept
