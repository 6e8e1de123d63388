"""Where events leave the server: a file, stdout, a webhook; each slow, full, dead or gone. No call waits for any of them."""

from __future__ import annotations

import json
import logging
import os
import re
import socket
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from command import one_line, sipfast_command
from peers.phones import Fleet, run
from peers.process import HERE
from peers.server import Server

from sipfast.config import Config, Events
from sipfast.node import outlet
from sipfast.node.outlet import File, Outlet, Receiver, Refused, Webhook

PATIENCE = 10.0  # seconds


def until(condition: Callable[[], object], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.005)


class Recorder(Receiver):
    """Takes lines, or does what it is told instead."""

    name = "recorder"

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.failing: Exception | None = None
        self.most = 1_000
        self.tries = 0
        self.gate = threading.Event()
        self.gate.set()
        self.closed = False

    def take(self, lines: object) -> int:
        assert isinstance(lines, list)
        self.tries += 1
        self.gate.wait(PATIENCE)
        if self.failing is not None:
            raise self.failing
        self.lines += lines[: self.most]
        return min(len(lines), self.most)

    def close(self) -> None:
        self.closed = True


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlet, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(outlet, "LONGEST_PAUSE", 0.05)


def made(receiver: Receiver, room: int = 1_000) -> Outlet[bytes]:
    it: Outlet[bytes] = Outlet(receiver, bytes, room)
    it.start()
    return it


def numbers(first: int, last: int) -> list[bytes]:
    return [b"%d" % each for each in range(first, last)]


# The queue


def test_all_is_told_in_its_order_and_at_the_end_what_is_left() -> None:
    to = Recorder()
    to.most = 7
    it = made(to)
    for first in range(0, 300, 10):
        it.put(numbers(first, first + 10))
    it.stop()
    assert to.lines == numbers(0, 300) and to.closed
    assert it.counters() == {"events_written": 300, "events_lost": 0, "events_waiting": 0}


def test_who_tells_does_not_wait_and_the_oldest_is_lost() -> None:
    to = Recorder()
    to.gate.clear()
    it = made(to, room=10)
    it.put([b"first"])
    until(lambda: to.tries, "it is being taken")
    began = time.monotonic()
    for number in range(1_000):
        it.put([b"%d" % number])
    assert time.monotonic() - began < 0.5
    assert it.counters() == {"events_written": 0, "events_lost": 990, "events_waiting": 11}
    to.gate.set()
    it.stop()
    assert to.lines == [b"first", *numbers(990, 1_000)]


def test_what_cannot_be_taken_now_is_tried_again_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "sipfast")
    to = Recorder()
    to.failing = OSError(28, "No space left on device")
    it = made(to)
    it.put(numbers(0, 3))
    until(lambda: to.tries > 5, "it is tried again")
    assert [record.message for record in caplog.records] == ["events-not-told"]
    told = caplog.records[0].__dict__["sip"]
    assert (told["to"], told["error"], told["events_waiting"]) == ("recorder", "No space left on device", 3)
    to.failing = None
    until(lambda: len(to.lines) == 3, "it is taken")
    it.stop()
    assert [record.message for record in caplog.records] == ["events-not-told", "events-told-again"]


@pytest.mark.parametrize("error", [Refused("HTTP status 404"), ValueError("a fault of ours")], ids=repr)
def test_what_will_never_be_taken_is_lost_and_the_next_one_told(caplog: pytest.LogCaptureFixture, error: Exception) -> None:
    to = Recorder()
    to.failing = error
    it = made(to)
    it.put(numbers(0, 3))
    until(lambda: it.lost == 3, "they are lost")
    to.failing = None
    it.put([b"next"])
    it.stop()
    assert (to.lines, to.tries, it.lost) == ([b"next"], 2, 3)
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == ["events-not-told"]


def test_a_receiver_that_hangs_does_not_keep_the_server_from_ending(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outlet, "GRACE", 0.1)
    to = Recorder()
    to.gate.clear()
    it = made(to)
    it.put(numbers(0, 100))
    began = time.monotonic()
    it.stop()
    assert time.monotonic() - began < 1.0
    assert it.lost == 100 and caplog.records[-1].message == "events-lost"
    to.gate.set()


# A file


