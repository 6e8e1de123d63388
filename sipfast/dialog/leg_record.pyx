"""What is stored of a leg, and how a new process gets it from there. Passwords are not: only whose question was answered."""

from .._parser cimport Message, parse_message
from .leg cimport Ground, Leg, LegRequest, make_leg
from .remote cimport tag_in

from .._flow import Flow as AnyFlow
from ..store.records import Leg as Record
from .signing import answers_of, nonces_of, stored_nonces, tried


cdef object record_of(Leg leg):
    cdef tuple signing = ()
    cdef LegRequest each
    if leg.nonces:
        signing = (stored_nonces(leg.nonces), tuple([tried(each.answers) for each in leg.requests]), leg.proof)
    return Record(
        leg.call_id, leg.recall, leg.callee, leg.caller, leg.since, leg.local, leg.remote.to, leg.remote.target,
        leg.flow.pack(), leg.state, leg.remote.routes, leg.seq, leg.remote_seq, tuple([each.data for each in leg.requests]),
        leg.step, leg.stepped, leg.peer, leg.offered, leg.heard, leg.version, leg.agent, *signing)


cdef Leg leg_of(Ground ground, object record):
    cdef Leg leg = make_leg(ground, record.call_id, tag_in(record.local))
    cdef LegRequest request
    cdef Message message
    leg.recall, leg.callee, leg.caller, leg.since = record.recall, record.callee, record.caller, record.since
    leg.local, leg.state, leg.seq, leg.remote_seq = record.local, record.state, record.seq, record.remote_seq
    leg.step, leg.stepped, leg.peer, leg.agent = record.step, record.stepped, record.peer, record.agent
    leg.offered, leg.heard, leg.version = record.offered, record.heard, record.version
    leg.nonces, leg.proof = nonces_of(record.nonces), record.proof
    leg.remote.to, leg.remote.target, leg.remote.routes = record.remote, record.target, record.routes
    leg.remote.tag = tag_in(record.remote)
    leg.flow = AnyFlow.unpack(record.flow)
    for place, data in enumerate(record.pending):
        message = parse_message(data)
        if message.error or not ground.transactions.reserve_again(message.text(message.via.branch)):
            continue
        request = LegRequest.__new__(LegRequest)
        request.leg = leg
        request.name = message.text(message.method_name)
        request.cseq = message.cseq.number
        request.data = data
        request.branch = message.text(message.via.branch)
        request.initial = request.name == b"INVITE" and not leg.remote.tag      # RFC 3261 §12.1.2: no dialog yet
        if place < len(record.tried):
            request.answers = answers_of(record.tried[place], ground.cnonces, leg.nonces)
        leg.requests.append(request)
    return leg
