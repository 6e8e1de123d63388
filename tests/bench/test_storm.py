"""A REGISTER storm: played against a real server, small; and its report."""

from __future__ import annotations

import re
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("hdrh", reason="hdrhistogram is in the bench dependency group")

from benchmarks import storm
from benchmarks.loadgen.measure import generator
from benchmarks.peers.servers import running
from sipfast.store.backends.lmdb import LmdbTables
from sipfast.store.records import RECALLING
from sipfast.store.repository import Store

PHONES = 500


def test_a_storm_recalls_everybody_once_and_others_go_on_calling(monkeypatch: pytest.MonkeyPatch) -> None:
    stored: list[Any] = []
    blow = storm.blow

    def looking(load: Any, phones: int, spread: float, peer: Any) -> dict[str, Any]:
        told = blow(load, phones, spread, peer)
        store = Store(LmdbTables(peer.folder / "data", readonly=True))
        stored.extend(store.each_watch())
        store.close()
        return told

    monkeypatch.setattr(storm, "blow", looking)
    monkeypatch.setattr(storm, "AFTERWARDS", 1.0)
    run = storm.one_storm(PHONES, False, rate=50, calm=0.3, spread=0.01)
    assert (run["recalled"], run["twice"]) == (PHONES, 0), run
    assert not any(run["counters"][name] for name in ("wrong", "stray", "lost")), run["complaints"]
    assert len(stored) == PHONES
    assert all((watch.state, watch.attempts) == (RECALLING, 1) for watch in stored)
    assert run["calls"]["begun"] == run["calls"]["completed"] > 10
    assert run["answered_us"]["max"] < storm.GOAL * 1e6
    assert 0 < run["last_recall"] < 30


def answer(request: bytes, status: bytes, tag: bytes) -> bytes:
    kept = [line for line in request.split(b"\r\n") if re.match(rb"(Via|From|Call-ID|CSeq):", line)]
    (to,) = re.findall(rb"To:[^\r]*", request)
    info = b"Call-Info: <sip:x>;purpose=call-completion;m=NL"
    return b"\r\n".join([b"SIP/2.0 " + status, *kept, to + b";tag=" + tag, info, b"Content-Length: 0", b"", b""])


def refer(contact: bytes, callee: bytes, call_id: bytes) -> bytes:
    return (
        b"REFER %b SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bK%b\r\nFrom: <%b>;tag=1\r\nTo: <sip:a>\r\n"
        b"Call-ID: %b\r\nCSeq: 1 REFER\r\nContact: <sip:x>\r\nRefer-To: <%b>\r\nContent-Length: 0\r\n\r\n"
    ) % (contact, call_id, callee, call_id, callee)


@pytest.mark.parametrize(
    ("call_ids", "made", "again", "repeated"),
    [((b"one",), 1, 0, 0), ((b"one", b"one"), 1, 0, 1), ((b"one", b"two"), 1, 1, 0), ((), 0, 0, 0)],
    ids=["once", "retransmitted", "twice", "never"],
)
def test_a_recall_too_many_is_told_from_a_retransmission(
    call_ids: tuple[bytes, ...], made: int, again: int, repeated: int
) -> None:
    """Against a server of this test's own."""
    ended = threading.Event()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind(("127.0.0.1", 0))
        bound.settimeout(0.05)

        def serve() -> None:
            contact, caller = b"", None
            while not ended.is_set():
                try:
                    data, peer = bound.recvfrom(65535)
                except TimeoutError:
                    continue
                if data.startswith(b"INVITE"):
                    contact, caller = re.findall(rb"Contact: <(.*?)>", data)[0], peer
                    bound.sendto(answer(data, b"480 Gone", b"x"), peer)
                elif data.startswith(b"REGISTER"):
                    bound.sendto(answer(data, b"200 OK", b"y"), peer)
                    for call_id in call_ids:
                        bound.sendto(refer(contact, b"sip:b0@example.test", call_id), caller)

        thread = threading.Thread(target=serve)
        thread.start()
        load = generator("storm", bound.getsockname(), size=1, t1=5)
        try:
            storm.arm(load, 1)
            load.storm()
            load.run(5, limit=1)
            load.drain(0.3)
            load.listen(0.3)
            assert (load.recalls_made, load.recalls_again, load.refers_repeated) == (made, again, repeated)
            assert load.counters()["lost"] == 1 - made
        finally:
            load.close()
            ended.set()
            thread.join()


def test_without_its_480_a_watch_is_not_armed() -> None:
    with running("sipfast", "options", core=None) as peer:
        load = generator("storm", peer.address, size=1, domain="elsewhere.test")
        with pytest.raises(RuntimeError, match="armed"):
            storm.arm(load, 1)
        load.close()


def of(recalled: int, twice: int, worst: float, lost: int = 0) -> dict[str, Any]:
    times = {"p50": 1000.0, "p99": 2000.0, "max": worst}
    counters = dict.fromkeys(("wrong", "stray", "lost"), 0) | {"retransmitted": 7}
    calls = dict.fromkeys(("wrong", "stray"), 0) | {"begun": 50, "completed": 50 - lost, "lost": lost}
    run = {"phones": 100, "rate": 200.0, "recalled": recalled, "twice": twice, "last_recall": 2.5, "cpu_us_each": 20.0}
    run |= {"counters": counters, "calls": calls, "refers_repeated": 3, "dropped": 4, "sent_in": 1.0, "complaints": []}
    return run | dict.fromkeys(("bound_us", "answered_us", "calm_answered_us"), times)


def found(*runs: dict[str, Any]) -> dict[str, Any]:
    return {"machine": {"cpu": "x", "cores": 2}, "began": "now", "pinned": True, "phones": 100, "runs": list(runs)}


def test_the_worst_run_is_shown() -> None:
    lines = list(storm.summary(found(of(100, 0, 50_000), of(98, 1, 1_200_000, lost=2))))
    assert lines[0].startswith("| 100 phones back within 1 s, the worst of 2 ")
    assert [line.split("|")[2].strip() for line in lines[2:]] == ["2", "1", "1,200 ms", "2", "2.5 s"]


def test_what_went_wrong_is_told() -> None:
    assert "'calls lost': 2" in storm.table(found(of(100, 0, 50_000), of(98, 1, 1_200_000, lost=2)))
    assert "lost'" not in storm.table(found(of(100, 0, 50_000)))


def test_the_readme_shows_the_newest(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("a\n<!-- storm -->\nold\n<!-- end of storm -->\nz\n")
    storm.into_readme(readme, found(of(100, 0, 50_000)))
    assert readme.read_text().startswith("a\n<!-- storm -->\n| 100 phones back")
    assert "old" not in readme.read_text()
