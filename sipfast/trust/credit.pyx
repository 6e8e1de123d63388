"""What one datagram may cause towards addresses that have proven nothing: MOST_DATAGRAMS, and MOST_TIMES its bytes.

A source is easily forged and a Contact easily made up (proven.pyx tells who has shown to be there), so that answers,
retransmissions, forwarded requests and REFERs that come of one datagram are paid from one credit. Most datagrams never need
one: it is made when the first of all that is to go to somebody who has proven nothing.
"""

import cython

from libc.stdint cimport int64_t

from .proven cimport MOST_DATAGRAMS, MOST_TIMES


@cython.final
@cython.no_gc
@cython.freelist(64)
cdef class Credit:

    cdef bint covers(self, Py_ssize_t size, bint answer) noexcept:
        cdef int kept = 0 if answer else self.kept
        return self.unlimited or (self.left > kept and size <= self.room - kept * self.answer)

    cdef bint spend(self, Py_ssize_t size, bint answer) noexcept:
        if not self.covers(size, answer):
            return False
        if not self.unlimited:
            self.left -= 1
            self.room -= size
            self.kept -= answer and self.kept > 0
        return True

    cdef void give_back(self, Py_ssize_t size) noexcept:
        if not self.unlimited:
            self.left += 1
            self.room += size

    cdef void renew(self, Credit other) noexcept:
        if not self.unlimited and not other.unlimited:
            self.left = max(self.left, other.left)
            self.room = max(self.room, other.room)


cdef Credit make_credit(int64_t taken, int kept):
    cdef Credit credit = Credit.__new__(Credit)
    credit.left = MOST_DATAGRAMS
    credit.room = MOST_TIMES * taken
    credit.kept = kept
    credit.answer = taken
    return credit


cdef Credit credit_of(int left, int64_t room):
    cdef Credit credit = Credit.__new__(Credit)
    credit.left = left
    credit.room = room
    return credit


cdef Credit make_unlimited():
    cdef Credit credit = Credit.__new__(Credit)
    credit.unlimited = True
    return credit
