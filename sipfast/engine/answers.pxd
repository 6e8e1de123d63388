# What the server answers itself. See answers.pyx.

from libc.stdint cimport int64_t, uint64_t

from .._flow cimport Flow
from .._parser cimport Message, Uri
from ..observe.events cimport Events
from ..transaction.layer cimport TransactionLayer
from ..transaction.server cimport ServerTransaction

cdef class Answers:
    cdef TransactionLayer transactions
    cdef Events events
    cdef uint64_t secret                 # of the To tags of answers without a transaction
    cdef Message remarked                # has been logged
    cdef int64_t remark_at               # the next refusal of a domain may be logged again
    cdef long stateless, discarded, broken
    # Without a transaction (RFC 3261 §8.2.7).
    cdef int answer(self, Message request, Flow flow, int status, bytes extra) except -1
    # The same, of which people are told otherwise, or not at all: a challenge.
    cdef int challenge(self, Message request, Flow flow, int status, bytes extra) except -1
    # The same as `answer` for what may be an ACK, which is never answered (§17).
    cdef int reject(self, Message request, Flow flow, int status, bytes extra) except -1
    # A malformed message. Only a request with a readable Via can be answered; an ACK and a response never are.
    cdef int malformed(self, Message message, Flow flow) except -1
    cdef int respond(self, ServerTransaction server, Message request, Flow flow, int status, bytes extra,
                     int64_t now) except -1
    # For people: a request was refused; one asked for a domain that nobody serves.
    cdef int refused(self, Message request, Flow flow, int status, bytes extra) except -1
    cdef int remark(self, Message request, Uri *uri, int64_t now) except -1

cdef Answers make_answers(TransactionLayer transactions, Events events, uint64_t secret)

# The Unsupported line for a 420, naming what we do not understand of a header; b"" where it asks for nothing else.
cdef bytes unsupported_line(Message request, int header)

cdef bytes peer_of(Flow flow)            # for people: b"192.0.2.1:5060"
