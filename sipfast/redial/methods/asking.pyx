"""One request out of a dialog to the caller's phone: what the methods share that ask by it, `refer` and `message`."""

from cpython.bytes cimport PyBytes_GET_SIZE
from libc.stdint cimport int64_t

from ..._flow cimport Flow
from ..._writer cimport has_line_break
from ...transaction.client cimport OUTCOME_UNREACHABLE, ClientTransaction
from ...transaction.layer cimport TransactionLayer
from ...trust.credit cimport Credit
from .method cimport ABSENT, CANNOT, AttemptObserver


cdef int check_lines(bytes uri, bytes route) except -1:
    if has_line_break(uri) or has_line_break(route):
        raise ValueError(f"a line break in {uri!r} or {route!r}")


cdef class AskingMethod(RecallMethod):
    """Asks by one request. Driven by the engine; all times are ms."""

    cdef Asked send(self, Asked attempt, bytes data, bytes branch, Flow flow, Credit credit, AttemptObserver observer,
                    int64_t now):
        cdef TransactionLayer layer = self.transactions
        layer.resume(credit, 0, now)
        if layer.may_send(PyBytes_GET_SIZE(data), flow, False):
            attempt.method = self
            attempt.observer = observer
            attempt.transaction = layer.start(data, branch, flow, attempt, now)
        else:
            attempt = None
            layer.withheld += 1
            layer.release_branch(branch)
            credit.left = 0
        layer.rest()
        return attempt


cdef class Asked(Attempt):
    """That request, and what is answered to it."""

    cdef int give_up(self, int64_t now) except -1:
        self.observer = None
        if self.transaction is not None:
            self.transaction.abandon()
            self.transaction = None

    cpdef int on_failure(self, ClientTransaction transaction, int status, int64_t now) except -1:
        """It was never answered, or could not be delivered."""
        cdef AttemptObserver observer = self.observer
        transaction.handler = None
        self.transaction = self.observer = None
        if observer is None:
            return 0
        if status == OUTCOME_UNREACHABLE:
            observer.ended(ABSENT, "cannot be reached", "caller's phone cannot be reached", now)
        else:
            observer.ended(CANNOT, "none", f"{self.method.asks} got {status} no answer to {self.method.title}", now)
        return 0
