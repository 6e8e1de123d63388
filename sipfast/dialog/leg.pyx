"""Legs: dialogs of the server's own with a phone that it has called (RFC 3261 §12), each from its INVITE to its BYE or CANCEL.

A leg is stored, in the batch of each message that changes it, with the requests that wait for an answer as they were sent. So a
new process goes on where an earlier one died: it sends what is pending again, with the same branch, and to the phone that is a
retransmission (§17.2.3), whether the first had left or not.

Who asks who we are (401, 407) is answered with the credentials that the Keyring has for the leg, and not asked for again by the
requests that follow (§22.2, §22.3).

Nobody is called this way but by a recall, and only where a REFER did not do. Whoever has begun a leg is its LegUser.
"""

import cython

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int32_t, int64_t

from .._flow cimport Flow
from .._hash cimport Hash, end_hash64, hex16, mix_bytes, mix_number, start_hash
from .._listener cimport Listener, listener_at
from .._parser cimport (
    H_CONTACT, H_REQUIRE, M_BYE, M_INFO, M_INVITE, M_NOTIFY, M_OPTIONS, M_OTHER, M_PRACK, M_UPDATE, Address, Cursor, Message,
    Span, Uri, as_request_uri, parse_uri_at,
)
from .._wheel cimport Timed
from .._writer cimport has_line_break, make_response
from ..routing.outbound cimport answer_flow
from ..routing.proxy cimport OWN_CALL
from ..transaction.client cimport ClientTransaction
from ..transaction.layer cimport TransactionLayer
from ..transaction.server cimport Handler, ServerTransaction
from ..transaction.transaction cimport CANCEL_SENT, CANCEL_WANTED
from ..trust.credit cimport Credit
from .remote cimport Remote, answer_of, body_of, remote_by, timer_line, uri_in

import re
from zlib import crc32

from ..store.records import ANSWERED, ENDING, INVITED
from . import sdp
from .digest import Answers
from .signing import again, signature_of, signed

cdef enum:
    INITIAL = 1             # CSeq of the INVITE that a leg begins with
    MOST_ACKS = 8           # that are kept to be repeated
    PURPOSE_ACK = 0x61636b

cdef bytes ALLOW = b"Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, NOTIFY, INFO, UPDATE\r\n"
cdef bytes SDP = b"Content-Type: application/sdp\r\n"
# Those that set the remote target have a Contact (RFC 3261 §12.2.1.1, RFC 3311 §5.1, RFC 3515 §2.2).
cdef set WITH_CONTACT = {b"INVITE", b"UPDATE", b"REFER", b"SUBSCRIBE", b"NOTIFY"}
LOOSE = re.compile(rb";lr(?=[;>= \t]|$)", re.IGNORECASE)      # in what follows the host of a Route value


cdef class Ground(Timed):

    cdef Leg make(self, bytes call_id, bytes tag):
        raise NotImplementedError

    cdef int keep(self, Leg leg) except -1:
        raise NotImplementedError

    cdef int drop(self, Leg leg, int64_t now) except -1:
        raise NotImplementedError

    cdef int orphan(self, Leg leg, int64_t now) except -1:
        raise NotImplementedError


cdef class Keyring:

    cdef tuple credentials_of(self, Leg leg):
        return ()


cdef class LegUser(Timed):
    """Who has begun a leg. Most hear of little."""

    cdef int ringing(self, Leg leg, Remote remote, Message response, int64_t now) except -1:
        return 0

    cdef int answered(self, Leg leg, Message response, int64_t now) except -1:
        return 0

    cdef int refused(self, Leg leg, int status, str answer, int64_t now) except -1:
        return 0

    cdef int replied(self, Leg leg, LegRequest request, int status, Message response, int64_t now) except -1:
        return 0

    cdef bint asked(self, Leg leg, ServerTransaction server, Message request, Flow flow, int64_t now) except -1:
        return False

    cdef int confirmed(self, Leg leg, Message ack, int64_t now) except -1:
        return 0

    cdef int hung_up(self, Leg leg, int64_t now) except -1:
        return 0


