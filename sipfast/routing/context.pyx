"""Response contexts (RFC 3261 §16.7): what gathers the responses to all branches of one request, and chooses the answer.

A response goes back as it came, less our Via (§16.7 step 3). A branch that says nothing is ended by Timer C (§16.8), one that
cannot be reached is lost (§16.9), and a CANCEL goes to all that are still waited for (§16.10).
"""

import cython

from cpython.bytes cimport PyBytes_GET_SIZE
from libc.stdint cimport int64_t

from .._flow cimport Flow
from .._parser cimport H_PROXY_AUTHENTICATE, H_REASON, H_WWW_AUTHENTICATE, M_BYE, M_REGISTER, Message
from .._wheel cimport Timed
from .._edits cimport Edits, drop_top_via
from .._writer cimport make_response
from ..transaction.client cimport OUTCOME_UNREACHABLE, ClientTransaction
from ..transaction.server cimport ServerTransaction
from ..transaction.transaction cimport PROVISIONAL
from .upstream cimport Waiter

cdef enum:
    TIMER_C = 1
    DOUBTFUL_PATIENCE = 3_000   # ms: three of its INVITEs, in place of the seven of Timer B
    MOST_REASON = 1_000     # bytes: a CANCEL may not be larger than its INVITE could have been

# §16.7 step 6: within 4xx these tell the caller what to change, so they win; a timeout tells it least.
cdef tuple TELLING = (401, 407, 415, 420, 484)

# RFC 3326 §3.1: a phone that is not to log a missed call.
cdef bytes ELSEWHERE = b'Reason: SIP;cause=200;text="Call completed elsewhere"\r\n'


cdef long contexts = 0


def live_contexts():
    """Response contexts alive in this process, for tests."""
    return contexts


# RFC 3326 §2: what the caller's CANCEL says goes into ours.
cdef bytes reason_lines(Message cancel):
    cdef bytes lines = b""
    cdef int field = cancel.first[<int>H_REASON]
    while field != -1:
        lines += b"Reason: " + cancel.text(cancel.fields[field].value) + b"\r\n"
        field = cancel.fields[field].next
        if PyBytes_GET_SIZE(lines) > MOST_REASON:
            return b""
    return lines


# Contexts and branches refer to each other and to their transactions, until `on_gone` takes them apart: the collector is
# not needed for that, and half a minute's calls are too many to have it look at.
@cython.final
@cython.no_gc
@cython.freelist(64)
cdef class Branch:
    pass


cdef bytes upward(Edits edits, Message response):
    edits.clear()
    drop_top_via(edits, response)
    return edits.apply(response)


cdef int rank(int status) noexcept:
    # The lower, the better. §16.7 step 6: any 6xx, else the lowest class. Who cannot be reached has not answered at all.
    if status == OUTCOME_UNREACHABLE:
        return 1000
    if status >= 600:
        return 0
    if status == 408:
        return 499
    if status in TELLING:
        return 400
    return status // 100 * 100 + 50


