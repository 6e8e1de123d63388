# A dialog of the server's own with a phone that it has called. See leg.pyx.

cimport cython
from libc.stdint cimport int64_t, uint32_t, uint64_t

from .._flow cimport Flow
from .._parser cimport Message
from .._wheel cimport Timed, Wheel
from ..routing.location cimport Location
from ..transaction.client cimport ClientTransaction
from ..transaction.layer cimport TransactionLayer
from ..transaction.server cimport Handler, ServerTransaction
from ..trust.credit cimport Credit
from .call_names cimport CallNames
from .remote cimport Remote

cdef class Leg


# Knows by what a leg says who we are.
cdef class Keyring:
    # config.Credentials, the ones to prefer first. Asked only where somebody wants to know.
    cdef tuple credentials_of(self, Leg leg)


# What all legs stand on: whoever has them (dialogs.pyx).
cdef class Ground(Timed):
    cdef TransactionLayer transactions
    cdef Wheel wheel
    cdef tuple listeners
    cdef list hosts                      # the address of each, as a description of media names it
    cdef list own                        # and the flow to it from the server itself
    cdef Location location
    cdef CallNames names
    cdef Keyring keyring                 # None: nobody is told who we are
    cdef object cnonces                  # digest.Cnonces
    # A new one, which `Leg.invite` begins.
    cdef Leg make(self, bytes call_id, bytes tag)
    # Write it with the batch; it is over.
    cdef int keep(self, Leg leg) except -1
    cdef int drop(self, Leg leg, int64_t now) except -1
    # Nobody uses it any more: it ends in a moment, and that is tried until it has.
    cdef int orphan(self, Leg leg, int64_t now) except -1


# Who hears what becomes of a leg.
cdef class LegUser(Timed):
    # A provisional response to its INVITE; `remote`: the early dialog, None where there is none by it.
    cdef int ringing(self, Leg leg, Remote remote, Message response, int64_t now) except -1
    # The first 2xx, which has been acknowledged.
    cdef int answered(self, Leg leg, Message response, int64_t now) except -1
    # Its INVITE got any other final response, or none (408, OUTCOME_UNREACHABLE): the leg is over. `answer`: for people.
    cdef int refused(self, Leg leg, int status, str answer, int64_t now) except -1
    # What came of a request within it; `response` is None where none came (`status` as above).
    cdef int replied(self, Leg leg, LegRequest request, int status, Message response, int64_t now) except -1
    # A request has come within it, with a right CSeq. True: it is answered here. A NOTIFY, which the leg answers, too.
    cdef bint asked(self, Leg leg, ServerTransaction server, Message request, Flow flow, int64_t now) except -1
    # The ACK of a 2xx to a re-INVITE has come.
    cdef int confirmed(self, Leg leg, Message ack, int64_t now) except -1
    # The phone has hung up, or knows nothing of it (481): the leg is over.
    cdef int hung_up(self, Leg leg, int64_t now) except -1


# A request of ours within a leg, until its final response; INVITEs somewhat longer (RFC 6026 Accepted).
@cython.final
cdef class LegRequest(Handler):
    cdef Leg leg
    cdef readonly bytes name             # its method
    cdef int64_t cseq
    cdef bytes data, branch
    cdef ClientTransaction transaction   # None: an earlier process has sent it
    cdef bint initial                    # the INVITE that the leg begins with
    cdef bint late                       # its 2xx is acknowledged by the user
    cdef bint early                      # it was sent in an early dialog
    cdef object about                    # the user's
    cdef object answers                  # digest.Answers: to whom it has said who we are; None: nobody has asked


