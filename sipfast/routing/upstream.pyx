"""The servers behind this one: which of their addresses answer, and which one a request goes to.

An address is *up* until it lets requests wait for `timeout` without a word: not even a 100, and nothing else either. Half
that time into its silence it is asked by an OPTIONS, since a server may drop a request of one kind and be well. One that
is *down* gets no requests; an OPTIONS goes to it every `probe_interval`, and any message from it but a 503 brings it
back. Whoever waits for it when it goes down is told, and finds another way (RFC 3263 §4.3).

The addresses of one `[[upstream]]` stand in for each other. Requests stay with one of them until it goes down, and do not
go back when the one before is up again: registrars that do not share what they know would lose registrations by each
change, and to those that do it makes no difference.

Of several workers each keeps its own view, and one that sees a change tells the others, so that all choose alike. Worker 0
probes and logs for all; the others remind it of what is down, since a notice may be lost.
"""

import logging

import cython

from libc.stdint cimport int64_t

from .._flow cimport Flow
from .._listener cimport Listener, listener_at
from .._parser cimport Message
from ..transaction.client cimport OUTCOME_UNREACHABLE, ClientTransaction
from ..transaction.layer cimport TransactionLayer
from ..transaction.server cimport Handler
from .._wheel cimport Timed, Wheel

from ..config.addresses import in_uri, parse_upstream
from ..errors import ConfigError

log = logging.getLogger("sipfast.routing.upstream")

cdef str UNREACHABLE = "cannot be reached"

cdef enum:
    SILENCE = 1         # payload: Member
    PROBE = 2


cdef class Waiter(Handler):

    cdef int unanswered(self, ClientTransaction transaction, int64_t now) except -1:
        return 0


