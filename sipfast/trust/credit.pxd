# What one datagram may cause towards who has proven nothing. See credit.pyx.

from libc.stdint cimport int64_t

# Of one datagram; whatever it has caused shares it: transactions, forks, REFERs.
cdef class Credit:
    cdef int64_t room                    # bytes
    cdef int64_t answer                  # bytes that an answer to it has at the most, about
    cdef unsigned char left              # datagrams
    cdef unsigned char kept              # those of them that are kept for the answers to it
    cdef unsigned char unlimited
    # Whether a datagram may be sent to who has proven nothing; `answer`: to the one that it all comes from.
    cdef bint covers(self, Py_ssize_t size, bint answer) noexcept
    # The same, and it is taken off.
    cdef bint spend(self, Py_ssize_t size, bint answer) noexcept
    # It was taken off and did not leave.
    cdef void give_back(self, Py_ssize_t size) noexcept
    # A copy of the datagram has come: what that one has not spent may be spent for the first.
    cdef void renew(self, Credit other) noexcept

# For a datagram of `taken` bytes. `kept`: how many datagrams are for its answers alone.
cdef Credit make_credit(int64_t taken, int kept)
# What is left of another worker's credit.
cdef Credit credit_of(int left, int64_t room)
# What the server does by itself.
cdef Credit make_unlimited()
