"""The counters: each declared once, with name, kind, unit and what it says. Who counts keeps a number under such a name."""

from __future__ import annotations

from typing import Literal, NamedTuple

from ..config import METHODS

Kind = Literal["counter", "gauge"]
"""A counter only grows, and begins anew with its process; a gauge is how much there is now."""


class Counter(NamedTuple):
    """What a number is. `unit` is one of what is counted."""

    name: str
    kind: Kind
    unit: str
    help: str


OUTCOMES = {
    "begun": "the caller's device was asked that way",
    "accepted": "it said that it would call",
    "cannot": "it cannot that way",
    "absent": "it is not there",
    "busy": "its user is in a call",
    "declined": "its user does not want to",
    "told": "it has told its user",
    "silent": "it said nothing in time",
    "answered": "the call that came of it was answered",
}
"""What may come of one try; some of them both, as accepted and answered."""


def of_method(method: str, outcome: str) -> str:
    """The counter of a method and an outcome."""
    return f"redial_{method.replace('-', '_')}_{outcome}"


COUNTERS = (
    # The engine: messages
    Counter("received", "counter", "datagram", "that came to the engine"),
    Counter("requests", "counter", "message", "requests that could be read"),
    Counter("responses", "counter", "message", "responses that could be read"),
    Counter("keepalives", "counter", "datagram", "empty ones, by which a phone keeps its NAT open (RFC 5626 §4.4)"),
    Counter("malformed", "counter", "message", "that could not be read"),
    Counter("discarded", "counter", "message", "requests that were dropped without an answer: mostly an ACK for nobody"),
    Counter("answered_stateless", "counter", "message", "answers without a transaction (RFC 3261 §8.2.7)"),
    Counter("challenges", "counter", "message", "401 and 407: who is it from (RFC 3261 §22)"),
    Counter("logins", "counter", "message", "requests that have shown who they are from"),
    Counter("stale_nonces", "counter", "message", "challenges in place of a nonce that was not good any more"),
    Counter("failed_logins", "counter", "message", "wrong passwords, and users that do not exist"),
    Counter("slowed_logins", "counter", "message", "logins that were answered 503, of sources that have failed too often"),
    Counter("not_owned", "counter", "message", "requests of users for an address that is not theirs: 403"),
    Counter("foreign_responses", "counter", "message", "responses to what another has sent (RFC 3261 §18.1.2)"),
    Counter("forwarded", "counter", "message", "requests that were passed on, each branch once"),
    Counter("loops", "counter", "message", "requests that had been here before (RFC 5393)"),
    Counter("undeliverable", "counter", "message", "that the network says it could not deliver"),
    Counter("refused_over_rate", "counter", "message", "of sources that had sent their share (`rates`)"),
    Counter("refused_new_over_rate", "counter", "message", "of these that would have made state"),
    Counter("refused_aors_of_source", "counter", "AOR", "that were not bound, since their address had bound its share"),
    Counter("dropped_of_banned", "counter", "message", "of banned sources"),
    Counter("bans", "counter", "ban", "of sources that went on and on beyond their share"),
    Counter("faults", "counter", "fault", "of one message or timer each; the log says what it was"),
    # The engine: commits
    Counter("commits", "counter", "batch", "that were ended, whether the store kept them or not"),
    Counter("failed_commits", "counter", "batch", "that the store did not keep"),
    Counter("conflicts", "counter", "batch", "that were not kept as a whole, since others had changed what they build upon"),
    Counter("batches_under_way", "gauge", "batch", "that the store has not answered yet"),
    Counter("answers_taken_back", "counter", "message", "answers that became 503: the store did not keep what they promise"),
    Counter("timers", "gauge", "timer", "that run"),
    # Upstreams and probes
    Counter("upstream_failures", "counter", "failure", "an upstream's address went down"),
    Counter("rerouted", "counter", "message", "requests that found another address of their upstream"),
    Counter("probes", "counter", "message", "OPTIONS to phones that had proven nothing"),
    Counter("probes_answered", "counter", "message", "of these that were answered"),
    Counter("doubts", "counter", "binding", "bindings whose phones were found not to answer"),
    Counter("doubts_resolved", "counter", "binding", "of these whose phones have answered since"),
    Counter("names_asked", "counter", "name", "of hosts, that a resolver was asked for"),
    Counter("names_unanswered", "counter", "name", "of these that lead nowhere, or were not answered in time"),
    # Between workers
    Counter("handed_over", "counter", "message", "given to another worker"),
    Counter("handed_in", "counter", "message", "got from another worker"),
    Counter("notices", "counter", "notice", "got from another worker"),
    Counter("bus_sent", "counter", "datagram", "to other workers"),
    Counter("bus_received", "counter", "datagram", "from other workers"),
    Counter("bus_dropped", "counter", "datagram", "that another worker had no room for: it hangs"),
    # Transactions
    Counter("server_transactions", "gauge", "transaction", "whose requests are being answered, or were a moment ago"),
    Counter("client_transactions", "gauge", "transaction", "whose requests wait for an answer, or did a moment ago"),
    Counter("branches", "gauge", "branch", "that are in use"),
    Counter("held_bytes", "gauge", "byte", "of the messages that transactions keep"),
    Counter("refused_full", "counter", "message", "requests that there was no room for: 503 (`[limits]`)"),
    Counter("retransmissions_received", "counter", "message", "copies that came"),
    Counter("retransmissions_sent", "counter", "message", "copies that were sent"),
    Counter("timeouts", "counter", "transaction", "that got no answer in time"),
    Counter("stray_responses", "counter", "message", "responses that no transaction has waited for"),
    Counter("merged", "counter", "message", "requests that came by two ways (RFC 3261 §8.2.2.2)"),
    Counter("transport_errors", "counter", "message", "that could not be sent"),
    Counter("unreachable", "counter", "transaction", "that ended at once, since nobody is there"),
    Counter("withheld", "counter", "message", "not sent: to who has proven nothing, or since no datagram holds it"),
    # Redial
    Counter("redial_watches", "gauge", "watch", "that this worker looks after"),
    Counter("redial_recalling", "gauge", "recall", "that go on"),
    Counter("legs", "gauge", "dialog", "of the server itself with phones that it calls"),
    Counter("redial_armed", "counter", "watch", "a caller waits for a callee"),
    Counter("redial_unacknowledged", "counter", "watch", "offered, renewed or cancelled by a 480 that no ACK came for"),
    Counter("redial_renewed", "counter", "watch", "its caller has called once more"),
    Counter("redial_cancelled", "counter", "watch", "its caller wants it no more"),
    Counter("redial_expired", "counter", "watch", "its monitoring period is over"),
    Counter("redial_recalls", "counter", "recall", "a caller's phone was asked to call"),
    Counter("redial_recall_failures", "counter", "recall", "that came to nothing"),
    Counter("redial_completed", "counter", "watch", "its call was answered"),
    Counter("redial_given_up", "counter", "watch", "its recalls came to nothing too often"),
    *(
        Counter(of_method(method, name), "counter", "try", f"{method}: {says}")
        for method in METHODS
        for name, says in OUTCOMES.items()
    ),
    # Events (docs/events.md)
    Counter("events_written", "counter", "event", "that their receiver took"),
    Counter("events_lost", "counter", "event", "that it did not take in time, or will never take"),
    Counter("events_waiting", "gauge", "event", "that it has not taken yet"),
    # The driver
    Counter("batches", "counter", "batch", "messages that were read with one look at the clock"),
    Counter("postponed", "counter", "message", "REGISTERs that had to wait while more came than was handled"),
    Counter("postponed_drops", "counter", "message", "of these that were dropped"),
    Counter("driver_failures", "counter", "fault", "that left the engine"),
    Counter("unroutable", "counter", "message", "for a transport that there is none of"),
    # UDP
    Counter("udp_received", "counter", "datagram", "that were read"),
    Counter("udp_empty", "counter", "datagram", "without a byte"),
    Counter("udp_truncated", "counter", "datagram", "longer than any message may be"),
    Counter("udp_receive_errors", "counter", "error", "of reading; mostly ICMP about something sent before"),
    Counter("udp_kernel_drops", "counter", "datagram", "that the kernel had no room for"),
    Counter("udp_sent", "counter", "datagram", "that the kernel took"),
    Counter("udp_sent_together", "counter", "datagram", "of these that it cut from one piece"),
    Counter("udp_send_errors", "counter", "datagram", "that it refused"),
    Counter("udp_send_drops", "counter", "datagram", "that found no room in front of it"),
    Counter("udp_network_errors", "counter", "error", "ICMP errors about what was sent"),
    Counter("udp_unroutable", "counter", "datagram", "of an address family that nothing is listened on in"),
)
BY_NAME = {counter.name: counter for counter in COUNTERS}
