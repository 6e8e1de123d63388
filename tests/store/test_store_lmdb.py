"""What only the LMDB store has to show: other processes, kill -9, full disks, damaged files."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lmdb
import pytest
from net.stores import count_watches, directory

from sipfast.errors import StoreCorrupt, StoreError, StoreUnavailable
from sipfast.store.backends.lmdb import LmdbTables
from sipfast.store.keys import key_of
from sipfast.store.records import Binding, Talk, Watch, encode_bindings, encode_talk, encode_watch
from sipfast.store.repository import Store

NOW = 1_700_000_000_000
A, B = b"sip:a@example.org", b"sip:b@example.org"
PRELUDE = """
import sys, lmdb, os, resource, signal
from sipfast.errors import *
from sipfast.store.records import *
from sipfast.store.backends.lmdb import LmdbTables
from sipfast.store.repository import Store
import msgspec
NOW = 1_700_000_000_000
def watch(n, **more):
    return Watch(b"sip:b%d@example.org" % n, b"sip:a@example.org", NOW, NOW + 1000, b"c", b"sip:a@192.0.2.1", **more)
def binding(): return Binding(b"sip:b@192.0.2.1", NOW + 1000, b"c", 1)
def say(what): print(what, flush=True)
"""


def watch(n: int, **more: Any) -> Watch:
    return Watch(b"sip:b%d@example.org" % n, A, NOW, NOW + 1000, b"c", b"sip:a@192.0.2.1", **more)


def binding(contact: bytes = b"sip:b@192.0.2.1") -> Binding:
    return Binding(contact, NOW + 1000, b"c", 1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    store = Store(LmdbTables(path))
    yield store
    store.close()


@pytest.fixture
def process() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a Python process with PRELUDE; killed at the end of the test."""
    started = []

    def start(script: str, *arguments: object, **options: Any) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", PRELUDE + script, *map(str, arguments)]
        started.append(subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, **options))
        return started[-1]

    yield start
    for each in started:
        each.kill()
        each.communicate()


def output(started: subprocess.Popen[str]) -> list[str]:
    text, _ = started.communicate(timeout=60)
    assert started.returncode == 0
    return text.split()


# ---------------------------------------------------------------- kill -9


def test_kill_9_loses_nothing_that_was_committed_and_keeps_nothing_that_was_not(path: Path, process: Any) -> None:
    writer = process(
        """
store = Store(LmdbTables(sys.argv[1]))
for batch in range(1_000_000):
    for n in range(10):
        store.put_watch(watch(10 * batch + n))
    store.put_bindings(b"sip:%d@example.org" % batch, [binding()])
    store.commit()
    say(batch)
""",
        path,
    )
    for line in writer.stdout:
        if int(line) == 300:
            break
    writer.kill()
    told = [300, *map(int, writer.stdout.read().split())][-1]
    writer.wait()
    store = Store(LmdbTables(path))
    assert count_watches(store) >= 10 * (told + 1)
    batches, rest = divmod(count_watches(store), 10)
    assert rest == 0, "a batch is there as a whole or not at all"
    assert sorted(w.callee for w in store.each_watch()) == sorted(watch(n).callee for n in range(10 * batches))
    assert store.count_by_caller(A) == 10 * batches
    assert len(list(store.each_bindings())) == batches
    store.close()


def test_kill_9_before_the_commit_leaves_the_commit_before(path: Path, process: Any) -> None:
    writer = process(
        """
store = Store(LmdbTables(sys.argv[1]))
store.put_watch(watch(1)); store.commit()
store.put_watch(watch(2)); store.delete_watch(watch(1).callee, watch(1).caller)
say("written"); sys.stdin.read()
""",
        path,
    )
    assert writer.stdout.readline() == "written\n"
    writer.kill()
    writer.wait()
    store = Store(LmdbTables(path))
    assert list(store.each_watch()) == [watch(1)]
    store.put_watch(watch(3))  # the lock of the dead writer is free
    store.commit()
    store.close()