def test_lines_are_added_to_a_file_and_follow_its_name(tmp_path: Path) -> None:
    path = tmp_path / "events"
    path.write_bytes(b"before\n")
    it = File(str(path))
    assert it.take([b"a", b"b"]) == 2
    path.rename(tmp_path / "events.1")  # logrotate, and nobody is told
    assert it.take([b"c"]) == 1
    path.unlink()
    assert it.take([b"d"]) == 1
    path.write_bytes(b"")  # copytruncate
    assert it.take([b"e"]) == 1
    it.close()
    assert (tmp_path / "events.1").read_bytes() == b"before\na\nb\n"
    assert path.read_bytes() == b"e\n"
    path.unlink()
    File(str(path)).take([b"new"])
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_line_that_was_cut_off_stays_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk takes a part of what is written, then nothing, then all."""
    path = tmp_path / "events"
    room = [6, 0]
    really = os.write

    def write(file: int, data: bytes) -> int:
        if not room:
            return really(file, data)
        some = room.pop(0)
        if not some:
            raise OSError(28, "No space left on device")
        return really(file, data[:some])

    monkeypatch.setattr(os, "write", write)
    it = File(str(path))
    assert it.take([b"one", b"two", b"three"]) == 1
    with pytest.raises(OSError, match="No space"):
        it.take([b"two", b"three"])
    assert it.take([b"two", b"three"]) == 2
    assert path.read_bytes() == b"one\ntw\ntwo\nthree\n"
    assert it.take([b"four"]) == 1 and path.read_bytes().endswith(b"three\nfour\n")
    path.write_bytes(b"of a machine that cras")
    assert File(str(path)).take([b"next"]) == 1
    assert path.read_bytes() == b"of a machine that cras\nnext\n"


def test_a_file_that_cannot_be_written_is_said_at_the_start(tmp_path: Path) -> None:
    for number, workers in enumerate(("1", "2")):
        (tmp_path / "c.toml").write_text('[events]\nto = "file"\npath = "/no/such/folder/events"\n')
        done = sipfast_command(
            "serve", "--config", "c.toml", "--listen", "udp:127.0.0.1:0", "--workers", workers,
            "--data", f"d{number}", folder=tmp_path,
        )  # fmt: skip
        assert one_line(done, 2) == (
            "sipfast: c.toml: events.path: cannot write /no/such/folder/events: No such file or directory"
        )


# A webhook


class Hook:
    """An HTTP server that says what it is told to."""

    def __init__(self) -> None:
        self.status = 200
        self.delay = 0.0
        self.close = False
        self.got: list[tuple[str, dict[str, str], bytes]] = []
        self.connections: set[object] = set()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                outer.connections.add(self.client_address)
                body = self.rfile.read(int(self.headers["Content-Length"]))
                time.sleep(outer.delay)
                outer.got.append((self.path, dict(self.headers), body))
                with suppress(OSError):
                    self.send_response(outer.status)
                    self.send_header("Content-Length", "2")
                    self.end_headers()
                    self.wfile.write(b"ok")
                self.close_connection = outer.close

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/hook?key=1"

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def hook() -> Iterator[Hook]:
    it = Hook()
    yield it
    it.stop()


def test_a_webhook_gets_each_as_json_over_one_connection(hook: Hook) -> None:
    it = made(Webhook(hook.url.replace("//", "//us%40er:se:cret@"), 5.0))
    it.put([b'{"n":1}', b'{"n":2}'])
    it.stop()
    assert [json.loads(body) for _, _, body in hook.got] == [{"n": 1}, {"n": 2}]
    path, headers, _ = hook.got[0]
    assert path == "/hook?key=1" and headers["Content-Type"] == "application/json"
    assert headers["Authorization"] == "Basic " + b64encode(b"us@er:se:cret").decode()
    assert len(hook.connections) == 1


def test_a_webhook_gets_several_as_lines(hook: Hook) -> None:
    to = Webhook(hook.url, 5.0, batch=10)
    assert to.take(numbers(0, 10)) == 10
    to.close()
    assert hook.got[0][1]["Content-Type"] == "application/x-ndjson"
    assert hook.got[0][2] == b"".join(each + b"\n" for each in numbers(0, 10))


def test_a_connection_that_was_closed_meanwhile_costs_nothing(hook: Hook) -> None:
    hook.close = True  # without saying so
    to = Webhook(hook.url, 5.0)
    assert [to.take([each]) for each in numbers(0, 3)] == [1, 1, 1]
    to.close()
    assert [body for _, _, body in hook.got] == numbers(0, 3) and len(hook.connections) == 3


@pytest.mark.parametrize("status", [500, 503, 429, 408])
def test_a_webhook_that_is_in_trouble_gets_it_again(hook: Hook, status: int) -> None:
    hook.status = status
    it = made(Webhook(hook.url, 5.0))
    it.put([b"1"])
    until(lambda: len(hook.got) > 2, "it is sent again")
    hook.status = 200
    it.put([b"2"])
    until(lambda: it.written == 2, "both are taken")
    it.stop()
    assert it.written == 2 and it.lost == 0
    assert hook.got[-1][2] == b"2" and {body for _, _, body in hook.got[:-1]} == {b"1"}


@pytest.mark.parametrize("status", [400, 404, 301])
def test_a_webhook_that_wants_none_of_it_gets_the_next(hook: Hook, status: int) -> None:
    hook.status = status
    it = made(Webhook(hook.url, 5.0))
    it.put([b"1", b"2"])
    it.stop()
    assert [body for _, _, body in hook.got] == [b"1", b"2"] and it.lost == 2


def test_a_webhook_that_says_nothing_is_given_up_on_after_a_while(hook: Hook) -> None:
    hook.delay = 0.4
    with pytest.raises(TimeoutError):
        Webhook(hook.url, 0.1).take([b"1"])


def test_what_is_no_http_is_an_error_like_others() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            come, _ = listening.accept()
            come.recv(1000)
            come.sendall(b"SSH-2.0-none\r\n")
            come.close()

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(OSError, match="no HTTP"):
            Webhook(f"http://127.0.0.1:{listening.getsockname()[1]}", 2.0).take([b"1"])
        thread.join()


def test_a_password_is_not_shown() -> None:
    assert Webhook("https://user:secret@hooks.example:8443/T000/key", 1.0).name == "https://hooks.example:8443"


# All of it: a server, phones, and what comes out


@pytest.fixture
def play(tmp_path: Path) -> Iterator[Callable[..., tuple[Server, Fleet]]]:
    stack: list[Callable[[], None]] = []

    def start(config: str, workers: int = 1) -> tuple[Server, Fleet]:
        port = HERE.free_port()
        server = Server(
            tmp_path, 1, port=port, domain="x", data=tmp_path / "data", upstream=None, config=config, workers=workers
        ).ready()
        phones = Fleet("a", 2, port, "x")
        stack.extend([server.stop, phones.close])
        return server, phones

    yield start
    for each in reversed(stack):
        with suppress(Exception):
            each()


def redial(phones: Fleet) -> float:
    """a0 calls a1, who is not there, and then is; until they talk. Returns the seconds from its REGISTER to the 200."""
    alice, bob = phones
    alice.register()
    run([phones], lambda: alice.registered, 20, "alice is registered")
    bob.ring_time = 100
    call = alice.call(bob.user, 3600)
    run([phones], lambda: call.over, 20, "the call finds nobody")
    began = time.monotonic()
    bob.register()
    run([phones], lambda: any(each.was_answered for each in alice.calls if each is not call), 20, "they talk")
    return time.monotonic() - began


STEPS = ["armed", "claimed", "begun", "outcome", "called", "answered"]


def ended(server: Server) -> str:
    """Have it end; its log."""
    server.stop()
    return server.log.read_text()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_server_writes_its_events_into_a_file(
    play: Callable[..., tuple[Server, Fleet]], tmp_path: Path, workers: int
) -> None:
    path = tmp_path / "events.jsonl"
    server, phones = play(f'[events]\nto = "file"\npath = "{path}"\n', workers)
    redial(phones)
    ended(server)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert sorted(line["event"] for line in lines) == sorted(STEPS)
    assert len({line["id"] for line in lines}) == 1
    assert all(line["node"] == socket.gethostname() for line in lines)
    assert all(re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"]) for line in lines)
    assert all(abs(line["ms"] - time.time() * 1000) < 120_000 for line in lines)


def test_a_server_tells_stdout_and_nothing_else_there(play: Callable[..., tuple[Server, Fleet]]) -> None:
    server, phones = play('[events]\nto = "stdout"\n')
    redial(phones)
    out = [line for line in ended(server).splitlines() if line.startswith("{")]
    assert [json.loads(line)["event"] for line in out] == STEPS


@pytest.mark.parametrize("trouble", ["none", "slow", "dead", "500"])
def test_no_call_waits_for_a_webhook(play: Callable[..., tuple[Server, Fleet]], hook: Hook, trouble: str) -> None:
    url = hook.url
    hook.status = 500 if trouble == "500" else 200
    hook.delay = 5.0 if trouble == "slow" else 0.0
    if trouble == "dead":
        hook.stop()
    queue = 10_000 if trouble == "none" else 3
    server, phones = play(f'[events]\nto = "webhook"\nurl = "{url}"\nqueue = {queue}\n')
    assert redial(phones) < 1.5
    if trouble == "none":
        until(lambda: len(hook.got) == len(STEPS), "all has come")
        assert [json.loads(body)["event"] for _, _, body in hook.got] == STEPS
    began = time.monotonic()
    log = ended(server)
    assert time.monotonic() - began < 6.0
    assert log.count("event=events-not-told") == (trouble in ("dead", "500"))
    assert ("event=events-lost" in log) == (trouble != "none")


@pytest.mark.parametrize("trouble", ["none", "slow", "dead"])
def test_the_webhook_of_redial_is_told_beside_the_message(
    play: Callable[..., tuple[Server, Fleet]], hook: Hook, trouble: str
) -> None:
    url = hook.url
    hook.delay = 5.0 if trouble == "slow" else 0.0
    if trouble == "dead":
        hook.stop()
    server, phones = play(f'[redial]\nmethods = ["refer", "message"]\nwebhook = "{url}"\n')
    alice, bob = phones
    alice.on_refer, alice.on_message = "603", "200"
    alice.register()
    run([phones], lambda: alice.registered, 20, "alice is registered")
    call = alice.call(bob.user, 3600)
    run([phones], lambda: call.over, 20, "the call finds nobody")
    bob.register()
    began = time.monotonic()
    run([phones], lambda: alice.messages, 20, "alice is told")
    assert time.monotonic() - began < 1.5
    if trouble == "none":
        until(lambda: hook.got, "the webhook is told")
        (told,) = [json.loads(body) for _, _, body in hook.got]
        assert (told["event"], told["callee"], told["caller"]) == ("reachable", f"sip:{bob.user}@x", f"sip:{alice.user}@x")
    server.stop()


def test_a_cancelled_watch_is_told_by_the_command_line(play: Callable[..., tuple[Server, Fleet]], tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    server, phones = play(f'[events]\nto = "file"\npath = "{path}"\n[store]\ndata = "{tmp_path / "data"}"\n')
    alice = next(iter(phones))
    alice.register()
    run([phones], lambda: alice.registered, 20, "alice is registered")
    call = alice.call("nobody", 3600)
    run([phones], lambda: call.over, 20, "the call finds nobody")
    until(lambda: path.exists() and path.read_text(), "it is told")
    configuration = tmp_path / "01-sipfast.toml"
    done = sipfast_command("watches", "cancel", "nobody@x", f"{alice.user}@x", "--config", configuration)
    assert (done.returncode, done.stderr) == (0, "")
    armed, cancelled = (json.loads(line) for line in path.read_text().splitlines())
    assert (cancelled["event"], cancelled["by"], cancelled["worker"]) == ("cancelled", "operator", None)
    assert armed["id"] == cancelled["id"]
    path.unlink()
    path.mkdir()  # it cannot be told: what was asked for is done all the same
    call = alice.call("nobody", 3600)
    run([phones], lambda: call.over, 20, "the call finds nobody")
    done = sipfast_command("watches", "cancel", "nobody@x", f"{alice.user}@x", "--config", configuration)
    assert done.returncode == 0 and done.stdout.startswith("cancelled: ")
    assert done.stderr == "sipfast: events.to: no event of it: Is a directory\n"
    assert server.running


def test_off_is_off(play: Callable[..., tuple[Server, Fleet]], tmp_path: Path) -> None:
    server, phones = play("")
    redial(phones)
    found = sipfast_command("stats", "--json", "--data", tmp_path / "data")
    assert not [name for name in json.loads(found.stdout)["total"] if name.startswith("events_")]
    assert ended(server)


def test_what_the_configuration_asks_for() -> None:
    assert outlet.receiver_of(Config()) is None
    made = outlet.receiver_of(Config(events=Events(to="webhook", url="https://h.example/x", batch=5)))
    assert isinstance(made, Webhook) and made.at_a_time == 5
