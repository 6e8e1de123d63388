"""The ways to phones that our Path and Record-Route values carry, and where they lead after a NAT's rebinding.

Each value has a flow token (`token`) in its user part. A request that comes back with one is sent by the flow that the
token names, before any host in its Request-URI is looked at (RFC 5626 §5.3.1): phones behind a NAT put addresses there
that lead nowhere, or into somebody else's home.

Route sets are fixed for the life of a dialog, NATs are not. A phone whose address has changed registers from there; from
then on tokens of its old flow lead to the new one, for as long as a call may last. Such a move counts for requests to that
phone only (the AOR in To, the Contact in the Request-URI, or the AOR that the token is for): an old address may be
somebody else's by now. What transactions send later than at once is led on as well: a BYE that is repeated, the 200 of a
phone that rang for long.
"""

import cython

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint32_t
from libc.string cimport memcpy

from .._flow cimport Flow, flow_beside, unpacked
from .._listener cimport DEFAULT_PORT, Listener, listener_at
from .._parser cimport H_RECORD_ROUTE, Address, Cursor, Message, Span, canonical_aor, parse_message
from .token cimport MOST_TOKEN, TOKEN_BOTH, TOKEN_CALLEE, TOKEN_CALLER, TOKEN_PATH, Token, Tokens
from .._edits cimport Edits
from .._writer cimport put

cdef enum:
    MOST_HOPS = 8           # moves one after the other: a phone that changes its address often has the last ones kept
    MOST_MOVES = 100_000    # kept in memory; what comes beyond drops the oldest
    ROOM = 1024             # bytes of two Record-Route lines: names have 253 at the most


cdef Flow answer_flow(Message request, Flow flow):
    cdef int port = request.via.port if request.via.port != -1 else DEFAULT_PORT
    if request.via.has_rport or port == flow.port or flow.reliable():
        return flow
    return flow_beside(flow, flow.ip, port)


# What tells one peer from another: its address and port.
cdef bytes address_of(Flow flow):
    cdef unsigned char key[18]
    key[0] = flow.port >> 8
    key[1] = flow.port & 255
    memcpy(key + 2, flow.ip, 16)
    return PyBytes_FromStringAndSize(<char *>key, 6 if flow.family == 4 else 18)


# The address that a move leads away from; None where its flow cannot be read.
cdef bytes place_of(move):
    cdef bytes packed = move.old
    cdef Flow old = unpacked(<const unsigned char *>PyBytes_AS_STRING(packed), PyBytes_GET_SIZE(packed))
    return None if old is None else address_of(old)


