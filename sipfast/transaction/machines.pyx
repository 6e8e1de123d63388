"""The four state machines of RFC 3261 §17 as amended by RFC 6026.

They are the tables below, and nothing else decides what a transaction does: it looks a row up by its state and the
event, carries out the actions and takes the next state. What has no row is ignored.

    send        pass the response at hand to the transport, or again what was kept: the request, its ACK, the response
    keep        keep the response for that
    ack         make the ACK of §17.1.1.3, keep and send it
    tell        pass the response (client), or the ACK (server), to the transaction user
    fail        the transaction user hears that it is over: 408 after a timer, unreachable after a transport error
    start, stop of timers; A, E and G start at T1 and double each time, E and G up to T2, E at T2 once a 1xx has come
"""

from libc.string cimport memset

STATES = ("Calling", "Trying", "Proceeding", "Accepted", "Completed", "Confirmed", "Terminated")

# State, event, next state, actions.
INVITE_CLIENT = (  # RFC 6026 §8.4, figure 5
    ("", "request", "Calling", "send, start A, start B"),
    ("Calling", "timer A", "Calling", "send, start A"),
    ("Calling", "timer B", "Terminated", "stop, fail"),
    ("Calling", "transport error", "Terminated", "stop, fail"),
    ("Calling", "1xx", "Proceeding", "stop, tell"),
    ("Calling", "2xx", "Accepted", "stop, tell, start M"),
    ("Calling", "300-699", "Completed", "stop, ack, tell, start D"),
    ("Proceeding", "1xx", "Proceeding", "tell"),
    ("Proceeding", "2xx", "Accepted", "stop, tell, start M"),
    ("Proceeding", "300-699", "Completed", "stop, ack, tell, start D"),
    ("Proceeding", "64*T1 after CANCEL", "Terminated", "stop, fail"),  # RFC 3261 §9.1
    ("Proceeding", "transport error", "Terminated", "stop, fail"),  # RFC 3261 §17.1.4: it rang, and is gone
    ("Accepted", "2xx", "Accepted", "tell"),
    ("Accepted", "timer M", "Terminated", "stop"),
    ("Completed", "300-699", "Completed", "send"),
    ("Completed", "transport error", "Terminated", "stop, fail"),
    ("Completed", "timer D", "Terminated", "stop"),
)
CLIENT = (  # RFC 3261 §17.1.2.2, figure 6
    ("", "request", "Trying", "send, start E, start F"),
    ("Trying", "timer E", "Trying", "send, start E"),
    ("Trying", "timer F", "Terminated", "stop, fail"),
    ("Trying", "transport error", "Terminated", "stop, fail"),
    ("Trying", "1xx", "Proceeding", "tell"),
    ("Trying", "200-699", "Completed", "stop, tell, start K"),
    ("Proceeding", "timer E", "Proceeding", "send, start E"),
    ("Proceeding", "timer F", "Terminated", "stop, fail"),
    ("Proceeding", "transport error", "Terminated", "stop, fail"),
    ("Proceeding", "1xx", "Proceeding", "tell"),
    ("Proceeding", "200-699", "Completed", "stop, tell, start K"),
    ("Completed", "200-699", "Completed", ""),
    ("Completed", "timer K", "Terminated", "stop"),
)
INVITE_SERVER = (  # RFC 6026 §8.5 to §8.8, figure 7; the user gives the 100
    ("", "request", "Proceeding", ""),
    ("Proceeding", "request", "Proceeding", "send"),
    ("Proceeding", "1xx", "Proceeding", "keep, send"),
    ("Proceeding", "2xx", "Accepted", "keep, send, start L"),
    ("Proceeding", "300-699", "Completed", "keep, send, start G, start H"),
    ("Proceeding", "transport error", "Proceeding", ""),
    ("Accepted", "request", "Accepted", ""),
    ("Accepted", "2xx", "Accepted", "send"),
    ("Accepted", "ACK", "Accepted", "tell"),
    ("Accepted", "transport error", "Accepted", ""),
    ("Accepted", "timer L", "Terminated", "stop"),
    ("Completed", "request", "Completed", "send"),
    ("Completed", "timer G", "Completed", "send, start G"),
    ("Completed", "ACK", "Confirmed", "stop, start I"),
    ("Completed", "transport error", "Completed", ""),
    ("Completed", "timer H", "Terminated", "stop, fail"),
    ("Confirmed", "request", "Confirmed", ""),
    ("Confirmed", "ACK", "Confirmed", ""),
    ("Confirmed", "timer I", "Terminated", "stop"),
)
SERVER = (  # RFC 3261 §17.2.2, figure 8; RFC 6026 §8.8 for transport errors
    ("", "request", "Trying", ""),
    ("Trying", "request", "Trying", ""),
    ("Trying", "1xx", "Proceeding", "keep, send"),
    ("Trying", "200-699", "Completed", "keep, send, start J"),
    ("Proceeding", "request", "Proceeding", "send"),
    ("Proceeding", "1xx", "Proceeding", "keep, send"),
    ("Proceeding", "200-699", "Completed", "keep, send, start J"),
    ("Proceeding", "transport error", "Proceeding", ""),
    ("Completed", "request", "Completed", "send"),
    ("Completed", "transport error", "Completed", ""),
    ("Completed", "timer J", "Terminated", "stop"),
)


