"""Bridges: two legs of the server's own joined into one call, by third-party call control (RFC 3725). Signalling only: what they
say and hear goes between the phones.

    near (the caller's phone)          server                            far (the callee)
      |  in a call with the server        |                                     |
      |                                   | INVITE, near's description -------> |   in the caller's name, by the server's own
      |                                   | <------------------------------ 180 |   address: routed and watched as any other call
      |                                   | <----- 200, far's description ----- |
      |                                   | ACK ------------------------------> |
      | <---- INVITE, far's description   |                                     |
      | 200 ----------------------------> |                                     |
      | <---------------------------- ACK |                                     |

That is flow I of RFC 3725 §4.1 but for one thing: what near has answered the server with is the offer to far, and far's answer
goes to near in a re-INVITE. So no 200 waits for its ACK while the callee's phone rings, which may last longer than 64*T1. A
description in a provisional response goes on at once: near hears far's tones.

From then on what one side sends within its dialog is sent within the other's, and the answer goes back: re-INVITE and UPDATE
with their descriptions and session timers (RFC 4028), INFO, MESSAGE, REFER. No re-INVITE gets a 100: its sender repeats it until
it is answered, so a new process hears of one that an earlier one died of. Where both sides send one at a time, both get a 491
(RFC 3261 §14.2). A BYE, a 481 or silence of one side ends both.

All of it is in the legs: their `step`, their `peer`, and the last description of each side.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int64_t

from .._flow cimport Flow
from .._hash cimport Hash, end_hash64, mix_bytes, mix_number, start_hash
from .._listener cimport listener_at
from .._parser cimport (
    H_ALLOW, H_AUTHORIZATION, H_CALL_ID, H_CONTACT, H_CONTENT_LENGTH, H_CONTENT_TYPE, H_CSEQ, H_FROM, H_MAX_BREADTH,
    H_MAX_FORWARDS, H_PATH, H_PROXY_AUTHORIZATION, H_PROXY_REQUIRE, H_RECORD_ROUTE, H_REQUIRE, H_ROUTE, H_SERVICE_ROUTE,
    H_SUPPORTED, H_TIMESTAMP, H_TO, H_VIA, M_INVITE, M_NOTIFY, M_REFER, M_UPDATE, Message, Span,
)
from .._writer cimport make_response
from ..transaction.server cimport Handler, ServerTransaction
from ..trust.credit cimport make_unlimited
from .leg cimport Ground, Leg, LegRequest, LegUser
from .remote cimport Remote, body_of

from ..store.records import INVITED
from .sdp import is_same, place

cdef enum:
    # Timers
    AGAIN = 1               # a re-INVITE that got a 491
    ALIVE = 2               # time to ask both sides whether they are there
    ORPHANED = 3            # nobody wants a call that had not been answered at the restart
    ALIVE_EVERY = 1_800_000  # ms
    ALIVE_SOON = 2_000      # ms from a restart
    ORPHANED_AFTER = 3_000
    LEAST_AGAIN = 2_100     # ms. RFC 3261 §14.1: 2.1 to 4 s for whoever has made the Call-ID
    PURPOSE_AGAIN = 0x61676e

# Steps
CALLS = "bridge calls"                  # near's, while far is being called
JOINS = "bridge joins"                  # far has answered, and near has still to hear of it
JOINED = "bridge joined"
FAR = "bridge far"                      # far's

cdef bytes SDP = b"Content-Type: application/sdp\r\n"
cdef bytes ALLOW = b"Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, NOTIFY, INFO, UPDATE\r\n"
# Of one dialog or one hop; all other lines go on.
cdef set OWN_FIELDS = {
    <int>H_VIA, <int>H_ROUTE, <int>H_RECORD_ROUTE, <int>H_FROM, <int>H_TO, <int>H_CALL_ID, <int>H_CSEQ, <int>H_CONTACT,
    <int>H_MAX_FORWARDS, <int>H_CONTENT_LENGTH, <int>H_CONTENT_TYPE, <int>H_PATH, <int>H_SERVICE_ROUTE, <int>H_AUTHORIZATION,
    <int>H_PROXY_AUTHORIZATION, <int>H_PROXY_REQUIRE, <int>H_MAX_BREADTH, <int>H_TIMESTAMP, <int>H_ALLOW, <int>H_SUPPORTED,
    <int>H_REQUIRE,
}


cdef bint is_near(Leg leg) except -1:
    return leg.step in (CALLS, JOINS, JOINED)


cdef bint is_far(Leg leg) except -1:
    return leg.step == FAR


cdef class BridgeObserver:

    cdef int joined(self, int64_t now) except -1:
        raise NotImplementedError

    cdef int failed(self, int status, str answer, int64_t now) except -1:
        raise NotImplementedError


cdef class Forward(Handler):
    """A request of one side that the other one is to answer."""

    cpdef int on_cancel(self, ServerTransaction transaction, Message cancel, int64_t now) except -1:
        """Its sender wants no answer any more."""
        if self.sent is not None and self.sent.transaction is not None:
            self.sent.transaction.cancel(now)
        return 0

    cdef int reply(self, int status, Message response, int64_t now) except -1:
        cdef bytes body, extra
        if self.source.over:
            return 0
        if response is None:
            return self.source.answer(self.server, self.request, self.flow, 408 if status < 0 else status, b"", b"", now)
        body = response.text(response.body)
        extra = lines_of(response)
        if status < 300 and self.request.method in (M_INVITE, M_UPDATE, M_REFER):
            extra = listener_at(self.source.ground.listeners, self.source.flow.local).contact + ALLOW + extra
        if body.startswith(b"v="):
            return self.source.answer(self.server, self.request, self.flow, status, extra, self.source.relay(body), now)
        if body:
            extra += b"Content-Type: " + response.text(response.value_of(H_CONTENT_TYPE)) + b"\r\n"
            return self.server.respond(make_response(self.request, status, self.flow, self.server.tag(), extra, None, body),
                                       status, now)
        return self.source.answer(self.server, self.request, self.flow, status, extra, b"", now)


cdef bytes lines_of(Message message):
    """What of a message's header goes to the other side."""
    cdef list lines = []
    cdef int i
    for i in range(message.count):
        if message.fields[i].id not in OWN_FIELDS:
            lines.append(message.text(Span(message.fields[i].line, message.fields[i].line_end)))
    # Of all extensions only session timers are between the two ends (RFC 4028); the others are ours to have, or not.
    if message.lists_token(H_SUPPORTED, b"timer"):
        lines.append(b"Supported: timer\r\n")
    if message.lists_token(H_REQUIRE, b"timer"):
        lines.append(b"Require: timer\r\n")
    return b"".join(lines)