# ---------------------------------------------------------------- several processes


def test_two_processes_claim_each_watch_exactly_once(path: Path, process: Any) -> None:
    store = Store(LmdbTables(path))
    for n in range(1000):
        store.put_watch(watch(n))
    store.commit()
    store.close()
    claimants = [
        process(
            """
store = Store(LmdbTables(sys.argv[1]))
armed = list(store.each_watch())
say("ready"); sys.stdin.readline()
won = []
for number, each in enumerate(armed):
    if store.claim(each, msgspec.structs.replace(each.unpacked(), state=RECALLING, refer_tag=b"%d" % os.getpid())):
        won.append(each.callee.decode())
    if number % 7 == 0:
        store.commit()
store.commit()
say(" ".join(won))
""",
            path,
        )
        for _ in range(2)
    ]
    for each in claimants:
        assert each.stdout.readline() == "ready\n"
    for each in claimants:
        each.stdin.write("go\n")
        each.stdin.flush()
    won = [output(each) for each in claimants]
    assert sorted(won[0] + won[1]) == sorted(watch(n).callee.decode() for n in range(1000))
    store = Store(LmdbTables(path))
    for each, callees in zip(claimants, won, strict=True):
        marked = {w.callee.decode() for w in store.each_watch() if w.refer_tag == b"%d" % each.pid}
        assert marked == set(callees)
    store.close()


PEER = """
store = Store(LmdbTables(sys.argv[1]))
say("ready")
for line in sys.stdin:
    say(repr(eval(line)))
"""


class Peer:
    """A store in another process."""

    def __init__(self, started: subprocess.Popen[str]) -> None:
        self.process = started
        assert self.hear() == "ready"

    def hear(self) -> str:
        return self.process.stdout.readline().strip()

    def tell(self, expression: str) -> None:
        self.process.stdin.write(expression + "\n")
        self.process.stdin.flush()

    def ask(self, expression: str) -> str:
        self.tell(expression)
        return self.hear()


def test_a_read_sees_what_another_process_has_committed(store: Store, path: Path, process: Any) -> None:
    peer = Peer(process(PEER, path))
    store.put_watch(watch(1))
    assert peer.ask("len(list(store.each_watch()))") == "0"
    store.commit()
    assert peer.ask("len(list(store.each_watch()))") == "1"
    assert peer.ask("store.delete_watch(watch(1).callee, watch(1).caller)") == "True"
    assert store.watch(watch(1).callee, A) == watch(1)
    assert peer.ask("store.commit()") == "None"
    assert store.watch(watch(1).callee, A) is None
    assert store.watches(watch(1).callee) == []
    assert not store.claim(watch(1), watch(1, attempts=1))
    store.commit()


def test_a_held_snapshot_lasts_for_the_batch_and_not_longer(store: Store, path: Path, process: Any) -> None:
    peer = Peer(process(PEER, path))

    def put(number: int) -> None:
        assert peer.ask(f"store.put_watch(watch({number}))") == "None" and peer.ask("store.commit()") == "None"

    def seen() -> list[bool]:
        return [store.has_watch(watch(number).callee, A) for number in (1, 2, 3)]

    assert seen() == [False, False, False]
    put(1)
    assert seen() == [True, False, False]  # not held: what is committed by then
    store.hold_snapshot()
    assert seen() == [True, False, False]
    put(2)
    assert seen() == [True, False, False]
    store.hold_snapshot()
    assert seen() == [True, True, False]
    put(3)
    store.for_update()
    assert seen() == [True, True, True]
    store.commit()
    peer.ask("store.delete_watch(watch(1).callee, watch(1).caller)")
    peer.ask("store.commit()")
    assert seen() == [False, True, True]
    store.hold_snapshot()
    assert seen() == [False, True, True]
    put(1)
    store.commit()
    assert seen() == [True, True, True]


