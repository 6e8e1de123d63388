# The ordered steps of a request. See dispatch.pyx.

from libc.stdint cimport int64_t

from .._flow cimport Flow
from .._parser cimport Message, Uri
from ..dialog.dialogs cimport Dialogs
from ..redial.redial cimport Redial
from ..routing.destination cimport Destination
from ..routing.names cimport Names, Waiting
from ..routing.outbound cimport Outbound
from ..routing.proxy cimport Proxy
from ..routing.router cimport RoutePlan, Router
from ..transaction.layer cimport TransactionLayer
from ..transaction.server cimport ServerTransaction
from ..trust.proven cimport Proven
from .answers cimport Answers
from .calls cimport Calls
from .mail cimport Mail
from .registrations cimport Registrations
from .speaker cimport Speaker

# What a step says of a request.
cdef enum Verdict:
    GO_ON                                # to the next step
    ANSWERED                             # and done with
    DROPPED                              # a copy, or what is never answered
    HANDED_OVER                          # to another worker

# A request on its way through the steps.
cdef struct Course:
    RoutePlan plan                       # what its Route set asks for
    Uri uri                              # where it is to go, once our own Route values are off
    bint in_dialog                       # its To has a tag

cdef class Dispatch:
    cdef Answers answers
    cdef Calls calls
    cdef Registrations registrations
    cdef Mail mail
    cdef TransactionLayer transactions
    cdef Router router
    cdef Destination destination
    cdef Outbound outbound
    cdef Proven proven
    cdef Proxy proxy
    cdef Redial redial
    cdef Dialogs dialogs
    cdef Names names
    cdef Speaker speaker
    cdef ServerTransaction current       # of the request being handled
    cdef int receive(self, Message request, Flow flow, int64_t now) except -1
    # Whether a request belongs to what there is: a copy, or one of a dialog, as our token in its Route says.
    cdef bint goes_on(self, Message request) except -1
    # Its answer was taken back, since the store has not kept what it was decided upon: decide anew.
    cdef int again(self, ServerTransaction server, Message request, Flow flow, int64_t now) except -1
    # The steps, in their order. Each says how the request goes on: a Verdict.
    cdef int read_route_set(self, Message request, Flow flow, Course *course, int64_t now) except -1
    cdef int identify(self, Message request, Flow flow, Course *course, int64_t now) except -1
    cdef int serve_itself(self, Message request, Flow flow, Course *course, int64_t now) except -1
    cdef int hop_by_hop(self, Message request, Flow flow, Course *course, int64_t now) except -1
    # An ACK in a dialog of the server's own.
    # Give a CANCEL or ACK that matches nothing here to the worker that it may be for; whether that was done.
    cdef bint hand_over(self, Message request, Flow flow, RoutePlan *plan, int64_t now) except -1
    cdef bint acknowledge(self, Message request, Flow flow, int64_t now) except -1
    cdef int validate(self, Message request, Flow flow, Course *course, int64_t now) except -1
    cdef int admit(self, Message request, Flow flow, Course *course, int64_t now) except -1
    cdef int begin_transaction(self, Message request, Flow flow, int64_t now) except -1
    # RFC 3261 §16.3: the status that a request has to be refused with; 0: none.
    cdef int problem_of(self, Message request, Uri *uri) except -1
    cdef int options(self, Message request, Flow flow) except -1
    cdef bint forward_former(self, Message request, Flow flow, RoutePlan *plan, Uri *uri, bint in_dialog,
                             int64_t now) except -1
    # The request has a transaction: to where it is to go.
    cdef int route(self, ServerTransaction server, Message request, Flow flow, Course *course, int64_t now) except -1
    # Whether a request waits for the address of the host that it is to go to.
    cdef bint wait_for_name(self, ServerTransaction server, Message request, Flow flow, int64_t now) except -1
    # Whether a request is of a dialog of the server's own, through its own front door.
    cdef bint is_of_leg(self, ServerTransaction server, Message request, Flow flow, list targets, Uri *uri, int64_t now) except -1
    cdef int to_self(self, ServerTransaction server, Message request, Flow flow, int64_t now) except -1


# A request that waits for an address.
cdef class Awaiting(Waiting):
    cdef Dispatch dispatch
    cdef ServerTransaction server        # None: it is over
    cdef Message request
    cdef Flow flow