cdef class Bridge(LegUser):
    """Two legs. All times are ms."""

    cdef Leg other(self, Leg leg):
        return self.far if leg is self.near else self.near

    cdef int call(self, bytes call_id, bytes tag, int64_t now) except -1:
        cdef Leg near = self.near, far = self.ground.make(call_id, tag)
        self.far = far
        near.user = far.user = self
        far.recall, far.callee, far.caller = near.recall, near.callee, near.caller
        far.local = b"<%b>;tag=%b" % (near.caller, tag)
        far.remote.to = b"<%b>" % near.callee
        far.remote.target = near.callee
        far.flow = self.ground.own[near.flow.local]
        far.step = FAR
        far.peer, near.peer = near.call_id, call_id
        self.told = near.heard
        near.take_step(CALLS, now)
        far.invite(b"Subject: Automatic redial\r\n", far.relay(near.heard), make_unlimited(), now)
        return 0

    cdef int end(self, int64_t now, bytes why=b"") except -1:
        self.observer = None
        if self.far is not None:
            self.far.end(now, why)
        return self.near.end(now, why)

    cdef int leave(self, int64_t now) except -1:
        self.observer = None
        if self.far is not None and self.far.is_answered() and self.near.is_answered():
            return 0
        return self.end(now)

    # ---- after a restart

    cdef int resume(self, int64_t now) except -1:
        cdef LegRequest each
        self.told, self.shown = self.near.heard, b""
        if self.far.state == INVITED:
            self.ground.wheel.schedule(now + ORPHANED_AFTER, self, ORPHANED)
            return 0
        for leg in (self.near, self.far):
            for each in [*(<Leg>leg).requests]:
                if each.name == b"INVITE":
                    (<Leg>leg).resume(each, now)
                else:
                    (<Leg>leg).forget(each)   # its sender repeats it
        self.ground.wheel.schedule(now + ALIVE_SOON, self, ALIVE)
        if self.near.step == JOINED or self.near.waiting(b"INVITE") is not None:
            self.shown = self.far.heard
        else:
            self.show(self.far.heard, now)
        return 0

    cdef int ring_on(self, int64_t now) except -1:
        cdef LegRequest invite
        if self.far.state == INVITED:
            invite = self.far.waiting(b"INVITE")
            if invite is not None:
                self.far.resume(invite, now)
        return 0

    cpdef int expired(self, int kind, object payload, int64_t now) except -1:
        """A timer of ours ran out."""
        if self.near.over or self.far is None or self.far.over:
            return 0
        if kind == AGAIN:
            body, self.due = self.due, None
            return self.show(body, now) if body is not None else 0
        if kind == ALIVE:
            return self.ask_alive(now)
        if self.observer is None and self.far.state == INVITED:
            return self.far.withdraw(now)     # should it be answered all the same, the two talk
        return 0

    cdef int ask_alive(self, int64_t now) except -1:
        # An empty INFO (RFC 2976 §2.2): many phones answer an OPTIONS without looking at its tags.
        for leg in (self.near, self.far):
            if (<Leg>leg).is_answered():
                (<Leg>leg).request(b"INFO", b"", b"", (<Leg>leg).remote, now)
        self.ground.wheel.schedule(now + ALIVE_EVERY, self, ALIVE)
        return 0

    # ---- the far side is called

    cdef int ringing(self, Leg leg, Remote remote, Message response, int64_t now) except -1:
        cdef bytes body = body_of(response)
        if leg is self.far and body and self.near.is_answered():
            self.far.heard = body
            self.show(body, now)
        return 0

    cdef int answered(self, Leg leg, Message response, int64_t now) except -1:
        cdef BridgeObserver observer = self.observer
        if leg is not self.far:
            return 0
        if not self.near.is_answered():
            self.far.end(now)
            return 0
        if not self.far.heard:
            self.far.heard = self.shown       # it has said so before
        self.near.take_step(JOINS, now)
        self.ground.wheel.schedule(now + ALIVE_EVERY, self, ALIVE)
        self.show(self.far.heard, now)
        return observer.joined(now) if observer is not None else 0

    cdef int refused(self, Leg leg, int status, str answer, int64_t now) except -1:
        cdef BridgeObserver observer = self.observer
        if leg is not self.far:
            return 0
        self.end(now, b"Reason: SIP;cause=%d\r\n" % status if status > 0 else b"")          # RFC 3326 §2
        return observer.failed(status, answer, now) if observer is not None else 0

    cdef int hung_up(self, Leg leg, int64_t now) except -1:
        cdef BridgeObserver observer = self.observer
        cdef LegRequest each
        self.end(now)
        for each in leg.requests:
            if each.about is not None:
                (<Forward>each.about).reply(481, None, now)
        return observer.failed(0, "hung up", now) if observer is not None else 0

    # ---- near is shown where far's media are

    cdef int show(self, bytes body, int64_t now) except -1:
        if not self.near.is_answered():
            return 0
        if self.near.waiting(b"INVITE") is not None or self.near.waiting(b"UPDATE") is not None or self.near.oks:
            self.due = body
            self.ground.wheel.schedule(now + self.pause(), self, AGAIN)
            return 0
        if self.shown and is_same(body, self.shown):
            return self.correct(now)
        self.near.request(b"INVITE", ALLOW + SDP, self.near.relay(body), self.near.remote, now)
        self.shown = body
        return 0

    cdef int64_t pause(self):
        cdef Hash h
        start_hash(&h, &self.ground.names.secret, PURPOSE_AGAIN)
        mix_bytes(&h, <const unsigned char *>PyBytes_AS_STRING(self.near.call_id), PyBytes_GET_SIZE(self.near.call_id))
        mix_number(&h, self.near.seq)
        return LEAST_AGAIN + 10 * <int64_t>(end_hash64(&h) % 190)

    cdef int shown_answered(self, LegRequest request, int status, int64_t now) except -1:
        cdef bytes body
        if 200 <= status < 300:
            if self.due is not None:
                body, self.due = self.due, None
                return self.show(body, now)
            return self.correct(now)
        body, self.shown = self.shown or self.far.heard, b""
        if status == 491 and body:            # RFC 3261 §14.1
            self.due = body
            self.ground.wheel.schedule(now + self.pause(), self, AGAIN)
            return 0
        # Before far has answered it was only for its tones.
        return self.end(now) if self.far.is_answered() else 0

    cdef int correct(self, int64_t now) except -1:
        """Near has far's description. Far has to have near's, too, where that has become another one meanwhile."""
        if not self.far.is_answered() or self.near.step == JOINED:
            return 0
        self.near.take_step(JOINED, now)
        if self.corrected or not self.near.heard or place(self.near.heard) == place(self.told):
            return 0
        self.corrected = True
        self.told = self.near.heard
        self.far.request(b"INVITE", ALLOW + SDP, self.far.relay(self.near.heard), self.far.remote, now)
        return 0

    # ---- from one side to the other

    cdef bint asked(self, Leg leg, ServerTransaction server, Message request, Flow flow, int64_t now) except -1:
        cdef Leg other = self.other(leg)
        if other is None or not other.is_answered() or not leg.is_answered():
            return False
        if request.method == M_NOTIFY and not self.refers:
            return False                      # of a REFER that the server itself has sent before
        if request.method == M_INVITE and (other.waiting(b"INVITE") is not None or other.waiting(b"UPDATE") is not None
                                           or other.oks or self.late is not None):
            leg.answer(server, request, flow, 491, b"", b"", now)                 # §14.2
            return True
        self.forward(leg, server, request, flow, now)
        return True

    cdef int forward(self, Leg source, ServerTransaction server, Message request, Flow flow, int64_t now) except -1:
        cdef Leg other = self.other(source)
        cdef bytes body = request.text(request.body), extra = lines_of(request)
        cdef Forward forward = Forward.__new__(Forward)
        forward.bridge = self
        forward.source = source
        forward.server = server
        forward.request = request
        forward.flow = flow
        server.handler = forward
        if request.method == M_REFER:
            self.refers = True
        if request.method == M_INVITE or request.method == M_UPDATE:
            source.refresh_target(request)
            extra = ALLOW + extra
        if body:
            extra += b"Content-Type: " + request.text(request.value_of(H_CONTENT_TYPE)) + b"\r\n"
        if body.startswith(b"v="):
            source.heard = body
            body = other.relay(body)
        forward.sent = other.request(request.text(request.method_name), extra, body, other.remote, now)
        forward.sent.about = forward
        forward.sent.late = request.method == M_INVITE and not body
        return source.ground.keep(source)

    cdef int replied(self, Leg leg, LegRequest request, int status, Message response, int64_t now) except -1:
        cdef Forward forward = None
        if request.about is not None:
            forward = <Forward>request.about
            forward.reply(status, response, now)
            if request.name == b"INVITE" and 200 <= status < 300 and request.late:
                forward.response = response
                self.late = forward
        elif request.name == b"INVITE" and leg is self.near:
            self.shown_answered(request, status, now)
        if (status == 408 or status < 0) and not leg.over and request.name != b"REFER":
            self.end(now)                     # RFC 3261 §12.2.1.2: nobody is there any more
        return 0

    cdef int confirmed(self, Leg leg, Message ack, int64_t now) except -1:
        cdef Forward late = self.late
        cdef bytes body = body_of(ack)
        cdef Leg other = self.other(leg)
        if late is None or late.source is not leg:
            return 0
        self.late = None
        if body:
            leg.heard = body
            leg.ground.keep(leg)
        other.acknowledge(late.response, b"", other.relay(body) if body else b"", now)
        return 0


cdef Bridge make_bridge(Ground ground, Leg near, Leg far):
    cdef Bridge bridge = Bridge.__new__(Bridge)
    bridge.ground = ground
    bridge.near = near
    bridge.far = far
    bridge.shown = bridge.told = b""
    near.user = bridge
    if far is not None:
        far.user = bridge
    return bridge