def test_for_update_shuts_out_other_writers_until_the_batch_ends(store: Store, path: Path, process: Any) -> None:
    peer = Peer(process(PEER, path))
    store.put_bindings(B, [binding()])
    store.commit()
    for end in (store.commit, store.abort):
        store.for_update()
        peer.tell("(store.put_bindings(b'sip:b@example.org', []), store.commit())")
        assert store.bindings(B) == (binding(),)
        store.put_bindings(B, [*store.bindings(B), binding(b"sip:second@192.0.2.1")])
        end()
        assert peer.hear() == "(None, None)"
        assert store.bindings(B) == (), "the other's change came after ours, and none was lost"
        store.put_bindings(B, [binding()])
        store.commit()


def test_a_batch_without_writes_lets_others_in_at_its_end(store: Store, path: Path, process: Any) -> None:
    peer = Peer(process(PEER, path))
    store.for_update()
    store.commit()
    assert peer.ask("store.put_watch(watch(1))") == "None"


def test_a_store_grown_by_another_process_with_a_larger_map_is_still_read(path: Path, process: Any) -> None:
    store = Store(LmdbTables(path, map_size_gib=1 / 1024))
    peer = Peer(process(PEER, path))
    assert peer.ask("[store.put_watch(watch(n, last_result='x' * 500)) for n in range(5000)][0]") == "None"
    assert peer.ask("store.commit()") == "None"
    assert count_watches(store) == 5000
    assert len(list(store.each_watch())) == 5000
    store.put_watch(watch(5000))
    store.commit()
    store.close()


def test_the_places_of_killed_readers_are_taken_back(path: Path, process: Any) -> None:
    Store(LmdbTables(path)).close()
    Peer(process(PEER, path))  # as long as one has it open, nobody begins with an empty table of readers
    peer = Peer(process(PEER, path))
    assert peer.ask("[store.put_watch(watch(n)) for n in range(2)][0]") == "None"
    assert peer.ask("store.commit()") == "None"
    assert peer.ask("globals().update(kept=store.each_watch()) or next(kept).callee") == repr(watch(0).callee)
    peer.process.kill()
    peer.process.wait()
    store = Store(LmdbTables(path))
    assert str(peer.process.pid) not in directory(store).environment.readers().split()
    store.close()


def test_one_server_at_a_time(path: Path, process: Any) -> None:
    server = process("store = Store(LmdbTables(sys.argv[1], exclusive=True)); say('serving'); sys.stdin.read()", path)
    assert server.stdout.readline() == "serving\n"
    with pytest.raises(StoreUnavailable, match=rf"{path}: in use by another server \(process {server.pid}\)"):
        Store(LmdbTables(path, exclusive=True))
    beside = Store(LmdbTables(path))
    beside.put_watch(watch(1))
    beside.commit()
    beside.close()
    server.kill()
    server.wait()
    store = Store(LmdbTables(path, exclusive=True))
    assert count_watches(store) == 1
    store.close()
    Store(LmdbTables(path, exclusive=True)).close()


def test_a_second_store_on_the_same_directory_in_one_process_is_refused(store: Store, path: Path) -> None:
    for again in (path, path / ".." / path.name):
        with pytest.raises(StoreUnavailable, match="already open in this process"):
            Store(LmdbTables(again))
    store.put_watch(watch(1))
    store.commit()
    store.close()
    Store(LmdbTables(path)).close()


# ---------------------------------------------------------------- opening


def test_a_new_store_is_private(store: Store, path: Path) -> None:
    assert path.stat().st_mode & 0o777 == 0o700
    assert {entry.name: entry.stat().st_mode & 0o777 for entry in path.iterdir()} == {"data.mdb": 0o600, "lock.mdb": 0o600}


