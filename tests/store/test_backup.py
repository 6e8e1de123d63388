"""`sipfast backup FILE`: a consistent copy of a store that is being written to."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import one_line, sipfast_command
from net.stores import count_watches
from peers.phones import Fleet, run
from peers.process import HERE
from peers.server import Server

from sipfast.errors import StoreCorrupt
from sipfast.store.backends.lmdb import LmdbTables
from sipfast.store.records import Watch
from sipfast.store.repository import Store

NOW = 1_700_000_000_000
MANY = 60


def watch(n: int) -> Watch:
    return Watch(b"sip:b%d@x" % n, b"sip:a@x", NOW, NOW + 1000, b"c", b"sip:a@192.0.2.1")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    store = Store(LmdbTables(tmp_path / "data", exclusive=True))
    for n in range(100):
        store.put_watch(watch(n))
    store.commit()
    store.close()
    return tmp_path / "data"


def restored(file: Path, folder: Path) -> Store:
    folder.mkdir()
    shutil.copy(file, folder / "data.mdb")
    return Store(LmdbTables(folder, exclusive=True))


def test_a_backup_is_the_store(data: Path, tmp_path: Path) -> None:
    done = sipfast_command("backup", "copy.mdb", "--data", data, folder=tmp_path)
    assert done.returncode == 0 and done.stdout.startswith("copy.mdb: "), done
    assert (tmp_path / "copy.mdb").stat().st_mode & 0o777 == 0o600, "the secret is in it"
    assert not list(tmp_path.glob("*.part"))
    store, was = restored(tmp_path / "copy.mdb", tmp_path / "again"), Store(LmdbTables(data))
    assert list(store.each_watch()) == list(was.each_watch()) and count_watches(store) == 100
    assert store.secret() == was.secret()
    store.close()
    was.close()


def test_a_former_backup_is_replaced_and_nothing_else(data: Path, tmp_path: Path) -> None:
    for _ in range(2):
        assert sipfast_command("backup", tmp_path / "copy.mdb", "--data", data).returncode == 0
    for content in (b"dear", b"dear" * 1000, b""):
        (tmp_path / "mine").write_bytes(content)
        line = one_line(sipfast_command("backup", tmp_path / "mine", "--data", data), 2)
        assert "choose another name" in line
        assert (tmp_path / "mine").read_bytes() == content


TROUBLE = {
    "no such directory": ("nowhere/copy.mdb", "No such file or directory"),
    "a directory": (".", "directory"),
}


@pytest.mark.parametrize(("target", "says"), TROUBLE.values(), ids=TROUBLE)
def test_what_cannot_be_written_is_one_line(data: Path, tmp_path: Path, target: str, says: str) -> None:
    line = one_line(sipfast_command("backup", tmp_path / target, "--data", data), 2)
    assert says in line and str(tmp_path) in line


def test_a_store_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    assert "there is no store here" in one_line(sipfast_command("backup", "c", "--data", "none", folder=tmp_path), 2)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(params=[1, 2], ids=["alone", "2 workers"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    it = Server(
        tmp_path, 1, port=HERE.free_port(), domain="x", data=tmp_path / "data", upstream=None, config="",
        workers=request.param,
    )  # fmt: skip
    yield it.ready()
    it.stop()


def test_backups_of_a_server_at_work_are_whole_and_hold_what_was_acknowledged_before(server: Server, tmp_path: Path) -> None:
    """Phones register all the while; a plain cp gave 3 damaged files of 12."""
    phones = Fleet("p", MANY, server.port, "x")
    acknowledged: list[int] = []
    ended = threading.Event()

    def back_up() -> None:
        for number in range(12):
            acknowledged.append(sum(phone.registered for phone in phones))
            done = sipfast_command("backup", tmp_path / f"{number}.mdb", "--data", tmp_path / "data")
            assert done.returncode == 0, done
        ended.set()

    def again() -> bool:
        for phone in phones:
            if len(phone.register_statuses) == phone._register_seq:
                phone.register()
        return ended.is_set()

    maker = threading.Thread(target=back_up)
    maker.start()
    run([phones], again, 120, "twelve backups")
    maker.join()
    phones.close()
    assert len(acknowledged) == 12
    for number, known in enumerate(acknowledged):
        store = restored(tmp_path / f"{number}.mdb", tmp_path / f"again{number}")
        assert len(list(store.each_bindings())) >= known, number
        store.close()


# A store that is no longer there is not begun anew in silence


@pytest.mark.parametrize("how", ["emptied", "removed"])
def test_a_data_file_that_was_emptied_is_not_begun_anew_in_silence(data: Path, how: str) -> None:
    for _ in range(2):
        (data / "data.mdb").write_bytes(b"") if how == "emptied" else (data / "data.mdb").unlink(missing_ok=True)
        with pytest.raises(StoreCorrupt, match=r"remove server\.lock to begin anew"):
            Store(LmdbTables(data, exclusive=True))
        line = one_line(sipfast_command("serve", "--listen", "udp:127.0.0.1:0", "--data", data, "--workers", 1), 2)
        assert line.startswith(f"sipfast: {data}: data.mdb is {'empty' if how == 'emptied' else 'gone'}")
    (data / "server.lock").unlink()
    store = Store(LmdbTables(data, exclusive=True))
    assert count_watches(store) == 0
    store.close()


def test_a_first_start_that_was_killed_is_begun_again(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "data.mdb").touch()
    (tmp_path / "data" / "server.lock").write_text("4711\n")
    Store(LmdbTables(tmp_path / "data", exclusive=True)).close()