@cython.final
cdef class Member(Handler):

    def __init__(self, Flow flow not None, int64_t timeout, int64_t probe_interval):
        self.flow = flow
        self.timeout = timeout
        self.probe_interval = probe_interval
        self.name = (b"[%b]:%d" if flow.family == 6 else b"%b:%d") % (flow.host_text(), flow.port)
        self.waiting = {}

    cdef int wait_for(self, ClientTransaction transaction, int64_t now) except -1:
        self.waiting[transaction] = now
        if not self.timer:
            self.timer = self.all.wheel.schedule(now + self.timeout // 2, self.all, SILENCE, self)
        return 0

    cdef int note_answer(self, ClientTransaction transaction, int status, int64_t now) except -1:
        self.waiting.pop(transaction, None)
        return self.hear(now) if status != 503 or not self.down else 0

    cdef int wait_no_more(self, ClientTransaction transaction) except -1:
        self.waiting.pop(transaction, None)
        return 0

    cdef int note_failure(self, ClientTransaction transaction, int status, int64_t now) except -1:
        cdef object since = self.waiting.pop(transaction, None)
        if status == OUTCOME_UNREACHABLE:     # RFC 3261 §18.4
            return self.mark_down(now, UNREACHABLE, False)
        if since is not None and self.heard < <int64_t>since:
            return self.mark_down(now, "no answer", False)
        return 0

    cdef int hear(self, int64_t now) except -1:
        self.heard = now
        return self.mark_up(now, False) if self.down else 0

    cdef int look_at_silence(self, int64_t now) except -1:
        # SILENCE ran out: how long has somebody waited while nothing came?
        cdef int64_t since, quiet
        if not self.waiting:
            return 0
        since = max(self.heard, <int64_t>next(iter(self.waiting.values())))
        quiet = now - since
        if quiet >= self.timeout:
            return self.mark_down(now, f"no answer for {self.timeout / 1000:g} s", False)
        if quiet >= self.timeout // 2:
            self.ask_options(now)
            since += self.timeout
        else:
            since += self.timeout // 2
        self.timer = self.all.wheel.schedule(max(since, now + 1), self.all, SILENCE, self)
        return 0

    cdef int mark_down(self, int64_t now, str reason, bint told) except -1:
        cdef dict waiting = self.waiting
        cdef ClientTransaction transaction
        cdef Waiter waiter
        failed = None
        if self.down:
            return 0
        self.stop()
        self.down = True
        self.since = now
        self.waiting = {}
        self.all.failures += not told
        self.all.changed(self, reason, now, told)
        if self.all.worker == 0:
            self.ask_options(now)
        self.timer = self.all.wheel.schedule(now + self.probe_interval, self.all, PROBE, self)
        for transaction in waiting:
            waiter = <Waiter>transaction.handler      # held: it may let go of all that holds it
            if waiter is not None:
                try:
                    waiter.unanswered(transaction, now)
                except Exception as error:    # the others have their turn
                    failed = error
                    waiter.on_fault(now)
        if failed is not None:
            raise failed
        return 0

    cdef int mark_up(self, int64_t now, bint told) except -1:
        if not self.down:
            return 0
        self.stop()
        self.down = False
        self.heard = now
        return self.all.changed(self, "", now, told)

    cdef int stop(self) except -1:
        if self.timer:
            self.all.wheel.cancel(self.timer)
            self.timer = 0
        if self.probe is not None:
            self.probe.abandon()
            self.probe = None
        return 0

    # ---- probes

    cdef int ask_options(self, int64_t now) except -1:
        # RFC 3261 §11: addressed to the server itself. One at a time: what has got no answer by now is given up.
        cdef TransactionLayer transactions = self.all.transactions
        cdef bytes branch, unique
        cdef Listener ours = listener_at(self.all.listeners, self.flow.local)
        if self.probe is not None:
            self.probe.abandon()
        branch = transactions.new_branch(0)
        unique = branch[len(b"z9hG4bK"):]     # as unique as the branch, and as hard to guess
        self.probe = transactions.start(b"".join((
            b"OPTIONS sip:", self.name, b" SIP/2.0\r\n", ours.via, branch,
            b";rport\r\nMax-Forwards: 70\r\nFrom: <sip:", ours.sent_by, b">;tag=", unique[24:32], b"\r\nTo: <sip:", self.name,
            b">\r\nCall-ID: ", unique, b"\r\nCSeq: 1 OPTIONS\r\n", ours.contact,
            b"Content-Length: 0\r\n\r\n")), branch, self.flow, self, now)
        return 0

    cpdef int on_response(self, ClientTransaction transaction, Message response, int64_t now) except -1:
        if response.status >= 200 and transaction is self.probe:
            self.probe = None
        if response.status != 503:            # RFC 3261 §21.5.4: it is there, and serves nobody
            self.hear(now)
        return 0

    cpdef int on_failure(self, ClientTransaction transaction, int status, int64_t now) except -1:
        if transaction is self.probe:
            self.probe = None
        return self.mark_down(now, UNREACHABLE, False) if status == OUTCOME_UNREACHABLE else 0

    cdef bytes retry_after(self):
        # RFC 3261 §20.33: by then it has been probed again.
        return b"Retry-After: %d\r\n" % ((self.probe_interval + 999) // 1000)

    def __repr__(self):
        return f"Member({self.name.decode()!r}, {'down' if self.down else 'up'})"


@cython.final
cdef class Group:

    def __init__(self, members, bint by_token=False, names=None):
        self.members = tuple(members)
        self.by_token = by_token
        self.names = dict(names or {})

    cdef Member choice(self):
        cdef Member member = <Member>self.members[self.current]
        cdef int i
        if not member.down:
            return member
        for i in range(len(self.members)):
            member = <Member>self.members[i]
            if not member.down:
                self.current = i
                return member
        return None

    cdef Member stand_in(self, list tried):
        cdef Member member = self.choice()
        if member is None or member not in tried:
            return member
        for member in self.members:
            if not member.down and member not in tried:
                return member
        return None

    cdef bytes retry_after(self):
        return (<Member>self.members[0]).retry_after()


@cython.final
cdef class Upstreams(Timed):
    """All of them. `groups` are of Member; one that several groups name is one and the same."""

    def __init__(self, groups):
        self.groups = tuple(groups)
        self.members = tuple(dict.fromkeys(member for group in self.groups for member in (<Group>group).members))
        for number, member in enumerate(self.members):
            (<Member>member).number = number
            (<Member>member).all = self

    cdef int start(self, TransactionLayer transactions, Wheel wheel, tuple listeners, dict hosts, int worker,
                   object post) except -1:
        self.transactions = transactions
        self.wheel = wheel
        self.listeners = listeners
        self.hosts = hosts
        self.worker = worker
        self.post = post
        return 0

    cdef Member at(self, Flow flow):
        for member in self.members:
            if (<Member>member).flow.same_peer(flow):
                return <Member>member
        return None

    cdef int hear(self, Flow flow, int64_t now) except -1:
        cdef Member member = self.at(flow)
        return member.hear(now) if member is not None else 0

    cpdef int expired(self, int kind, object payload, int64_t now) except -1:
        cdef Member member = <Member>payload
        member.timer = 0
        if kind == SILENCE:
            return member.look_at_silence(now)
        if self.worker == 0:
            member.ask_options(now)
        else:
            self.post(b"? " + self.state_of(member), 0)      # who probes may have been told nothing, or know better
        member.timer = self.wheel.schedule(now + member.probe_interval, self, PROBE, member)
        return 0

    cdef int changed(self, Member member, str reason, int64_t now, bint told) except -1:
        self.choose()
        if self.worker == 0:
            event = {"upstream": member.name.decode()}
            if member.down:
                log.warning("upstream-down", extra={"sip": event | {"reason": reason}})
            else:
                log.warning("upstream-up", extra={"sip": event | {"down_for": (now - member.since) / 1000}})
        if not told and self.post is not None:
            self.post(self.state_of(member), -1)
        return 0

    cdef int choose(self) except -1:
        # What each group chooses now, and with it the address that a Route means by a name of several (RFC 3263 §4.3).
        cdef Group group
        cdef Member choice
        for group in self.groups:
            choice = group.choice()
            for name, members in group.names.items():
                up = [member for member in members if not (<Member>member).down] or members
                self.hosts[name] = (<Member>(choice if choice in up else up[0])).flow.host
        return 0

    # ---- other workers

    # One address, whether it is down, and each group's choice.
    cdef bytes state_of(self, Member member):
        numbers = [member.number, <int>member.down, *((<Group>group).current for group in self.groups)]
        return b" ".join(b"%d" % number for number in numbers)

    cdef list states(self):
        return [self.state_of(<Member>member) for member in self.members]

    cdef int told(self, bytes body, int64_t now) except -1:
        cdef Member member
        cdef bint asked = body.startswith(b"? ")
        number, down, *currents = [int(text) for text in body[2 if asked else 0:].split()]
        member = self.members[number]
        if asked:
            # Not down here: it has answered since, or its going down was told to nobody. Who asks finds out which.
            if not member.down:
                self.post(self.state_of(member), -1)
            return 0
        if down:
            member.mark_down(now, "another worker had no answer", True)
        else:
            member.mark_up(now, True)
        for group, current in zip(self.groups, currents, strict=True):
            (<Group>group).current = current
        return self.choose()


def make_group(upstream, hosts, resolve, known):
    members = []
    names = {}
    for uri in upstream.uris:
        host, port = parse_upstream(uri)
        named = []
        for address in hosts.get(host, [host]):
            flow = resolve(f"sip:{in_uri(address)}:{port}".encode())
            if flow is None:
                raise ConfigError(f"upstream {uri}: {address} has no address of a family that is listened on")
            if flow not in known:
                known[flow] = Member(flow, round(upstream.timeout * 1000), round(upstream.probe_interval * 1000))
            named.append(known[flow])
        if len(named) > 1:
            names[host.encode()] = named
        members += named
    return Group(dict.fromkeys(members), upstream.contact == "token", names)