cdef class LegRequest(Handler):
    """A request of ours within a leg."""

    cpdef int on_response(self, ClientTransaction transaction, Message response, int64_t now) except -1:
        return self.leg.responded(self, response, now)

    cpdef int on_failure(self, ClientTransaction transaction, int status, int64_t now) except -1:
        return self.leg.failed(self, status, now)

    cpdef int on_fault(self, int64_t now) except -1:
        # Whoever uses it may not know what has become of it: it ends.
        return self.leg.ground.orphan(self.leg, now)


@cython.final
cdef class Ok(Timed):
    """A 2xx of ours to a re-INVITE, repeated until its ACK comes (RFC 3261 §13.3.1.4, §14.2)."""

    cdef Leg leg
    cdef ServerTransaction server
    cdef bytes data
    cdef int64_t pause, until
    cdef object key

    cpdef int expired(self, int kind, object payload, int64_t now) except -1:
        """Time to say it again, or to give the dialog up."""
        cdef TransactionLayer layer = self.leg.ground.transactions
        cdef LegUser user
        if self.leg.over or self.leg.oks.get(self.key) is not self:
            return 0
        if now >= self.until:
            del self.leg.oks[self.key]
            user = self.leg.user
            self.leg.end(now)
            return user.hung_up(self.leg, now) if user is not None else 0
        self.server.respond(self.data, 200, now)
        self.pause = min(2 * self.pause, <int64_t>layer.t2)
        layer.wheel.schedule(min(now + self.pause, self.until), self)
        return 0


