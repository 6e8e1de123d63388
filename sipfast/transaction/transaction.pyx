"""What client and server transactions have in common: what they send, who pays for it, and their timers."""

import cython

from cpython.bytes cimport PyBytes_GET_SIZE
from libc.stdint cimport int32_t, int64_t, uint32_t

from .._flow cimport Flow
from .._wheel cimport Timed
from ..trust.credit cimport Credit, make_credit
from .machines cimport ACCEPTED, ON_ERROR, ON_RESEND, PROCEEDING, TERMINATED, kind_of

from ..errors import TransportError
from .machines import STATES


# ---- counting, for tests: whatever is alive shows here

cdef long objects = 0


def live_objects():
    """Transactions that exist in this process, whoever still holds them."""
    return objects


cdef class Guide:

    cdef Flow follow(self, Flow flow, bytes data, uint32_t since, int64_t now):
        return flow

    cdef bytes entrust(self, bytes response, Flow flow, int64_t now):
        return response


cdef class Witness(Timed):

    cdef int acknowledged(self, bytes tag, int64_t now) except -1:
        return 0

    cdef int withdrawn(self, bytes tag) except -1:
        return 0


cdef class Surroundings:

    cdef int resume(self, Credit credit, Py_ssize_t taken, int64_t now) except -1:
        return 0

    cdef int rest(self) except -1:
        return 0

    cdef Credit payer(self):
        return self.own

    cdef bint is_own(self, Flow flow) noexcept:
        return False

    cdef int forget(self, Transaction transaction) except -1:
        return 0

    cpdef int shrink_finished(self) except -1:
        return 0


@cython.no_gc
cdef class Transaction(Timed):

    def __cinit__(self):
        global objects
        objects += 1
        self.state = TERMINATED

    def __dealloc__(self):
        global objects
        objects -= 1

    @property
    def state_name(self):
        return STATES[self.state]

    @property
    def timed_out(self):
        return self.over != 0

    cdef int weigh(self, bytes request) noexcept:
        cdef Surroundings layer = self.layer
        cdef Py_ssize_t weight = 0
        if layer is None:                     # terminated
            return 0
        if request is not None:
            weight = PyBytes_GET_SIZE(request)
        if self.data is not None:
            weight += PyBytes_GET_SIZE(self.data)
        layer.held += weight - self.weight
        self.weight = <int32_t>weight
        return 0

    # RFC 3261 §17.2.1 has a response sent up to ten times, and once more for each copy of the request, to whoever the request
    # said to be from; §17.1.1.2 and §17.1.2.2 have a request sent as often to wherever a Contact said. A source is easily
    # forged and a Contact made up, so to who has proven nothing one datagram causes MOST_DATAGRAMS, and MOST_TIMES its bytes,
    # in all. Within that, and to all others, everything goes on as the RFC has it.
    cdef bint send(self, bytes data, int64_t now) except -1:
        if not self.charge(data, now):
            self.layer.withheld += 1
            return False
        try:
            self.layer.sink.send(data, self.flow)
        except TransportError:
            # Not at once: the caller may be the user, who does not have this transaction in hand yet.
            self.layer.transport_errors += 1
            self.layer.wheel.schedule(now, self, ON_ERROR)
        return True

    cdef bint charge(self, bytes data, int64_t now) except -1:
        cdef Surroundings layer = self.layer
        if PyBytes_GET_SIZE(data) > MOST_UDP and not self.flow.reliable():
            return False
        if layer.proven.has(self.flow, now):
            if self.credit is None:
                self.credit = layer.credit    # other branches may have to be paid for
            return True
        if self.credit is layer.own:
            return True
        if layer.credit is layer.own and (self.credit is not None or self.is_answer()):      # a timer of somebody else's
            if self.credit is None:
                self.credit = make_credit(self.origin_size(), 0)
            return self.credit.spend(PyBytes_GET_SIZE(data), self.is_answer())
        # What a phone answers is that phone's datagram, also where that is to be sent again.
        if self.credit is None or self.state >= ACCEPTED:
            self.credit = layer.payer()
        return layer.is_own(self.flow) or layer.payer().spend(PyBytes_GET_SIZE(data), self.is_answer())

    cdef Py_ssize_t origin_size(self) noexcept:
        return PyBytes_GET_SIZE(self.data) if self.data is not None else 0

    cdef bint is_answer(self) noexcept:
        return False

    cdef int start_timers(self, int resend, int end, int64_t now) except -1:
        cdef Surroundings layer = self.layer
        cdef bint reliable = self.flow.reliable()
        if resend and layer.after[resend - 65][reliable] >= 0:
            if self.interval == 0:
                self.interval = layer.after[resend - 65][reliable]
            else:
                self.interval *= 2
            if resend != b"A" and (self.interval > layer.t2 or (resend == b"E" and self.state == PROCEEDING)):
                self.interval = layer.t2
            self.resend_timer = layer.wheel.schedule(now + self.interval, self, ON_RESEND)
        if end:
            self.end_timer = layer.wheel.schedule(now + layer.after[end - 65][reliable], self, kind_of(end))
        return 0

    cdef void stop_timers(self) noexcept:
        if self.resend_timer:
            self.layer.wheel.cancel(self.resend_timer)
            self.resend_timer = 0
        if self.end_timer:
            self.layer.wheel.cancel(self.end_timer)
            self.end_timer = 0
        self.interval = 0

    cpdef int expired(self, int kind, object payload, int64_t now) except -1:
        cdef Surroundings layer
        if self.state == TERMINATED:
            return 0
        if kind == ON_RESEND:
            self.resend_timer = 0
        elif kind != ON_ERROR:
            self.end_timer = 0
        layer = self.layer
        layer.resume(self.credit, self.origin_size(), now)
        self.handle_timer(kind, now)
        return layer.rest()

    cdef int handle_timer(self, int event, int64_t now) except -1:
        return 0