def test_reading_only(path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="there is no store here"):
        Store(LmdbTables(path, readonly=True))
    assert not path.exists()
    store = Store(LmdbTables(path))
    store.put_watch(watch(1))
    secret = store.secret()
    store.commit()
    store.close()
    store = Store(LmdbTables(path, readonly=True))
    assert list(store.each_watch()) == [watch(1)]
    assert store.secret() == secret
    for write in (store.for_update, lambda: store.put_watch(watch(2)), lambda: store.claim(watch(1), watch(2))):
        with pytest.raises(StoreUnavailable, match="for reading only"):
            write()
    store.flush()
    store.close()


def test_durability_power(path: Path) -> None:
    store = Store(LmdbTables(path, durability="power"))
    store.put_watch(watch(1))
    store.commit()
    assert directory(store).environment.flags()["sync"] and directory(store).environment.flags()["metasync"]
    store.close()
    store = Store(LmdbTables(path))
    assert not directory(store).environment.flags()["sync"]
    assert not directory(store).environment.flags()["writemap"], "with it a full disk would be a SIGBUS"
    assert count_watches(store) == 1
    store.close()


def content(path: Path) -> dict[str, bytes]:
    return {entry.name: entry.read_bytes() for entry in path.iterdir() if entry.name != "lock.mdb"}


def foreign_environment(path: Path) -> None:
    env = lmdb.open(str(path))
    with env.begin(write=True) as txn:
        txn.put(b"theirs", b"1")
    env.close()


def newer_format(path: Path) -> None:
    Store(LmdbTables(path)).close()
    env = lmdb.open(str(path), max_dbs=8)
    with env.begin(write=True) as txn:
        txn.put(b"format", b"3", db=env.open_db(b"meta", txn))
        txn.drop(env.open_db(b"talks", txn))
    env.close()


STRANGERS: dict[str, tuple[Callable[[Path], object], str]] = {
    "other files": (lambda path: (path / "letter.txt").write_text("dear"), "holds 'letter.txt' and no store"),
    "no LMDB file": (lambda path: (path / "data.mdb").write_bytes(b"dear" * 5000), "not a store, or a damaged one"),
    "a short file": (lambda path: (path / "data.mdb").write_bytes(b"dear"), "not a store, or a damaged one"),
    "another's LMDB": (foreign_environment, "no store of sipfast"),
    "a newer format": (newer_format, "has format 3, this sipfast reads 2"),
}


@pytest.mark.parametrize(("make", "message"), STRANGERS.values(), ids=STRANGERS)
@pytest.mark.parametrize("readonly", [False, True], ids=["", "readonly"])
def test_what_is_not_ours_is_refused_and_left_as_it_is(
    path: Path, make: Callable[[Path], object], message: str, readonly: bool
) -> None:
    path.mkdir()
    make(path)
    before = content(path)
    with pytest.raises(StoreError) as raised:
        Store(LmdbTables(path, readonly=readonly))
    assert str(raised.value).startswith(f"{path}: ")
    assert "\n" not in str(raised.value)
    if not (readonly and "data.mdb" not in before):
        assert isinstance(raised.value, StoreCorrupt)
        assert message in str(raised.value)
    assert content(path) == before


def test_an_empty_directory_and_an_empty_file_become_a_store(path: Path) -> None:
    path.mkdir()
    (path / "lost+found").mkdir()
    (path / "data.mdb").touch()  # killed between making the file and writing it
    store = Store(LmdbTables(path))
    store.put_watch(watch(1))
    store.commit()
    store.close()


def test_a_path_that_is_no_directory_is_refused(path: Path) -> None:
    path.write_text("dear")
    for options in ({}, {"readonly": True}, {"exclusive": True}):
        with pytest.raises(StoreUnavailable, match=str(path)):
            Store(LmdbTables(path, **options))
    assert path.read_text() == "dear"