@cython.final
cdef class Outbound(Guide):

    def __init__(self, Tokens tokens not None, tuple listeners not None):
        self.tokens = tokens
        self.listeners = listeners
        self.moves = {}
        self.numbers = {}
        self.dropped = []

    cdef bytes record_route(self, Message request, Flow came, Flow out):
        cdef char lines[ROOM]
        cdef char *at
        cdef Flow back = answer_flow(request, came)
        cdef uint32_t digest = self.tokens.digest_of_call(request, request.sender.tag)
        if out.local == back.local:
            at = self.put_line(lines, TOKEN_BOTH, back, out, digest)
            if at != lines:
                return PyBytes_FromStringAndSize(lines, at - lines)
        # The side that a request comes from shows its own listener's value first, so the last one names the other side.
        at = self.put_line(lines, TOKEN_CALLEE, out, None, digest)
        at = self.put_line(at, TOKEN_CALLER, back, None, digest)
        return PyBytes_FromStringAndSize(lines, at - lines)

    # Where the next line is written: `to` itself where the token would have been too long.
    cdef char *put_line(self, char *to, int kind, Flow first, Flow second, uint32_t digest) noexcept:
        cdef char token[MOST_TOKEN]
        cdef Listener ours = listener_at(self.listeners, first.local)
        cdef bytes head = ours.record_route, tail = ours.end_record_route
        cdef int size = self.tokens.write(token, kind, first, second, digest)
        if size == 0:
            return to
        to = put(to, PyBytes_AS_STRING(head), PyBytes_GET_SIZE(head))
        to = put(to, token, size)
        return put(to, PyBytes_AS_STRING(tail), PyBytes_GET_SIZE(tail))

    cdef bytes uri_of(self, Flow way, bytes aor):
        cdef char token[MOST_TOKEN]
        cdef int size = self.tokens.write(token, TOKEN_PATH, way, None, self.tokens.digest_of_aor(aor))
        return listener_at(self.listeners, way.local).uri(token[:size])

    cdef bytes path(self, Flow way, bytes aor):
        cdef char token[MOST_TOKEN]
        cdef int size = self.tokens.write(token, TOKEN_PATH, way, None, self.tokens.digest_of_aor(aor))
        return listener_at(self.listeners, way.local).path(token[:size])

    # RFC 3261 §16.7 step 8: the caller sees another value of ours than the callee. What both see proves neither: who calls
    # himself in another's name has all of it.
    cdef bytes entrust(self, bytes response, Flow flow, int64_t now):
        cdef Message message = parse_message(response)
        cdef Edits edits = Edits.__new__(Edits)
        cdef Cursor cursor
        cdef Span value
        cdef Address address
        cdef Token token
        if message.error:
            return response
        message.cursor(H_RECORD_ROUTE, &cursor)
        while message.next_value(&cursor, &value):
            if (message.parse_address(value, &address) == 1 and self.tokens.read(message.p, address.uri.user, &token)
                    and (token.kind == TOKEN_BOTH or token.kind == TOKEN_CALLER)
                    and token.ends[0].port == flow.port and flow.is_at(token.ends[0].ip, token.family)):
                edits.replace(address.uri.params.end, address.uri.params.end, b";key=" + self.tokens.key_of(&token, now))
        return edits.apply(message)

    # ---- moves

    cdef Flow way(self, const Token *token, int end, Message request, int64_t now):
        cdef Flow flow = self.tokens.flow_to(token, end)
        if not self.moves or flow is None:
            return flow
        return self.after_moves(flow, token, canonical_aor(request.p, &request.target.uri), request.text(request.request_uri), 0,
                                now)

    cdef Flow follow(self, Flow flow, bytes data, uint32_t since, int64_t now):
        cdef Message message
        cdef Flow there
        if not self.moves or address_of(flow) not in self.moves:
            return flow
        message = parse_message(data)
        if message.error:
            return flow
        if message.status:                    # it goes to who has sent the request
            # Moves from before are another phone's of the same user: this one has sent the request from there since.
            there = self.after_moves(flow, NULL, canonical_aor(message.p, &message.sender.uri), None, since, now)
        else:
            there = self.after_moves(flow, NULL, canonical_aor(message.p, &message.target.uri),
                                     message.text(message.request_uri), 0, now)
        return there if there.local == flow.local else flow      # the Via names this listener

    cdef Flow after_moves(self, Flow flow, const Token *token, bytes aor, bytes contact, uint32_t since, int64_t now):
        cdef bytes packed
        cdef Flow there
        cdef int _hop
        for _hop in range(MOST_HOPS):
            there = None
            for move in self.moves.get(address_of(flow), ()):
                if move.expires > now and self.numbers.get(move, 1) > since and (move.aor == aor or move.contact == contact or (
                        token != NULL and token.kind == TOKEN_PATH and self.tokens.digest_of_aor(move.aor) == token.digest)):
                    packed = move.new
                    there = unpacked(<const unsigned char *>PyBytes_AS_STRING(packed), PyBytes_GET_SIZE(packed))
            if there is None:
                break
            flow = there
        return flow

    cpdef int moved(self, move) except -1:
        cdef bytes packed, place = place_of(move)
        if place is None:
            return 0
        # It may come back to where it was: what led away from the new place ends there.
        packed = move.new
        new = unpacked(<const unsigned char *>PyBytes_AS_STRING(packed), PyBytes_GET_SIZE(packed))
        if new is not None:
            for former in self.moves.get(address_of(new), ()):
                if former.aor == move.aor:
                    self.drop(former)
        kept = []
        for former in self.moves.pop(place, ()):
            if former.aor != move.aor:
                kept.append(former)
            elif former != move:
                self.numbers.pop(former, None)
        self.moves_made += 1
        self.numbers[move] = self.moves_made
        self.moves[place] = (*kept, move)   # at the end: the dictionary is in the order of the last ones' expiry
        while len(self.moves) > MOST_MOVES:
            for former in self.moves[next(iter(self.moves))]:
                self.drop(former)
        return 0

    cdef int drop(self, move) except -1:
        cdef bytes place = place_of(move)
        kept = tuple([other for other in self.moves.get(place, ()) if other is not move])
        if kept:
            self.moves[place] = kept
        else:
            self.moves.pop(place, None)
        self.numbers.pop(move, None)
        self.dropped.append(move)
        return 0

    cpdef list expire(self, int64_t now):
        cdef list gone
        while self.moves:
            last = self.moves[next(iter(self.moves))]
            if last[len(last) - 1].expires > now:
                break
            for move in last:
                self.drop(move)
        gone, self.dropped = self.dropped, []
        # What has taken the place of one that was dropped has its key in the store.
        return [move for move in gone if not self.has(move)]

    cdef bint has(self, move) except -1:
        for other in self.moves.get(place_of(move), ()):
            if other.aor == move.aor:
                return True
        return False