cdef class Leg:
    """One dialog. All times are ms."""

    cdef bint is_answered(self) noexcept:
        return self.state == ANSWERED

    cdef LegRequest waiting(self, bytes name):
        cdef LegRequest each
        for each in self.requests:
            if each.name == name:
                return each
        return None

    cdef int take_step(self, str step, int64_t now) except -1:
        self.step = step
        self.stepped = now
        return self.ground.keep(self)

    # ---- what is sent

    cdef bytes text(self, bytes name, int64_t cseq, bytes branch, Remote remote, bytes extra, bytes body):
        # RFC 3261 §12.2.1.1
        cdef Listener ours = listener_at(self.ground.listeners, self.flow.local)
        cdef bytes uri = remote.target
        cdef tuple routes = remote.routes
        if routes and not LOOSE.search(routes[0].rpartition(b"@")[2]):
            uri = uri_in(routes[0])
            routes = (*routes[1:], b"<" + remote.target + b">")
        return b"".join((
            name, b" ", as_request_uri(uri), b" SIP/2.0\r\n", ours.via, branch, b";rport\r\nMax-Forwards: 70\r\n",
            b"".join([b"Route: " + route + b"\r\n" for route in routes]),
            b"From: ", self.local, b"\r\nTo: ", remote.to, b"\r\nCall-ID: ", self.call_id,
            b"\r\nCSeq: %d %b\r\n" % (cseq, name), ours.contact if name in WITH_CONTACT else b"", extra,
            b"Content-Length: %d\r\n\r\n" % PyBytes_GET_SIZE(body), body))

    cdef bint invite(self, bytes extra, bytes body, Credit credit, int64_t now) except -1:
        cdef TransactionLayer layer = self.ground.transactions
        cdef bytes branch, data
        for text in (self.local, self.remote.to, self.remote.target, *self.remote.routes):
            if has_line_break(text):
                raise ValueError(f"a line break in {text!r}")
        branch = layer.new_branch(OWN_CALL if layer.is_own(self.flow) else 0)
        self.seq = INITIAL
        self.offered = body
        data = self.text(b"INVITE", INITIAL, branch, self.remote, ALLOW + extra + (SDP if body else b""), body)
        layer.resume(credit, 0, now)
        if not layer.may_send(PyBytes_GET_SIZE(data), self.flow, False):
            layer.withheld += 1
            layer.release_branch(branch)
            credit.left = 0
            layer.rest()
            return False
        self.since = now
        self.send(b"INVITE", data, branch, now).initial = True
        layer.rest()
        return True

    cdef LegRequest request(self, bytes name, bytes extra, bytes body, Remote remote, int64_t now):
        cdef TransactionLayer layer = self.ground.transactions
        cdef bytes branch = layer.new_branch(OWN_CALL if layer.is_own(self.flow) else 0), data, lines = b""
        self.seq += 1
        data = self.text(name, self.seq, branch, remote, extra, body)
        if self.nonces:                       # RFC 3261 §22.3: who has asked in this dialog need not ask again
            lines = Answers(self.credentials(), self.ground.cnonces, self.nonces).lines(signature_of(data))
            data = signed(data, lines)
        if name == b"INVITE":
            self.proof = lines
        return self.send(name, data, branch, now)

    cdef tuple credentials(self):
        return self.ground.keyring.credentials_of(self) if self.ground.keyring is not None else ()

    cdef LegRequest send(self, bytes name, bytes data, bytes branch, int64_t now):
        cdef LegRequest request = LegRequest.__new__(LegRequest)
        request.leg = self
        request.name = name
        request.cseq = self.seq
        request.data = data
        request.branch = branch
        request.early = self.state == INVITED
        self.requests.append(request)
        request.transaction = self.ground.transactions.start(data, branch, self.way(data, now), request, now)
        self.ground.keep(self)
        return request

    cdef Flow way(self, bytes data, int64_t now):
        # The phone may have moved since (RFC 5626 §5.3): its NAT's rebinding, another address of its own.
        cdef TransactionLayer layer = self.ground.transactions
        return self.flow if layer.guide is None else layer.guide.follow(self.flow, data, 0, now)

    cdef int resume(self, LegRequest request, int64_t now) except -1:
        if request.transaction is None:
            request.transaction = self.ground.transactions.start(
                request.data, request.branch, self.way(request.data, now), request, now)
        return 0

    cdef int take_up(self, LegRequest request, int64_t now) except -1:
        # As `resume`, but an INVITE is not sent again: the phone has it.
        if request.name != b"INVITE":
            return self.resume(request, now)
        if request.transaction is None:
            request.transaction = self.ground.transactions.take_up(
                request.data, request.branch, self.way(request.data, now), request)
        return 0

    cdef int end(self, int64_t now, bytes why=b"") except -1:
        cdef LegRequest request
        cdef bint answered = self.state == ANSWERED
        if self.over:
            return 0
        if self.state == ENDING and not self.is_left():
            request = self.waiting(b"INVITE")     # what the phone said to it may have come before this process went on to end it
            if request is None or not request.initial or request.transaction is None:
                return 0
            return request.transaction.cancel(now, why)
        self.state = ENDING
        if answered:
            self.request(b"BYE", why, b"", self.remote, now)                    # RFC 3261 §15.1.1
            return 0
        request = self.waiting(b"BYE")
        if request is not None:
            return self.resume(request, now)
        request = self.waiting(b"INVITE")
        if request is None:
            return self.close(now)            # there was no branch to be had for what an earlier process had sent
        self.take_up(request, now)
        request.transaction.cancel(now, why)                                    # §9.1
        return self.ground.keep(self)

    cdef int withdraw(self, int64_t now) except -1:
        cdef LegRequest request = self.waiting(b"INVITE")
        if self.over or self.state != INVITED:
            return 0
        if request is None:
            return self.gone(now)
        self.take_up(request, now)
        return request.transaction.cancel(now)

    cdef int forget(self, LegRequest request) except -1:
        if request.transaction is None:
            self.ground.transactions.release_branch(request.branch)
        return self.finished(request)

    cdef bint is_left(self) except -1:
        # Whether an earlier process has begun to end it, and this one has not gone on with that yet.
        cdef LegRequest each
        for each in self.requests:
            if each.transaction is not None and (each.name == b"BYE" or each.initial):
                return False
        return True

    cdef int acknowledge(self, Message response, bytes extra, bytes body, int64_t now) except -1:
        """The ACK of a 2xx, which has no transaction (RFC 3261 §13.2.2.4): the same each time that the 2xx comes."""
        cdef bytes tag = response.text(response.target.tag), data
        cdef Remote remote = self.remote if self.remote.tag == tag else remote_by(response, self.remote.target)
        cdef object key = (response.cseq.number, tag)
        cdef Hash h
        data = self.acks.get(key)
        if data is None:
            start_hash(&h, &self.ground.names.secret, PURPOSE_ACK)
            mix_bytes(&h, <const unsigned char *>PyBytes_AS_STRING(self.call_id), PyBytes_GET_SIZE(self.call_id))
            mix_bytes(&h, <const unsigned char *>PyBytes_AS_STRING(tag), PyBytes_GET_SIZE(tag))
            mix_number(&h, response.cseq.number)
            data = self.text(b"ACK", response.cseq.number, b"z9hG4bK" + hex16(end_hash64(&h)), remote,
                             self.proof + extra + (SDP if body else b""), body)          # §22.1: as its INVITE has them
            if len(self.acks) >= MOST_ACKS:
                del self.acks[next(iter(self.acks))]
            self.acks[key] = data
        return self.ground.transactions.pass_on(data, self.way(data, now), False)

    cdef bytes own_offer(self):
        self.version += 1
        return sdp.offer(self.ground.hosts[self.flow.local], crc32(self.call_id), self.version)

    cdef bytes relay(self, bytes body):
        self.version += 1
        return sdp.relayed(body, self.ground.hosts[self.flow.local], crc32(self.call_id), self.version)

    # ---- what is answered to that

    cdef int responded(self, LegRequest request, Message response, int64_t now) except -1:
        if (response.status == 401 or response.status == 407) and self.answer_challenge(request, response, now):
            return 0
        if request.name == b"INVITE":
            return self.invite_responded(request, response, now)
        if response.status < 200:
            return 0
        self.finished(request)
        if self.over:
            return 0
        if request.name == b"BYE":
            return self.close(now)
        if request.name == b"UPDATE" and response.status < 300:
            self.refresh_target(response)
        return self.tell_reply(request, response, now)

    cdef bint answer_challenge(self, LegRequest request, Message response, int64_t now) except -1:
        """RFC 3261 §22.2: it is sent again, under the next CSeq and with who we are. False: it is not, and was refused."""
        cdef TransactionLayer layer = self.ground.transactions
        cdef ClientTransaction former = request.transaction
        cdef tuple credentials
        cdef bytes lines, branch, data
        if (self.over or request not in self.requests or former is None or former.marks & (CANCEL_WANTED | CANCEL_SENT)
                or self.state == ENDING and request.name != b"BYE"):
            return False                      # nobody wants it any more
        credentials = self.credentials()
        if not credentials:
            return False
        if request.answers is None:
            request.answers = Answers(credentials, self.ground.cnonces, self.nonces)
        request.answers.credentials = credentials
        lines = request.answers.answer(response, signature_of(request.data))
        if not lines:
            return False
        branch = layer.new_branch(OWN_CALL if layer.is_own(self.flow) else 0)
        data = again(request.data, branch, self.seq + 1, lines)
        if not layer.may_send(PyBytes_GET_SIZE(data), self.flow, False):
            layer.withheld += 1
            layer.release_branch(branch)
            return False
        former.handler = None
        self.seq += 1
        request.cseq, request.data, request.branch = self.seq, data, branch
        if request.name == b"INVITE":
            self.proof = lines
        request.transaction = layer.start(data, branch, self.way(data, now), request, now)
        self.ground.keep(self)
        return True

    cdef int tell_reply(self, LegRequest request, Message response, int64_t now) except -1:
        self.ground.keep(self)
        if self.user is not None:
            self.user.replied(self, request, response.status, response, now)
        # RFC 3261 §12.2.1.2. Some phones know nothing of an early dialog: that is no word on the one that was answered since.
        if response.status == 481 and self.state == ANSWERED and not self.over and not request.early:
            self.gone(now)
        return 0

    cdef int invite_responded(self, LegRequest request, Message response, int64_t now) except -1:
        cdef bytes tag
        cdef Remote remote = None
        if 200 <= response.status < 300:
            return self.accepted(request, response, now)
        if response.status < 200:
            tag = response.text(response.target.tag)
            if request.initial and response.status > 100 and tag:
                # §12.1.2. Several tags: the request was forked somewhere.
                remote = self.early[tag] = remote_by(response, self.remote.target)
            if request.initial and self.state == INVITED and self.user is not None:
                self.user.ringing(self, remote, response, now)
            return 0
        self.finished(request)
        if self.over:
            return 0
        if request.initial:
            self.close(now)
            if self.user is not None:
                self.user.refused(self, response.status, answer_of(response), now)
            return 0
        return self.tell_reply(request, response, now)

    cdef int accepted(self, LegRequest request, Message response, int64_t now) except -1:
        cdef bytes tag = response.text(response.target.tag)
        if request.initial and tag != self.remote.tag:
            return self.first_accepted(request, response, now) if request in self.requests else self.refuse_fork(response, now)
        if request not in self.requests:      # once more: the ACK was lost, or is the user's to send
            return self.acknowledge(response, b"", b"", now) if (request.cseq, tag) in self.acks else 0
        self.finished(request)
        if self.over:
            return self.acknowledge(response, b"", b"", now)
        self.refresh_target(response)
        if body_of(response):
            self.heard = body_of(response)
        if not request.late:
            self.acknowledge(response, b"", b"", now)
        self.ground.keep(self)
        if self.user is not None:
            self.user.replied(self, request, response.status, response, now)
        return 0

    cdef int first_accepted(self, LegRequest request, Message response, int64_t now) except -1:
        cdef bint ending = self.state == ENDING
        cdef Flow direct
        cdef bint routed = len(self.remote.routes) > 0
        self.finished(request)
        self.remote = remote_by(response, self.remote.target)
        self.heard = body_of(response)
        if routed and not self.remote.routes:
            # What stood on the way to it has kept out of the dialog (§16.6 step 4): the phone itself is the next hop.
            direct = flow_to(self.ground, self.remote.target)
            self.flow = direct if direct is not None else self.flow
        self.acknowledge(response, b"", b"", now)
        self.state = ANSWERED
        if ending:                            # the CANCEL came too late (§9.1)
            return self.end(now)
        self.ground.keep(self)
        if self.user is not None:
            self.user.answered(self, response, now)
        return 0

    cdef int refuse_fork(self, Message response, int64_t now) except -1:
        """Another phone has answered, too (RFC 3261 §13.2.2.4): it is told so and sent away."""
        cdef TransactionLayer layer = self.ground.transactions
        cdef bint known = (response.cseq.number, response.text(response.target.tag)) in self.acks
        cdef bytes branch, data
        self.acknowledge(response, b"", b"", now)
        if known:
            return 0
        branch = layer.new_branch(OWN_CALL if layer.is_own(self.flow) else 0)
        data = self.text(b"BYE", response.cseq.number + 1, branch, remote_by(response, self.remote.target), b"", b"")
        layer.start(data, branch, self.way(data, now), None, now)
        return 0

    cdef int failed(self, LegRequest request, int status, int64_t now) except -1:
        self.finished(request)
        if self.over:
            return 0
        if request.name == b"BYE":
            return self.close(now)
        if request.initial:
            self.close(now)
            if self.user is not None:
                self.user.refused(self, status, "cannot be reached" if status < 0 else "none", now)
            return 0
        self.ground.keep(self)
        if self.user is not None:
            self.user.replied(self, request, status, None, now)
        return 0

    cdef int finished(self, LegRequest request) except -1:
        if request in self.requests:
            self.requests.remove(request)
        return 0

    cdef int close(self, int64_t now) except -1:
        cdef LegRequest each
        self.over = True
        for each in self.requests:
            if each.transaction is None:
                self.ground.transactions.release_branch(each.branch)
        self.requests = []                    # nothing is sent again for any of them
        return self.ground.drop(self, now)

    cdef int gone(self, int64_t now) except -1:
        cdef bint ending = self.state == ENDING
        if self.state == INVITED:
            self.end(now)                     # its 2xx was lost, and is still on its way
        else:
            self.close(now)
        if self.user is not None and not ending:
            self.user.hung_up(self, now)
        return 0

    cdef bint stray(self, Message response, int64_t now) except -1:
        """A response to what an earlier process has sent. True: there is a transaction for it now."""
        cdef bytes branch = response.text(response.via.branch), name = response.text(response.cseq.name), tag
        cdef LegRequest each
        for each in self.requests:
            if each.branch == branch and each.name == name and each.transaction is None:
                self.take_up(each, now)
                return True
        if response.cseq.method != M_INVITE or not 200 <= response.status < 300:
            return False
        tag = response.text(response.target.tag)
        if tag == self.remote.tag:            # its ACK was lost, and with it what was to be repeated
            self.acknowledge(response, b"", b"", now)
        elif self.state != INVITED:
            self.refuse_fork(response, now)
        return False

    # ---- what comes within it

    cdef bint is_ours(self, Message request) except -1:
        cdef bytes tag = request.text(request.sender.tag)
        return request.text(request.target.tag) == self.tag and (
            tag == self.remote.tag or tag in self.early or not self.remote.tag)

    cdef bint receive(self, ServerTransaction server, Message request, Flow flow, int64_t now) except -1:
        cdef int status, method = request.method
        cdef bytes unknown
        if not self.is_ours(request):
            return False
        if self.over:
            # Of a call that was cancelled a subscription may be left (RFC 5057 §5): it says how the other one goes.
            status = 200 if method == M_NOTIFY or method == M_BYE else 481
            if method == M_NOTIFY and self.user is not None:
                self.user.asked(self, server, request, flow, now)
            self.answer(server, request, flow, status, b"", b"", now)
            return True
        status = self.check(request)
        if status:
            unknown = b""
            if status == 420:
                unknown = b"Unsupported: " + b", ".join(self.unknown(request)) + b"\r\n"
            self.answer(server, request, flow, status, ALLOW if status in (405, 501) else unknown, b"", now)
            return True
        self.remote_seq = max(self.remote_seq, <int64_t>request.cseq.number)
        if not self.remote.routes and self.state == ANSWERED and flow.transport == self.flow.transport and (
                not self.ground.transactions.is_own(flow)):
            self.flow = answer_flow(request, flow)          # its NAT may have another port for it by now
        if method == M_BYE:
            self.answer(server, request, flow, 200, b"", b"", now)
            self.gone(now)
        elif self.user is not None and self.user.asked(self, server, request, flow, now):
            pass
        elif method == M_INVITE or method == M_UPDATE:
            self.offered_anew(server, request, flow, now)
        else:
            self.answer(server, request, flow, 200, b"", b"", now)
        return True

    cdef int check(self, Message request) except -1:
        """What is wrong with a request: the status to refuse it with, 0 for nothing."""
        cdef int method = request.method
        if <int64_t>request.cseq.number < self.remote_seq:
            return 500                        # RFC 3261 §12.2.2
        if method == M_OTHER:
            return 501
        if method == M_PRACK:
            return 481                        # RFC 3262 §3: nothing was asked to be reliable
        if method not in (M_BYE, M_INVITE, M_UPDATE, M_INFO, M_NOTIFY, M_OPTIONS) and (self.user is None or not self.peer):
            return 405
        if request.has(H_REQUIRE) and self.unknown(request):
            return 420                        # §8.2.2.3
        if self.state == ENDING and method != M_BYE and method != M_NOTIFY:
            return 481
        if method == M_INVITE or method == M_UPDATE:
            if self.waiting(b"INVITE") is not None or self.waiting(b"UPDATE") is not None:
                return 491                    # §14.2, RFC 3311 §5.2
        return 0

    cdef list unknown(self, Message request):
        # Session timers are between the two ends of a bridge (RFC 4028).
        cdef Cursor cursor
        cdef Span value
        cdef list found = []
        request.cursor(H_REQUIRE, &cursor)
        while request.next_value(&cursor, &value):
            if not self.peer or request.text(value).lower() != b"timer":
                found.append(request.text(value))
        return found

    cdef int offered_anew(self, ServerTransaction server, Message request, Flow flow, int64_t now) except -1:
        """A re-INVITE or an UPDATE, which there is nobody behind to answer: it gets what there is, and that is silence."""
        cdef bytes body = body_of(request), host = self.ground.hosts[self.flow.local], said = b"", extra
        self.refresh_target(request)
        if body:
            self.heard = body
            self.version += 1
            said = sdp.answer(body, host, crc32(self.call_id), self.version)
        elif request.method == M_INVITE:
            said = self.own_offer()
        if said:
            self.offered = said
        extra = listener_at(self.ground.listeners, self.flow.local).contact + ALLOW + timer_line(request)
        self.answer(server, request, flow, 200, extra, said, now)
        return self.ground.keep(self)

    cdef int answer(self, ServerTransaction server, Message request, Flow flow, int status, bytes extra, bytes body,
                    int64_t now) except -1:
        cdef TransactionLayer layer = self.ground.transactions
        cdef bytes data = make_response(request, status, flow, server.tag(), extra + (SDP if body else b""), None, body)
        cdef Ok ok
        server.respond(data, status, now)
        if request.method == M_INVITE and 200 <= status < 300:
            ok = Ok.__new__(Ok)
            ok.leg = self
            ok.server = server
            ok.data = data
            ok.pause = layer.t1
            ok.until = now + 64 * layer.t1
            ok.key = request.cseq.number
            self.oks[ok.key] = ok
            layer.wheel.schedule(now + ok.pause, ok)
        return 0

    cdef bint acknowledged(self, Message ack, int64_t now) except -1:
        if not self.is_ours(ack):
            return False
        if self.oks.pop(ack.cseq.number, None) is not None and self.user is not None and not self.over:
            self.user.confirmed(self, ack, now)
        return True

    cdef int refresh_target(self, Message message) except -1:
        # RFC 3261 §12.2.2, §12.2.1.2
        cdef Address contact
        if message.has(H_CONTACT) and message.parse_address(message.value_of(H_CONTACT), &contact) == 1:
            self.remote.target = message.text(contact.uri.all)
        return 0


# ---- making them

cdef Leg make_leg(Ground ground, bytes call_id, bytes tag):
    cdef Leg leg = Leg.__new__(Leg)
    leg.ground = ground
    leg.call_id = call_id
    leg.tag = tag
    leg.state = INVITED
    leg.step = ""
    leg.recall = leg.callee = leg.caller = leg.local = leg.peer = leg.offered = leg.heard = leg.proof = b""
    leg.remote_seq = -1
    leg.remote = Remote.__new__(Remote)
    leg.remote.to = leg.remote.tag = leg.remote.target = b""
    leg.remote.routes = ()
    leg.requests = []
    leg.nonces = {}
    leg.early = {}
    leg.acks = {}
    leg.oks = {}
    return leg


cdef Flow flow_to(Ground ground, bytes uri):
    cdef Uri parts
    cdef const unsigned char *p = <const unsigned char *>PyBytes_AS_STRING(uri)
    if parse_uri_at(p, 0, <int32_t>PyBytes_GET_SIZE(uri), &parts) != 1:
        return None
    return ground.location.flow_to(p, &parts)
