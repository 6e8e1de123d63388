"""What each message or call makes is kept out of the garbage collector's sight: a collection looks at all that lingers."""

from __future__ import annotations

import pytest

from sipfast._flow import Flow
from sipfast._parser import Message
from sipfast.routing import context
from sipfast.store.codec import StoredBindings, StoredWatch
from sipfast.transaction.client import ClientTransaction
from sipfast.transaction.server import ServerTransaction
from sipfast.trust import credit

TRACKED = 1 << 14  # Py_TPFLAGS_HAVE_GC
MANY = [
    Flow, Message, ClientTransaction, ServerTransaction, context.ResponseContext, context.Branch, StoredBindings,
    StoredWatch, credit.Credit,
]  # fmt: skip


@pytest.mark.parametrize("kind", MANY, ids=lambda kind: kind.__name__)
def test_the_collector_does_not_see_what_there_are_many_of(kind: type) -> None:
    assert not kind.__flags__ & TRACKED