@cython.final
@cython.no_gc
cdef class ResponseContext(Waiter):

    def __cinit__(self):
        global contexts
        contexts += 1

    def __dealloc__(self):
        global contexts
        contexts -= 1

    # ---- its branches

    cdef Branch add_branch(self):
        cdef Branch branch = Branch.__new__(Branch)
        branch.context = self
        branch.noted_at = -1
        if self.last is None:
            self.first = branch
        else:
            self.last.next = branch
        self.last = branch
        self.pending += 1
        return branch

    cdef Branch branch_of(self, ClientTransaction transaction):
        cdef Branch branch = self.first
        while branch is not None and branch.transaction is not transaction:
            branch = branch.next
        return branch

    cdef Branch known_branch(self, Flow way):
        cdef Branch branch = self.first
        while branch is not None and (
                not branch.known or branch.done or (way is not None and not branch.place.same_peer(way))):
            branch = branch.next
        return branch

    cdef int for_each(self, Deed deed, object given, int64_t now) except -1:
        cdef Branch branch = self.first, following
        while branch is not None:
            following = branch.next
            deed(branch, given, now)
            branch = following
        return 0

    cdef int close(self, Branch branch) noexcept:
        self.stop_timer_c(branch)
        self.pending -= not branch.done
        branch.done = True
        return 0

    cdef int start_timer_c(self, Branch branch, int64_t now) except -1:
        self.stop_timer_c(branch)
        branch.timer_c = self.proxy.wheel.schedule(
            now + (<int64_t>DOUBTFUL_PATIENCE if branch.doubtful else self.proxy.timer_c), self.proxy, TIMER_C, branch)
        return 0

    cdef int stop_timer_c(self, Branch branch) noexcept:
        if branch.timer_c:
            self.proxy.wheel.cancel(branch.timer_c)
            branch.timer_c = 0
        return 0

    # ---- what they are told

    cpdef int on_response(self, ClientTransaction transaction, Message response, int64_t now) except -1:
        cdef Branch branch = self.branch_of(transaction)
        cdef int status = response.status
        if branch is None or self.server is None:
            return 0
        if branch.member is not None:
            branch.member.note_answer(transaction, status, now)
        if branch.doubtful:
            self.resolve_doubt(branch, status, now)
        if branch.given_up and (status < 200 or status >= 300):
            return 0
        if status < 200:
            if status == 100:
                return 0                      # §16.7 step 5: 100 is not passed on
            if branch.timer_c:                # §16.7 step 2
                self.start_timer_c(branch, now)
            if self.awaited:
                self.note_acceptance(branch, status, now)
            if not self.rang_at and (status == 180 or status == 183):
                self.rang_at = now
            self.renew_note(branch, now + self.proxy.timer_c)
            if not self.final_sent:
                self.server.respond(upward(self.proxy.edits, response), status, now)
            return 0
        # What was refused, too: a caller who has not heard it repeats its INVITE, perhaps to another worker.
        self.renew_note(branch, now + 64 * self.proxy.transactions.t1)
        if status == 482 and self.is_known_from_before(branch):
            return self.wait_for_former(branch, response, now)
        if self.awaited:
            self.note_acceptance(branch, status, now)
        self.close(branch)
        if status < 300:
            return self.pass_on_2xx(response, now)
        self.consider(response, status)
        if status == 503:
            self.try_elsewhere(now)
        if status >= 600:                     # §16.7 step 5: a 6xx ends the other branches, and waits for them
            self.cancel_pending(b"", now)
        return self.finish_when_all_done(now)

    cdef bint is_known_from_before(self, Branch branch) except -1:
        # The phone has it by another way (§8.2.2.2): forwarded by us before a restart, which the caller did not notice, or
        # by another worker, since the caller's NAT has given it another port. What the phone answers to that one is the
        # answer; telling the caller 482 would only make it deaf to it.
        cdef Flow way
        if self.final_sent or self.former is None:
            return False
        for _mark, way in self.former:
            if way is not None and branch.place is not None and way.same_peer(branch.place):
                return True
        return False

    cdef int wait_for_former(self, Branch branch, Message response, int64_t now) except -1:
        branch.known = True
        self.known_answer = response
        self.known_key = (self.request.text(self.request.call_id), self.request.text(self.request.via.branch))
        self.proxy.known[self.known_key] = self
        return self.start_timer_c(branch, now)

    cdef int receive_stray(self, Message response, int64_t now) except -1:
        # The answer to the INVITE of before the restart, in place of the one that a known branch will never have.
        cdef Branch branch
        if self.awaited:
            self.note_acceptance(self.known_branch(None), response.status, now)
        if response.status < 200:
            self.for_each(prolong_known, None, now)
            if not self.final_sent:
                self.server.respond(upward(self.proxy.edits, response), response.status, now)
            return 0
        branch = self.known_branch(None)
        if branch is not None:
            self.close(branch)
        if response.status < 300:
            return self.pass_on_2xx(response, now)
        self.consider(response, response.status)
        return self.finish_when_all_done(now)

    cdef int note_acceptance(self, Branch branch, int status, int64_t now) except -1:
        # What an upstream does not refuse it takes for its sender's: it has not looked at a request that it does not
        # understand, nor believed who is to prove himself (RFC 3261 §22.2, §22.3) or may not call.
        if status <= 100 or status == 400 or status == 401 or status == 403 or status == 407:
            return 0
        self.awaited = False
        self.vouched = branch is not None and branch.member is not None
        return self.proxy.observer.accepted(self, now) if self.caller is not None else 0

    cdef int pass_on_2xx(self, Message response, int64_t now) except -1:
        # §16.7 step 5: a 2xx to INVITE goes up at once, even after another final response.
        cdef Message request = self.request
        if self.final_sent:
            if self.server.invite:
                self.server.respond(upward(self.proxy.edits, response), response.status, now)
            return 0
        if request.method == M_REGISTER:
            response = self.proxy.observer.registered(self, response, now)
        if self.caller is not None:
            self.proxy.observer.answered(self, response, now)
        self.server.respond(upward(self.proxy.edits, response), response.status, now)
        if request.method == M_BYE:
            self.proxy.observer.ended(self, True, now)
        self.cancel_pending(ELSEWHERE if self.server.invite else b"", now)      # §16.7 step 10
        self.forget_request(now)
        return 0

    cdef int forget_request(self, int64_t now) except -1:
        # The final response was given. What lingers, for half a minute, passes on 2xx and needs none of this.
        self.final_sent = True
        self.request = None
        self.original = None
        self.flow = self.first_flow = None
        self.best = None
        self.known_answer = None
        self.former = None
        self.challenges = None
        self.caller = None
        self.callee = None
        if self.server is not None and not self.server.invite:
            self.server.handler = None        # §16.7 step 5: any other request has one final response, and it had it
            self.on_gone(self.server, now)
        return 0

    cpdef int on_failure(self, ClientTransaction transaction, int status, int64_t now) except -1:
        cdef Branch branch = self.branch_of(transaction)
        if branch is None or self.server is None:
            return 0
        self.stop_timer_c(branch)
        self.renew_note(branch, 0)
        if branch.member is not None:
            branch.member.note_failure(transaction, status, now)
        if (self.server.invite and branch.member is None and branch.place is not None and not branch.known
                and not branch.transaction.marks & PROVISIONAL and self.request is not None):
            self.proxy.observer.silent(self, branch.place, now)
        if branch.done:
            return 0
        self.close(branch)
        if status == OUTCOME_UNREACHABLE and self.cancelled:
            self.consider(None, 487)          # §9.1: it rings no more, which is what the caller wants
        elif branch.transaction.marks & PROVISIONAL or not self.try_elsewhere(now):
            if status == OUTCOME_UNREACHABLE:
                self.consider_unreachable(branch)             # §16.9
            else:
                self.consider(None, self.status_of_silence() if self.retry_after is None else 503)      # §16.8
        return self.finish_when_all_done(now)

    cdef int unanswered(self, ClientTransaction transaction, int64_t now) except -1:
        # The upstream's address that it went to is down, and has said nothing at all.
        cdef Branch branch = self.branch_of(transaction)
        if branch is None or self.server is None or branch.done:
            return 0
        branch.given_up = True
        give_up(branch, None, now)            # §9.1: the CANCEL goes out where it does answer with a 1xx, late
        if not self.try_elsewhere(now):
            self.consider(None, 487 if self.cancelled else 503)
        return self.finish_when_all_done(now)

    cdef int resolve_doubt(self, Branch branch, int status, int64_t now) except -1:
        if status == 408 or status == 430 or status == 503 or status == 504:
            return 0                          # of a hop in between, which has not reached it either
        branch.doubtful = False
        if branch.timer_c:
            self.start_timer_c(branch, now)
        return self.proxy.observer.heard(self, branch.place, now) if self.request is not None else 0

    cdef int end_by_timer_c(self, Branch branch, int64_t now) except -1:
        if branch.doubtful:
            branch.given_up = True
            give_up(branch, None, now)        # §9.1: the CANCEL goes out where it does answer with a 1xx, late
            self.consider(None, self.status_of_silence())
            return self.finish_when_all_done(now)
        if branch.transaction.marks & PROVISIONAL and not branch.known:    # §16.8
            branch.transaction.cancel(now)
            return 0
        self.close(branch)
        if branch.known and not self.cancelled:
            self.consider(self.known_answer, 482)
        else:
            self.consider(None, self.status_of_silence())
        return self.finish_when_all_done(now)

    cpdef int on_cancel(self, ServerTransaction transaction, Message cancel, int64_t now) except -1:
        self.cancelled = True
        if self.known_key is not None:
            self.proxy.cancel_former(self, cancel, now)
        self.cancel_pending(reason_lines(cancel), now)      # §16.10
        return self.finish_when_all_done(now)

    cpdef int on_gone(self, ServerTransaction transaction, int64_t now) except -1:
        # The server side is over. The client transactions may linger; what they bring is of no more use.
        if self.known_key is not None:
            self.proxy.known.pop(self.known_key, None)
        self.for_each(detach, None, now)
        self.first = self.last = None
        self.pending = 0
        self.server = None
        return 0

    cpdef int on_fault(self, int64_t now) except -1:
        # RFC 3261 §21.5.1. Nobody waits for its branches any more: §9.1 for those that ring, the rest is sent no more.
        cdef ServerTransaction server = self.server
        if server is None:
            return 0
        self.for_each(give_up, None, now)
        if not self.final_sent:
            server.respond(make_response(self.request, 500, self.flow, server.tag(), b"", None, b""), 500, now)
            if self.caller is not None:
                self.proxy.observer.failed(self, 500, now)
        server.handler = None
        return self.on_gone(server, now)

    cdef int consider(self, Message response, int status) except -1:
        if self.final_sent:                   # a loser's 487, say
            return 0
        if response is not None and (status == 401 or status == 407):
            if self.challenges is None:
                self.challenges = []
            self.challenges.append(response)
        if self.best_status == 0 or rank(status) < rank(self.best_status):
            self.best = response
            self.best_status = status
        return 0

    cdef void renew_note(self, Branch branch, int64_t until) noexcept:
        self.proxy.ringing.keep(branch.noted_at, self.key, branch.number, until)

    cdef int64_t held(self) noexcept:
        cdef Branch branch = self.first
        cdef int64_t held = 0
        while branch is not None:
            if branch.transaction is not None:
                held += branch.transaction.weight
            branch = branch.next
        return held

    cdef list tried(self):
        cdef list found = []
        self.for_each(name_member, found, 0)
        return found

    cdef bint try_elsewhere(self, int64_t now) except -1:
        # A branch to an upstream's address came to nothing: whether there are new ones in its place (RFC 3263 §4.3).
        if self.group is None or self.final_sent or self.cancelled:
            return False
        return self.proxy.observer.lost(self, now)

    cdef int consider_unreachable(self, Branch branch) except -1:
        # §16.9 has a proxy behave as if 503 had come, and §16.7 step 6 make that a 500, for it knows of one request only. We
        # know more: a phone that cannot be reached is 480 (§21.4.18); of an upstream step 6 itself lets us say 503, since
        # whatever we sent there would fare alike; and a token's flow is 430 (RFC 5626 §5.3.1).
        cdef int status = 503 if branch.member is not None else 430 if branch.by_token else 480
        self.unreached = status if self.unreached in (0, status) else 480
        return self.consider(None, OUTCOME_UNREACHABLE)

    cdef int cancel_pending(self, bytes why, int64_t now) except -1:
        return self.for_each(cancel_branch, why, now) if self.server.invite else 0      # §9.1: only INVITE is cancelled

    cdef int status_of_silence(self) noexcept:
        # What no answer at all amounts to. §9.1: who has sent a CANCEL takes the INVITE for cancelled.
        return 487 if self.cancelled else 408

    cdef int finish_when_all_done(self, int64_t now) except -1:
        if self.final_sent or self.pending:
            return 0
        return self.finish(now)

    cdef int finish(self, int64_t now) except -1:
        cdef int status = self.best_status if self.best_status else 408
        if status == OUTCOME_UNREACHABLE:
            status = self.unreached
        if self.request.method == M_BYE:
            self.proxy.observer.ended(self, False, now)
        # Redial may have a better answer to a call: its caller waits for another instead of hearing 480.
        if self.caller is None or not self.proxy.observer.failed(self, status, now):
            self.send_best(status, now)
        self.forget_request(now)
        return 0

    cdef bint is_ours(self, int status) noexcept:
        return self.best is None or status == 503

    cdef bytes tag_of_best(self, int status):
        return self.server.tag() if self.is_ours(status) else self.best.text(self.best.target.tag)

    cdef int send_best(self, int status, int64_t now) except -1:
        cdef bytes data, extra = b""
        if self.is_ours(status):
            # §16.7 step 6: a 503 would speak of us, who are well; downstream's trouble is a 500. But not where all else
            # for that upstream would fare alike.
            if status == 503 and self.retry_after is not None:
                extra = self.retry_after
            elif status == 503 and self.best_status != OUTCOME_UNREACHABLE:
                status = 500
            data = make_response(self.request, status, self.flow, self.server.tag(), extra, None, b"")
        else:
            data = self.with_challenges(self.best)
        return self.server.respond(data, status, now)

    cdef bytes with_challenges(self, Message best):
        # §16.7 step 7: a 401 or 407 carries the challenges of all branches.
        cdef Message other
        cdef Edits edits = self.proxy.edits
        cdef bytes lines = b""
        cdef int i
        if self.challenges is None or (best.status != 401 and best.status != 407):
            return upward(self.proxy.edits, best)
        for other in self.challenges:
            if other is best:
                continue
            for i in range(other.count):
                if other.fields[i].id == H_WWW_AUTHENTICATE or other.fields[i].id == H_PROXY_AUTHENTICATE:
                    lines += other.data[other.fields[i].line:other.fields[i].line_end]
        edits.clear()
        drop_top_via(edits, best)
        if lines:
            edits.replace(best.fields[best.count - 1].line_end, best.fields[best.count - 1].line_end, lines)
        return edits.apply(best)