def test_a_directory_without_permission_is_refused(path: Path, process: Any) -> None:
    """In a process of its own: root may write anywhere, so it becomes somebody else first."""
    Store(LmdbTables(path)).close()
    closed = path.parent / "closed"
    closed.mkdir(mode=0o555)
    before = content(path)
    script = """
if os.geteuid() == 0:
    os.setgid(65534); os.setuid(65534)
for path in sys.argv[1:]:
    try:
        Store(LmdbTables(path))
    except StoreUnavailable as error:
        say("refused" if str(error).startswith(path + ": ") and "\\n" not in str(error) else error)
"""
    for each in path.parents:
        if each.name.startswith(("pytest-", "test_")):
            each.chmod(0o755)  # or it would be refused on the way
    path.chmod(0o755 if os.geteuid() == 0 else 0o555)
    for each in path.iterdir():
        each.chmod(0o444)
    assert output(process(script, path, closed, closed / "new")) == ["refused"] * 3
    assert content(path) == before
    path.chmod(0o755)


# ---------------------------------------------------------------- no room


def test_a_full_map_fails_the_batch_and_nothing_else(path: Path) -> None:
    store = Store(LmdbTables(path, map_size_gib=1 / 1024))
    store.put_watch(watch(0))
    store.commit()
    with pytest.raises(StoreUnavailable, match=f"{path}: the store has grown to its limit .* raise map_size"):
        for n in range(1, 10_000):
            store.put_watch(watch(n))
    for use in (
        lambda: store.put_watch(watch(1)),
        store.for_update,
        lambda: count_watches(store),
        lambda: store.bindings(B),
        lambda: next(store.each_watch()),
        lambda: store.delete_watch(watch(0).callee, A),
        store.commit,
    ):
        with pytest.raises(StoreUnavailable, match="raise map_size"):
            use()
    assert list(store.each_watch()) == [watch(0)]
    store.put_watch(watch(1))
    store.commit()
    assert store.delete_watch(watch(0).callee, A)
    store.commit()
    assert list(store.each_watch()) == [watch(1)]
    store.close()


def test_abort_ends_a_spoiled_batch_too(path: Path) -> None:
    store = Store(LmdbTables(path, map_size_gib=1 / 1024))
    with pytest.raises(StoreUnavailable):
        for n in range(10_000):
            store.put_watch(watch(n))
    store.abort()
    assert count_watches(store) == 0
    store.commit()
    store.close()


FILL = """
store = Store(LmdbTables(sys.argv[1]))
store.put_watch(watch(0))
store.commit()
before = list(store.each_watch())
{shrink}
for attempt in range(3):
    try:
        for n in range(1, 20_000):
            store.put_watch(watch(n))
        store.commit()
    except StoreUnavailable as error:
        say("refused" if str(error).startswith(sys.argv[1] + ": ") else error)
    store.abort()
    assert list(store.each_watch()) == before
    assert store.count_by_caller(watch(0).caller) == 1
{grow}
for n in range(1, 20_000):
    store.put_watch(watch(n))
store.commit()
assert len(list(store.each_watch())) == 20_000
store.close()
store = Store(LmdbTables(sys.argv[1]))
assert len(list(store.each_watch())) == 20_000
say("recovered")
"""


def test_a_file_that_may_not_grow_fails_the_commit_and_nothing_else(path: Path, process: Any) -> None:
    script = FILL.format(
        shrink="""
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
size = os.path.getsize(sys.argv[1] + "/data.mdb")
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100_000, resource.RLIM_INFINITY))
""",
        grow="resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))",
    )
    assert output(process(script, path)) == ["refused"] * 3 + ["recovered"]


def test_a_full_disk_fails_the_commit_and_nothing_else(path: Path, process: Any) -> None:
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(path)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("may not mount a small disk")
    try:
        script = FILL.format(shrink="", grow="os.system('mount -o remount,size=64m ' + sys.argv[1])")
        assert output(process(script, path)) == ["refused"] * 3 + ["recovered"]
    finally:
        subprocess.run(["umount", str(path)], check=True)


