"""Where a response belongs: to a probe, to a transaction of this worker or of another, or to what rang before a restart."""

import cython

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint32_t
from libc.string cimport memcmp

from .._flow cimport Flow
from .._listener cimport DEFAULT_PORT
from .._parser cimport H_VIA, M_CANCEL, M_INVITE, Cursor, Message, Span, Uri, Via, canonical_aor, parse_uri_at
from .._uri cimport plain_host, plain_host_of
from ..store.keys cimport MOST_NAMES


@cython.final
cdef class Responses:

    cdef int receive(self, Message response, Flow flow, int64_t now) except -1:
        cdef int home
        cdef Span call_id = response.call_id, tag = response.target.tag
        if call_id.end - call_id.start + tag.end - tag.start > MOST_NAMES:
            self.foreign += 1                 # no request with such a Call-ID was passed on, and no dialog is named so
            return 0
        if not self.is_sent_by_us(response):
            self.foreign += 1                 # RFC 3261 §18.1.2
            return 0
        if self.probe.heard(response, now):
            return 0
        if self.mail.hops:
            home = self.transactions.worker_of(response.p + response.via.branch.start,
                                               response.via.branch.end - response.via.branch.start)
            if 0 <= home < self.mail.workers and home != self.mail.worker:
                return self.mail.hand_over(home, response, flow, 0)
        response = self.claims.cleaned(response, flow)
        if self.transactions.receive_response(response, flow, now):
            return 0
        if (self.dialogs.legs or self.dialogs.former) and self.dialogs.stray(response, now):
            self.transactions.receive_response(response, flow, now)
            return 0
        return self.stray(response, flow, now)

    cdef bint is_sent_by_us(self, Message response) except -1:
        cdef Span host = response.via.host
        cdef bytes ours, other, port
        for ours in self.sent_by:             # as we wrote it: host and port, and whatever ends them
            if (host.start + PyBytes_GET_SIZE(ours) < PyBytes_GET_SIZE(response.data)
                    and memcmp(response.p + host.start, PyBytes_AS_STRING(ours), PyBytes_GET_SIZE(ours)) == 0
                    and response.p[host.start + PyBytes_GET_SIZE(ours)] in (c';', c' ', c',', c'\t', c'\r')):
                return True
        other = plain_host(response.p, host)
        port = b"%d" % (response.via.port if response.via.port != -1 else DEFAULT_PORT)
        for ours in self.sent_by:
            name, _, number = ours.rpartition(b":")
            if number == port and plain_host_of(name) == other:
                return True
        return False

    cdef int stray(self, Message response, Flow flow, int64_t now) except -1:
        """A response that matches no transaction.

        RFC 6026 §8 has a proxy drop it, for fear of forwarding what it never asked for. One case is known to be ours: the
        INVITE was forwarded before a restart, for the Via below ours (Ringing); its callee is ringing or has answered,
        and the caller must hear of it.
        """
        cdef uint32_t loop
        cdef Cursor cursor
        cdef Span value
        cdef Via via
        cdef Flow back, way
        cdef bytes caller, callee
        if response.status <= 100 or (response.cseq.method != M_INVITE and response.cseq.method != M_CANCEL):
            return 0
        if not self.transactions.is_own_branch(response.p + response.via.branch.start,
                                               response.via.branch.end - response.via.branch.start, &loop):
            return 0
        response.cursor(H_VIA, &cursor)
        response.next_value(&cursor, &value)
        if not response.next_value(&cursor, &value):
            if response.status >= 200 and response.cseq.method == M_INVITE and not self.dialogs.legs.get(
                    response.text(response.call_id)):
                self.dialogs.unknown(response, flow, now)
            return 0
        if response.parse_via(value, &via) != 1:
            return 0
        back = self.via_flow(response, &via)
        way = self.proxy.ringing.way(response, &via, back, now) if back is not None else None
        if way is None:
            return 0
        if response.cseq.method == M_CANCEL:      # a former INVITE's, which we have passed on
            return self.proxy.pass_back(response, back)
        if 200 <= response.status < 300 and self.router.is_served(response.p, &response.target.uri):
            caller = canonical_aor(response.p, &response.sender.uri)
            callee = canonical_aor(response.p, &response.target.uri)
            # The ACK tells whether the caller heard of it: one that has sent its INVITE again meanwhile was told 482
            # (§8.2.2.2) and listens no more.
            self.calls.answered_before(caller, callee, response, now)
        return self.proxy.forward_stray(response, &via, way, back, now)

    cdef Flow via_flow(self, Message response, Via *via):
        # RFC 3261 §18.2.2 and RFC 3581 §4
        cdef bytes text = response.text(via.received if via.received.end > via.received.start else via.host)
        cdef int port = via.port if via.port != -1 else DEFAULT_PORT
        cdef Uri uri
        if via.rport_port < 0:
            return None
        if via.rport_port:
            port = via.rport_port
        text = b"sip:" + (b"[" + text + b"]" if b":" in text and not text.startswith(b"[") else text) + b":%d" % port
        if parse_uri_at(<const unsigned char *>text, 0, <int>PyBytes_GET_SIZE(text), &uri) != 1:
            return None
        return self.location.flow_to(<const unsigned char *>text, &uri)