def durations(int t1, int t2, int t4):
    """Timer: ms on unreliable and on reliable flows, -1: not started (RFC 3261 §17 table 4, RFC 6026 §8.11)."""
    cdef int long = 64 * t1
    return {
        "A": (t1, -1), "B": (long, long), "D": (max(32_000, long), 0), "E": (t1, -1), "F": (long, long),
        "G": (t1, -1), "H": (long, long), "I": (t4, 0), "J": (long, 0), "K": (t4, 0), "L": (long, long),
        "M": (long, long),
    }


# ---- the tables as the machine reads them

cdef Machine MACHINES[4]

cdef dict EVENTS_OF = {
    "request": (ON_REQUEST,), "ACK": (ON_ACK,), "1xx": (ON_1XX,), "2xx": (ON_2XX,), "300-699": (ON_300,),
    "200-699": (ON_2XX, ON_300), "64*T1 after CANCEL": (ON_CANCELLED,), "transport error": (ON_ERROR,),
}
cdef dict ACTIONS_OF = {"send": SEND, "keep": KEEP, "ack": ACK, "tell": TELL, "fail": FAIL, "stop": STOP}


cdef int kind_of(int letter) noexcept:
    if letter == b"A" or letter == b"E" or letter == b"G":
        return ON_RESEND
    if letter == b"B" or letter == b"F" or letter == b"H":
        return ON_TIMEOUT
    return ON_LINGER


cdef Step read_step(str following, str actions):
    cdef Step step = Step(<unsigned char>STATES.index(following), DEFINED, 0, 0)
    for action in actions.split(", ") if actions else ():
        if action.startswith("start "):
            if kind_of(ord(action[6])) == ON_RESEND:
                step.resend = ord(action[6])
            else:
                step.end = ord(action[6])
        else:
            step.actions |= <unsigned char>ACTIONS_OF[action]
    return step


cdef int read_table(Machine *machine, rows) except -1:
    cdef Step step
    memset(machine, 0, sizeof(Machine))
    for state, event, following, actions in rows:
        step = read_step(following, actions)
        if not state:
            machine.initial = step
            continue
        for number in EVENTS_OF[event] if event in EVENTS_OF else (kind_of(ord(event[6])),):
            machine.steps[<int>STATES.index(state)][<int>number] = step
    return 0


read_table(&MACHINES[0], CLIENT)
read_table(&MACHINES[1], INVITE_CLIENT)
read_table(&MACHINES[2], SERVER)
read_table(&MACHINES[3], INVITE_SERVER)


cdef const Machine *client_machine(bint invite) noexcept:
    return &MACHINES[1 if invite else 0]


cdef const Machine *server_machine(bint invite) noexcept:
    return &MACHINES[3 if invite else 2]