@cython.final
cdef class Leg:
    cdef Ground ground
    cdef LegUser user
    cdef readonly bytes call_id, recall, callee, caller
    cdef bytes agent                     # User-Agent of the phone, where it is the caller's; None: it is not
    cdef bytes local, tag                # From with that tag
    cdef Remote remote
    cdef Flow flow
    cdef int64_t since
    cdef readonly str state              # of store.records
    cdef int64_t seq, remote_seq
    cdef list requests                   # LegRequests without a final response
    cdef readonly str step               # the user's, with when that was
    cdef int64_t stepped
    cdef bytes peer
    cdef bytes offered, heard            # descriptions of the session, as in the record
    cdef int64_t version
    cdef dict nonces                     # digest.Nonces: who has asked in it who we are
    cdef bytes proof                     # the lines that say so in its last INVITE
    cdef bint over
    cdef dict early                      # To tag -> Remote
    cdef dict acks                       # (CSeq, To tag) -> ACK
    cdef dict oks                        # CSeq -> Ok

    cdef bint is_answered(self) noexcept
    # Send the INVITE that it begins with; False where the credit does not allow that. `extra`: whole header lines.
    cdef bint invite(self, bytes extra, bytes body, Credit credit, int64_t now) except -1
    # Send a request in it, or in an early dialog of it.
    cdef LegRequest request(self, bytes name, bytes extra, bytes body, Remote remote, int64_t now)
    # Go on with what an earlier process has sent: send it again, with the same branch.
    cdef int resume(self, LegRequest request, int64_t now) except -1
    # CANCEL or BYE, whichever is due; nobody hears of what comes of that. `why`: Reason lines.
    cdef int end(self, int64_t now, bytes why=*) except -1
    # CANCEL the INVITE; if it is answered all the same, the user hears of that as ever.
    cdef int withdraw(self, int64_t now) except -1
    # Nothing more is to come of a request that an earlier process has sent.
    cdef int forget(self, LegRequest request) except -1
    # The request with that method that has no final response yet.
    cdef LegRequest waiting(self, bytes name)
    cdef int take_step(self, str step, int64_t now) except -1
    # The ACK of a 2xx.
    cdef int acknowledge(self, Message response, bytes extra, bytes body, int64_t now) except -1
    # A session description of the server's own, or of the other leg's phone as this one gets it.
    cdef bytes own_offer(self)
    cdef bytes relay(self, bytes body)
    # What comes within it.
    cdef bint receive(self, ServerTransaction server, Message request, Flow flow, int64_t now) except -1
    cdef bint acknowledged(self, Message ack, int64_t now) except -1
    cdef bint stray(self, Message response, int64_t now) except -1
    cdef int answer(self, ServerTransaction server, Message request, Flow flow, int status, bytes extra, bytes body,
                    int64_t now) except -1

    cdef bytes text(self, bytes name, int64_t cseq, bytes branch, Remote remote, bytes extra, bytes body)
    cdef tuple credentials(self)
    cdef LegRequest send(self, bytes name, bytes data, bytes branch, int64_t now)
    cdef int take_up(self, LegRequest request, int64_t now) except -1
    cdef Flow way(self, bytes data, int64_t now)
    cdef bint is_left(self) except -1
    cdef int responded(self, LegRequest request, Message response, int64_t now) except -1
    cdef bint answer_challenge(self, LegRequest request, Message response, int64_t now) except -1
    cdef int invite_responded(self, LegRequest request, Message response, int64_t now) except -1
    cdef int accepted(self, LegRequest request, Message response, int64_t now) except -1
    cdef int first_accepted(self, LegRequest request, Message response, int64_t now) except -1
    cdef int refuse_fork(self, Message response, int64_t now) except -1
    cdef int failed(self, LegRequest request, int status, int64_t now) except -1
    cdef int finished(self, LegRequest request) except -1
    cdef int close(self, int64_t now) except -1
    cdef int gone(self, int64_t now) except -1
    cdef bint is_ours(self, Message request) except -1
    cdef int check(self, Message request) except -1
    cdef list unknown(self, Message request)
    cdef int tell_reply(self, LegRequest request, Message response, int64_t now) except -1
    cdef int offered_anew(self, ServerTransaction server, Message request, Flow flow, int64_t now) except -1
    cdef int refresh_target(self, Message message) except -1

cdef Leg make_leg(Ground ground, bytes call_id, bytes tag)