# ---- what is done with each branch

# A branch that will have no response of its own: its phone rings for the INVITE of before a restart, and has said so.
cdef int prolong_known(Branch branch, object given, int64_t now) except -1:
    return branch.context.start_timer_c(branch, now) if branch.known and not branch.done else 0


# Nothing that comes is of use any more: §9.1 for an INVITE, which may ring; anything else is sent no more.
cdef int give_up(Branch branch, object given, int64_t now) except -1:
    if branch.transaction is not None and not branch.done:
        if branch.transaction.invite:
            branch.transaction.stop_resending()
            branch.transaction.cancel(now)
        else:
            branch.transaction.abandon()
    return branch.context.close(branch)


cdef int cancel_branch(Branch branch, object why, int64_t now) except -1:
    if branch.done:
        return 0
    if branch.known:                          # on_cancel has seen to what rings since before the restart
        branch.context.close(branch)
        return branch.context.consider(None, 487)
    return branch.transaction.cancel(now, <bytes>why) if branch.transaction is not None else 0


cdef int detach(Branch branch, object given, int64_t now) except -1:
    branch.context.stop_timer_c(branch)
    if branch.transaction is not None:
        if branch.member is not None:
            branch.member.wait_no_more(branch.transaction)
        branch.transaction.handler = None
        branch.transaction = None
    branch.context = None
    return 0