def test_after_a_panic_the_environment_is_opened_anew(store: Store) -> None:
    """LMDB panics, for good, when it could not write its roots."""
    store.put_watch(watch(1))
    store.commit()

    class Panicked:
        def __init__(self, env: Any) -> None:
            self.close = env.close

        def begin(self, *_: object) -> None:
            raise lmdb.PanicError("MDB_PANIC")

    directory(store).environment = Panicked(directory(store).environment)
    with pytest.raises(StoreUnavailable):
        store.put_watch(watch(2))
    store.put_watch(watch(3))
    store.commit()
    assert list(store.each_watch()) == [watch(1), watch(3)]


# ---------------------------------------------------------------- records and keys


def test_a_damaged_record_is_reported_when_it_is_read(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    Store(LmdbTables(path)).close()
    env = lmdb.open(str(path), max_dbs=8)
    with env.begin(write=True) as txn:
        txn.put(B, b"\x93\x01", db=env.open_db(b"bindings", txn))
        txn.put(B + b"\0" + A, b"\x92\x02\x90", db=env.open_db(b"watches", txn))
        txn.put(B, b"", db=env.open_db(b"talks", txn))
        txn.delete(b"secret", db=env.open_db(b"meta", txn))
    env.close()
    store = Store(LmdbTables(path))
    for read in (lambda: store.bindings(B), lambda: store.watch(B, A), lambda: store.talk(B), store.secret):
        with pytest.raises(StoreCorrupt, match=str(path)):
            read()
    # It concerns its own key: what reads all of them passes it over, and says so once.
    assert list(store.each_bindings()) == list(store.each_watch()) == list(store.each_talk()) == store.watches(B) == []
    assert store.sweep_bindings(NOW, 1) == 0
    assert {record.getMessage() for record in caplog.records} == {"record-unreadable"}
    assert len(caplog.records) == 3
    store.put_bindings(B, [binding()])
    store.commit()
    assert store.bindings(B) == (binding(),)
    store.close()


def test_a_record_is_compared_with_the_aor_that_was_asked_for(path: Path) -> None:
    """What a shortened key of two AORs would do."""
    Store(LmdbTables(path)).close()
    env = lmdb.open(str(path), max_dbs=8)
    with env.begin(write=True) as txn:
        txn.put(B, encode_bindings(A, (binding(),)), db=env.open_db(b"bindings", txn))
        txn.put(B + b"\0" + A, encode_watch(watch(1)), db=env.open_db(b"watches", txn))
        txn.put(B, encode_talk(Talk(A, B, b"c", NOW)), db=env.open_db(b"talks", txn))
        txn.put(B, A, db=env.open_db(b"known", txn))
    env.close()
    store = Store(LmdbTables(path))
    assert store.bindings(B) == ()
    assert store.watch(B, A) is None
    assert store.watches(B) == []
    assert store.talk(B) is None
    assert not store.is_known(B)
    store.close()


def test_an_aor_that_looks_like_a_shortened_key_is_not_taken_for_it(store: Store) -> None:
    long = b"sip:" + b"x" * 3000
    mimic = key_of(long)
    assert len(mimic) == 255
    store.put_bindings(long, [binding()])
    store.put_known(long)
    store.put_watch(watch(1))
    assert store.bindings(mimic) == ()
    assert not store.is_known(mimic)
    store.put_bindings(mimic, [binding(b"sip:mimic@192.0.2.1")])
    store.commit()
    assert store.bindings(long) == (binding(),)


def test_using_a_closed_store_is_an_error(path: Path) -> None:
    store = Store(LmdbTables(path))
    store.close()
    for use in (lambda: store.bindings(B), lambda: store.put_watch(watch(1)), lambda: count_watches(store)):
        with pytest.raises(StoreUnavailable, match="closed"):
            use()
