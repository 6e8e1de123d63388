# The state machines of RFC 3261 §17 as a transaction reads them: a row for a state and an event. See machines.pyx.

cdef enum State:
    CALLING
    TRYING
    PROCEEDING
    ACCEPTED
    COMPLETED
    CONFIRMED
    TERMINATED
    STATES_COUNT

cdef enum Event:            # those of timers are also their kinds on the wheel
    ON_REQUEST
    ON_ACK
    ON_1XX
    ON_2XX
    ON_300                  # to 699
    ON_RESEND               # timer A, E or G
    ON_TIMEOUT              # timer B, F or H
    ON_LINGER               # timer D, I, J, K, L or M
    ON_CANCELLED            # 64*T1 after the CANCEL
    ON_ERROR                # of the transport
    EVENTS_COUNT

cdef enum Action:
    DEFINED = 1             # there is a row
    SEND = 2
    KEEP = 4
    ACK = 8
    TELL = 16
    FAIL = 32
    STOP = 64

cdef struct Step:
    unsigned char next      # a State
    unsigned char actions   # Actions; 0 where there is no row
    char resend             # letter of the timer to start, or 0
    char end                # likewise, of those that run out once

cdef struct Machine:
    Step initial
    Step steps[7][10]       # by State and Event

cdef const Machine *client_machine(bint invite) noexcept
cdef const Machine *server_machine(bint invite) noexcept
cdef int kind_of(int letter) noexcept      # the Event that a timer is

# The Event that a response is.
cdef inline int event_of(int status) noexcept:
    return ON_1XX if status < 200 else ON_2XX if status < 300 else ON_300
