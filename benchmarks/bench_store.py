"""The stores with 100,000 AORs bound and 10,000 watches armed. Figures are for one operation; a batch is 64 of them.

AORs are taken at random, as phones do, so nearly each write of a batch touches a page of its own. With LMDB a single
write with its commit is several system calls; in a batch they are shared.
"""

import random

import msgspec
import pytest

from sipfast.store.backends import pages
from sipfast.store.backends.lmdb import LmdbTables
from sipfast.store.backends.memory import MemoryTables
from sipfast.store.records import RECALLING, Binding, Watch
from sipfast.store.repository import Store

NOW = 1_790_000_000_000
AORS = 100_000
WATCHES = 10_000
BATCH = 64
EACH = {"rounds": 100, "iterations": 100, "warmup_rounds": 5}


def aor(n):
    return b"sip:user%06d@example.org" % n


def binding(n, cseq=1):
    return Binding(
        b"sip:user%06d@192.0.2.1:5060;transport=udp" % n, NOW + 3_600_000, b"%032x@192.0.2.1" % n, cseq,
        params=b';+sip.instance="<urn:uuid:00000000-0000-1000-8000-%012x>"' % n,
        flow=b"\1\1\4\x13\xc4\0\0\0\0\0\0\xc0\0\2\1",
        instance=b"<urn:uuid:00000000-0000-1000-8000-%012x>" % n, updated=NOW,
    )  # fmt: skip


def watch(n):
    return Watch(aor(n), aor(n % 1000 + 50_000), NOW + n, NOW + 3_600_000, b"%032x@192.0.2.1" % n, b"sip:a@192.0.2.1:5060")


@pytest.fixture(scope="module", params=["memory", "lmdb"])
def store(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bench") / "data"
    store = Store(MemoryTables() if request.param == "memory" else LmdbTables(folder))
    fill(store)
    yield store
    store.close()


def fill(store):
    for n in range(AORS):
        store.put_bindings(aor(n), [binding(n)])
    for n in range(WATCHES):
        store.put_watch(watch(n))
    store.commit()


@pytest.fixture
def some():
    return at_random()


def at_random():
    """AORs, without end."""
    chance = random.Random(1)
    return iter(lambda: chance.randrange(AORS), -1)


def test_read_bindings(benchmark, store, some):
    benchmark.pedantic(lambda: store.bindings(aor(next(some))), **EACH)


def test_read_bindings_of_nobody(benchmark, store, some):
    benchmark.pedantic(lambda: store.bindings(b"sip:nobody%d@example.org" % next(some)), **EACH)


def refresh(store, n):
    store.for_update()
    (former,) = store.bindings(aor(n))
    store.put_bindings(aor(n), [binding(n, former.cseq + 1)])


def test_refresh_a_binding_and_commit(benchmark, store, some):
    def run():
        refresh(store, next(some))
        store.commit()

    benchmark.pedantic(run, **EACH)


def refreshed_in_batches(store, some):
    """What refreshes one binding, and commits when it has been called BATCH times."""
    left = BATCH

    def run():
        nonlocal left
        refresh(store, next(some))
        left -= 1
        if left == 0:
            store.commit()
            left = BATCH

    return run


def test_refresh_a_binding_in_a_batch(benchmark, store, some):
    benchmark.pedantic(refreshed_in_batches(store, some), rounds=100, iterations=BATCH, warmup_rounds=5)
    store.commit()


def armed_and_cancelled(store, some):
    """What arms a watch and cancels it, with a commit each."""

    def run():
        each = watch(next(some))
        store.for_update()
        store.count_by_caller(each.caller)
        store.put_watch(each)
        store.commit()
        store.delete_watch(each.callee, each.caller)
        store.commit()

    return run


def test_arm_and_cancel_a_watch(benchmark, store, some):
    benchmark.pedantic(armed_and_cancelled(store, some), **EACH)


def test_claim_a_watch(benchmark, store):
    armed = watch(70_000)
    recalling = msgspec.structs.replace(armed, state=RECALLING)
    store.put_watch(armed)
    store.commit()
    before, after = armed, recalling

    def run():
        nonlocal before, after
        assert store.claim(before, after)
        before, after = after, before
        store.commit()

    benchmark.pedantic(run, **EACH)
    store.delete_watch(armed.callee, armed.caller)
    store.commit()


def test_sweep_2000_records(benchmark, store):
    benchmark.pedantic(lambda: store.sweep_bindings(NOW, 2000), rounds=20)


def test_read_all_watches(benchmark, store):
    """As a server does when it starts."""
    benchmark.pedantic(lambda: sum(1 for _ in store.each_watch()), rounds=5)


def test_look_over_all_pages(benchmark, store):
    """As a server does before it starts. The figure is for the whole file."""
    if not isinstance(store.tables, LmdbTables):
        pytest.skip("has no pages")
    directory = store.tables.directory

    def run():
        with directory.environment.begin() as txn:
            assert pages.damages(directory.path / "data.mdb", txn.id()) == []

    benchmark.pedantic(run, rounds=3)
    benchmark.extra_info["megabytes"] = (directory.path / "data.mdb").stat().st_size >> 20
