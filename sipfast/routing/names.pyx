"""Names of hosts that a request is to go to (RFC 3263 §4.2), asked for outside, since the core does no I/O.

Only who has the right to send requests on by this server makes it ask: an upstream, or a peer with the right `relay`. A question
leaves with the commit of its batch, and comes back as `Engine.resolved`. Its request waits meanwhile, in its transaction, which
absorbs its copies. Without an answer in PATIENCE the name leads nowhere.

What was found counts for KNOWN_FOR, that there is nothing for NOTHING_FOR: the system's resolver tells no TTL.
"""

import cython

from libc.stdint cimport int64_t, uint64_t

from .._wheel cimport Timed, Wheel
from ..transaction.server cimport Handler

cdef enum:
    MOST_QUESTIONS = 256        # at a time
    MOST_WAITING = 4096         # requests, for all of them
    MOST_LEARNED = 4096         # names
    PATIENCE = 3_000            # ms
    KNOWN_FOR = 60_000
    NOTHING_FOR = 10_000
    GIVE_UP = 1                 # timers
    FORGET = 2


cdef class Waiting(Handler):

    cdef int go_on(self, int64_t now) except -1:
        raise NotImplementedError("a Waiting needs its own go_on()")


@cython.final
cdef class Question:
    pass


@cython.final
cdef class Names(Timed):

    def __init__(self, Wheel wheel not None, dict addresses not None, resolver=None):
        self.wheel = wheel
        self.addresses = addresses
        self.resolver = resolver
        self.learned, self.asked, self.tickets, self.to_ask = {}, {}, {}, []

    cdef bint may_ask(self, bytes name) except -1:
        if self.resolver is None or name in self.addresses or self.waiting >= MOST_WAITING:
            return False
        return name in self.asked or (len(self.asked) < MOST_QUESTIONS and len(self.learned) < MOST_LEARNED)

    cdef bint ask(self, bytes name, Waiting waiting, int64_t now) except -1:
        cdef Question question
        if not self.may_ask(name):
            return False
        question = <Question>self.asked.get(name)
        if question is None:
            question = Question.__new__(Question)
            self.tickets_given += 1
            question.name, question.ticket, question.waiting = name, self.tickets_given, []
            question.timer = self.wheel.schedule(now + PATIENCE, self, GIVE_UP, question)
            self.asked[name] = self.tickets[question.ticket] = question
            self.to_ask.append((question.ticket, name))
            self.questions += 1
        question.waiting.append(waiting)
        self.waiting += 1
        return True

    cdef int leave(self) except -1:
        cdef list to_ask = self.to_ask
        if to_ask:
            self.to_ask = []
            for ticket, name in to_ask:
                self.resolver(ticket, name)
        return 0

    cdef list resolved(self, uint64_t ticket, object addresses, int64_t now):
        cdef Question question = <Question>self.tickets.get(ticket)
        if question is None:
            return []                         # it was given up
        self.wheel.cancel(question.timer)
        return self.settle(question, next(iter(addresses), None), now)

    cdef list settle(self, Question question, object address, int64_t now):
        cdef list waiting = question.waiting
        if address is None:
            self.unanswered += 1
        self.addresses[question.name] = address
        self.learned[question.name] = self.wheel.schedule(
            now + (NOTHING_FOR if address is None else KNOWN_FOR), self, FORGET, question.name)
        del self.asked[question.name]
        del self.tickets[question.ticket]
        question.waiting = []
        self.waiting -= len(waiting)
        return waiting

    cpdef int expired(self, int kind, object payload, int64_t now) except -1:
        """A name is not answered for, or is to be asked for again."""
        cdef Waiting waiting
        if kind == FORGET:
            self.learned.pop(payload, None)
            self.addresses.pop(payload, None)
            return 0
        for waiting in self.settle(<Question?>payload, None, now):
            waiting.go_on(now)
        return 0