cdef int name_member(Branch branch, object members, int64_t now) except -1:
    if branch.member is not None:
        (<list>members).append(branch.member)
    return 0


cdef class CallObserver:

    cdef int accepted(self, ResponseContext context, int64_t now) except -1:
        return 0

    cdef int answered(self, ResponseContext context, Message response, int64_t now) except -1:
        return 0

    cdef int silent(self, ResponseContext context, Flow place, int64_t now) except -1:
        return 0

    cdef int heard(self, ResponseContext context, Flow place, int64_t now) except -1:
        return 0

    cdef bint failed(self, ResponseContext context, int status, int64_t now) except -1:
        return False

    cdef int ended(self, ResponseContext context, bint agreed, int64_t now) except -1:
        return 0

    cdef Message registered(self, ResponseContext context, Message response, int64_t now):
        return response

    cdef bint lost(self, ResponseContext context, int64_t now) except -1:
        return False


cdef class Forwarder(Timed):

    cpdef int expired(self, int kind, object payload, int64_t now) except -1:
        cdef Branch branch = <Branch>payload
        branch.timer_c = 0
        if branch.done or branch.transaction is None:
            return 0
        try:
            return branch.context.end_by_timer_c(branch, now)
        except Exception:
            branch.context.on_fault(now)
            raise

    cdef int cancel_former(self, ResponseContext context, Message cancel, int64_t now) except -1:
        return 0
