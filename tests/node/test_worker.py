"""`sipfast serve`, as a process: it says what it serves, answers, ends cleanly; what it cannot do is one line."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command import environment, one_line, powerless, sipfast_command
from net.sipwire import Sip, literal, request, response

import sipfast
from sipfast import config
from sipfast._listener import Listener
from sipfast.errors import ConfigError, StoreUnavailable
from sipfast.node import supervisor, worker
from sipfast.transport.udp import interface_addresses


def ask(address: tuple[str, int]) -> bytes:
    """The answer to an OPTIONS."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone:
        phone.settimeout(10)
        phone.connect(address)
        host, port = phone.getsockname()
        phone.send(
            f"OPTIONS sip:{address[0]}:{address[1]} SIP/2.0\r\nVia: SIP/2.0/UDP {host}:{port};branch=z9hG4bKx1\r\n"
            f"From: <sip:a@{host}>;tag=1\r\nTo: <sip:{address[0]}>\r\nCall-ID: x@{host}\r\nCSeq: 1 OPTIONS\r\n"
            f"Max-Forwards: 70\r\nContent-Length: 0\r\n\r\n".encode()
        )
        return phone.recv(65535)


class Server:
    """`sipfast serve` as a process, and a phone in front of it."""

    def __init__(self, *arguments: object, folder: Path):
        command = [sys.executable, "-m", "sipfast", "serve", *map(str, arguments)]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder, env=environment()
        )
        self.line = ""
        readable, _, _ = select.select([self.process.stdout], [], [], 30)
        if readable:
            self.line = self.process.stdout.readline()

    def address(self) -> tuple[str, int]:
        match = re.search(r"udp:(127\.0\.0\.1):(\d+)", self.line)
        return match[1], int(match[2])

    def ask(self) -> bytes:
        return ask(self.address())

    def end(self, number: int) -> tuple[int, str]:
        """Send a signal; the exit status and what was on stderr."""
        self.process.send_signal(number)
        self.rest, log = self.process.communicate(timeout=30)
        return self.process.returncode, log


@pytest.fixture
def serve(tmp_path):
    with contextlib.ExitStack() as stack:

        def start(*arguments: object) -> Server:
            server = Server(*arguments, folder=tmp_path)
            stack.callback(server.process.communicate)
            stack.callback(server.process.kill)
            return server

        yield start


def test_serve_says_what_it_serves_answers_and_ends(serve, tmp_path):
    server = serve("--listen", "udp:127.0.0.1:0", "--domain", "example.com")
    assert server.line.startswith(f"sipfast {sipfast.__version__} serves example.com on udp:127.0.0.1:")
    assert f"data in {tmp_path / 'sipfast-data'}" in server.line
    assert server.ask().startswith(b"SIP/2.0 200 ")
    began = time.monotonic()
    status, log = server.end(signal.SIGTERM)
    assert (status, time.monotonic() - began < 1.0) == (0, True)
    assert server.rest == ""
    line = r"time=\S+ level=info event=(started|stopped|worker-stopped) .*"
    assert all(re.fullmatch(line, each) for each in log.splitlines()), log


def test_serve_ends_by_sigint_too_and_starts_again_on_its_data(serve):
    server = serve("--listen", "udp:127.0.0.1:0")
    assert server.end(signal.SIGINT)[0] == 0
    assert serve("--listen", "udp:127.0.0.1:0").ask().startswith(b"SIP/2.0 200 ")


def test_serve_logs_nothing_per_message_at_info(serve):
    server = serve("--listen", "udp:127.0.0.1:0", "--workers", 1)
    for _ in range(20):
        server.ask()
    assert len(server.end(signal.SIGTERM)[1].splitlines()) == 2


def test_serve_goes_on_where_nobody_reads_what_it_says(tmp_path):
    reader, writer = os.pipe()
    os.close(reader)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        address = free.getsockname()
    command = [sys.executable, "-m", "sipfast", "serve", "--listen", f"udp:127.0.0.1:{address[1]}"]
    process = subprocess.Popen(command, stdout=writer, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=environment())
    os.close(writer)
    try:
        assert "event=started" in process.stderr.readline()
        assert ask(address).startswith(b"SIP/2.0 200 ")
        process.terminate()
        assert "event=stopped" in process.communicate(timeout=30)[1]
        assert process.returncode == 0
    finally:
        process.kill()
        process.communicate()


def test_serve_without_domains_serves_the_machines_own(serve):
    server = serve("--listen", "udp:127.0.0.1:0", "--log-level", "error")
    assert "localhost" in server.line
    assert server.end(signal.SIGTERM) == (0, "")


def test_flags_come_before_the_file(serve, tmp_path):
    path = tmp_path / "sipfast.toml"
    path.write_text('listen = ["udp:127.0.0.1:1"]\ndomains = ["file.example"]\n[store]\ndata = "from-file"\n')
    server = serve("--config", path, "--listen", "udp:127.0.0.1:0", "--data", "from-flag")
    assert "serves file.example on udp:127.0.0.1:" in server.line
    assert (tmp_path / "from-flag").is_dir()
    assert not (tmp_path / "from-file").exists()


def test_upstreams_are_named_in_the_line(serve):
    server = serve(
        "--listen", "udp:127.0.0.1:0", "--upstream", "sip:127.0.0.1:5070", "--upstream", "b.example=sip:localhost:5080"
    )
    assert "serves any domain on" in server.line
    assert "upstream sip:127.0.0.1:5070; sip:localhost:5080 for b.example" in server.line


def test_an_upstream_that_cannot_be_resolved_is_one_line(tmp_path):
    done = sipfast_command("serve", "--listen", "udp:127.0.0.1:0", "--upstream", "sip:pbx.invalid", folder=tmp_path)
    assert one_line(done, 2).startswith("sipfast: upstream[0].uri: cannot resolve 'pbx.invalid': ")
    assert list(tmp_path.iterdir()) == []


def test_a_port_in_use_is_one_line_and_touches_nothing(serve, tmp_path):
    server = serve("--listen", "udp:127.0.0.1:0", "--data", "first")
    listen = f"udp:127.0.0.1:{server.address()[1]}"
    line = one_line(sipfast_command("serve", "--listen", listen, "--data", "second", folder=tmp_path), 2)
    assert line == (
        f"sipfast: cannot listen on {listen}: the port is in use; stop the program that has it, or choose another port"
    )
    assert not (tmp_path / "second").exists()
    assert server.ask().startswith(b"SIP/2.0 200 ")


def test_data_in_use_by_another_server_is_one_line(serve, tmp_path):
    server = serve("--listen", "udp:127.0.0.1:0")
    line = one_line(sipfast_command("serve", "--listen", "udp:127.0.0.1:0", folder=tmp_path), 2)
    assert "in use by another server" in line
    assert str(server.process.pid) in line
    assert server.ask().startswith(b"SIP/2.0 200 ")


@pytest.fixture
def user() -> list[str]:
    prefix = powerless()
    if prefix is None:
        pytest.skip("root may do everything, and there is no setpriv to make it a common user")
    return prefix


def test_a_data_directory_without_permission_is_one_line(user, tmp_path):
    tmp_path.chmod(0o500)
    for data in (tmp_path, tmp_path / "data"):
        line = one_line(sipfast_command("serve", "--listen", "udp:127.0.0.1:0", "--data", data, prefix=user), 2)
        assert line.startswith(f"sipfast: {data}: Permission denied: ")
    assert list(tmp_path.iterdir()) == []


def test_a_data_directory_that_is_a_file_is_one_line_and_the_file_is_left_alone(tmp_path):
    place = tmp_path / "file"
    place.write_text("precious")
    for data in (place, place / "data"):
        line = one_line(sipfast_command("serve", "--listen", "udp:127.0.0.1:0", "--data", data), 2)
        assert line.startswith(f"sipfast: {data}: ")
    assert place.read_text() == "precious"


def test_a_store_that_is_none_is_one_line_and_is_left_alone(tmp_path):
    stranger = b"not a store" * 1000
    (tmp_path / "data.mdb").write_bytes(stranger)
    line = one_line(sipfast_command("serve", "--listen", "udp:127.0.0.1:0", "--data", tmp_path), 2)
    assert line.startswith(f"sipfast: {tmp_path}: ")
    assert (tmp_path / "data.mdb").read_bytes() == stranger


def test_lists_work_while_the_server_runs_and_see_what_it_has_committed(serve, tmp_path):
    server = serve("--listen", "udp:127.0.0.1:0", "--domain", "example.com")
    assert sipfast_command("watches", folder=tmp_path).stdout == "no watches in ./sipfast-data\n"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone:
        phone.settimeout(10)
        phone.connect(server.address())
        host, port = phone.getsockname()
        phone.send(
            f"REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP {host}:{port};branch=z9hG4bKr1\r\n"
            f"From: <sip:alice@example.com>;tag=1\r\nTo: <sip:alice@example.com>\r\nCall-ID: r@{host}\r\n"
            f"CSeq: 1 REGISTER\r\nContact: <sip:alice@{host}:{port}>\r\nExpires: 600\r\nMax-Forwards: 70\r\n"
            "Content-Length: 0\r\n\r\n".encode()
        )
        assert phone.recv(65535).startswith(b"SIP/2.0 200 ")
        assert phone.recv(65535).startswith(b"OPTIONS sip:alice@")
        phone.send(
            f"INVITE sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/UDP {host}:{port};branch=z9hG4bKi1\r\n"
            f"From: <sip:alice@example.com>;tag=2\r\nTo: <sip:bob@example.com>\r\nCall-ID: i@{host}\r\n"
            f"CSeq: 1 INVITE\r\nContact: <sip:alice@{host}:{port}>\r\nExpires: 3600\r\nMax-Forwards: 70\r\n"
            "Content-Length: 0\r\n\r\n".encode()
        )
        while not (answer := phone.recv(65535)).startswith(b"SIP/2.0 480 "):
            assert answer.startswith(b"SIP/2.0 100 ")
    (binding,) = json.loads(sipfast_command("bindings", "--json", folder=tmp_path).stdout)
    assert (binding["aor"], binding["contact"]) == ("sip:alice@example.com", f"sip:alice@{host}:{port}")
    assert binding["received_from"] == f"udp:{host}:{port}"
    (watch,) = json.loads(sipfast_command("watches", "--json", folder=tmp_path).stdout)
    assert (watch["callee"], watch["caller"]) == ("sip:bob@example.com", "sip:alice@example.com")
    done = sipfast_command("watches", "cancel", "bob@example.com", "alice@example.com", folder=tmp_path)
    assert done.returncode == 0
    assert server.ask().startswith(b"SIP/2.0 200 ")
    assert json.loads(sipfast_command("watches", "--json", folder=tmp_path).stdout) == []


def test_a_privileged_port_says_what_it_takes(user, tmp_path):
    first = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    if first < 2:
        pytest.skip("no port is privileged on this machine")
    done = sipfast_command("serve", "--listen", f"udp:127.0.0.1:{first - 1}", folder=tmp_path, prefix=user)
    assert "CAP_NET_BIND_SERVICE" in one_line(done, 2)
    assert list(tmp_path.iterdir()) == []


# The parts of it


class Disk:
    """A store of which only the flushing is of interest."""

    def __init__(self):
        self.writes = 0
        self.flushed = []
        self.trouble = None

    def flush(self) -> None:
        self.flushed.append(self.writes)
        if self.trouble is not None:
            raise self.trouble


def turn(settings: dict[str, object], disk: Disk, play) -> None:
    """Run keep_flushed while `play` does something to the disk, then end it."""

    async def scene() -> None:
        ended = asyncio.Event()
        keeper = asyncio.create_task(worker.keep_flushed(disk, config.Config(store=config.Storage(**settings)), ended))
        await play()
        ended.set()
        await asyncio.wait_for(keeper, 5)

    asyncio.run(scene())


async def until(condition) -> None:
    for _ in range(5000):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it did not come to pass")


def test_what_is_committed_is_flushed_before_long_and_nothing_without_a_write():
    disk = Disk()

    async def play() -> None:
        await asyncio.sleep(0.03)
        assert disk.flushed == []
        disk.writes = 3
        await until(lambda: disk.flushed)
        await asyncio.sleep(0.03)
        assert disk.flushed == [3]
        disk.writes = 4
        await until(lambda: disk.flushed == [3, 4])

    turn({"flush_interval": 0.005}, disk, play)


def test_a_flush_that_fails_is_logged_and_tried_again(caplog):
    disk = Disk()
    disk.trouble = StoreUnavailable("no space left")

    async def play() -> None:
        disk.writes = 1
        await until(lambda: len(disk.flushed) == 2)
        disk.trouble = None
        await until(lambda: len(disk.flushed) == 3)
        await asyncio.sleep(0.03)

    with caplog.at_level(logging.ERROR):
        turn({"flush_interval": 0.005}, disk, play)
    assert disk.flushed == [1, 1, 1]
    assert {record.getMessage() for record in caplog.records} == {"flush-failed"}
    assert caplog.records[0].sip == {"reason": "no space left"}


def test_where_each_commit_is_synchronised_nothing_more_is_flushed():
    disk = Disk()

    async def play() -> None:
        disk.writes = 1
        await asyncio.sleep(0.03)

    turn({"flush_interval": 0.005, "durability": "power"}, disk, play)
    assert disk.flushed == []


LISTENERS = [
    Listener("UDP", "0.0.0.0", 5060, b"192.0.2.1:5060"),
    Listener("UDP", "::1", 5062, b"[::1]:5062"),
]


def test_configured_domains_are_served_and_no_others():
    settings = config.Config(domains=("Example.COM.", "[2001:DB8::1]", "192.0.2.1"))
    assert worker.served_domains(settings, LISTENERS) == ["example.com", "2001:db8::1", "192.0.2.1"]


def test_without_domains_the_machines_names_and_addresses_are_served():
    settings = config.Config(listen=("udp:0.0.0.0:5060", "udp:localhost:5062"), advertise="sip.example.com")
    served = worker.served_domains(settings, LISTENERS)
    assert {"localhost", "127.0.0.1", "::1", "sip.example.com", socket.gethostname().lower()} <= set(served)
    assert set(interface_addresses()) <= set(served)
    assert not {"0.0.0.0", "::", ""} & set(served)
    assert len(set(served)) == len(served)


def test_upstream_hosts_are_resolved_into_what_is_listened_on():
    settings = config.Config(
        upstream=(
            config.Upstream(uri="sip:LOCALHOST:5080", domains=("a.example",)),
            config.Upstream(uri="sip:[2001:db8::5]", domains=("b.example",)),
            config.Upstream(uri=("sip:192.0.2.5", "sip:192.0.2.6:5070")),
        )
    )
    hosts = worker.upstream_hosts(settings, LISTENERS)
    assert hosts.pop("localhost")[0] == "127.0.0.1"
    assert hosts == {"2001:db8::5": ["2001:db8::5"], "192.0.2.5": ["192.0.2.5"], "192.0.2.6": ["192.0.2.6"]}
    with pytest.raises(ConfigError, match=r"^upstream\[1\]\.uri: '2001:db8::5' has no IPv4 address"):
        worker.upstream_hosts(settings, LISTENERS[:1])


def test_all_addresses_of_an_upstream_host_are_taken(monkeypatch):
    """Each once, IPv4 before IPv6 where IPv4 is listened on first, and none of a family that is not listened on."""
    found = ["192.0.2.7", "2001:db8::7", "192.0.2.8", "192.0.2.7"]

    def getaddrinfo(host, port, *, type):
        kinds = {True: socket.AF_INET6, False: socket.AF_INET}
        return [(kinds[":" in address], type, 17, "", (address, 0)) for address in found]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    settings = config.Config(upstream=(config.Upstream(uri="sip:pbx.example"),))
    assert worker.upstream_hosts(settings, LISTENERS) == {"pbx.example": ["192.0.2.7", "192.0.2.8", "2001:db8::7"]}
    assert worker.upstream_hosts(settings, LISTENERS[:1]) == {"pbx.example": ["192.0.2.7", "192.0.2.8"]}


def test_the_line_that_says_what_is_served():
    settings = config.Config(
        domains=("example.com",),
        upstream=(config.Upstream(uri=("sip:pbx", "sip:pbx2"), domains=("example.com", "b.example")),),
        store=config.Storage(data="/var/lib/sipfast"),
        redial=config.Redial(enabled=False),
    )
    assert worker.describe(settings, LISTENERS, ["example.com"]) == (
        f"sipfast {sipfast.__version__} serves example.com on udp:0.0.0.0:5060 as 192.0.2.1:5060, udp:[::1]:5062; "
        "data in /var/lib/sipfast; upstream sip:pbx, sip:pbx2 for example.com, b.example; redial off"
    )
    many = [f"{number}.example" for number in range(9)] + ["::1"]
    assert "serves 0.example, 1.example, 2.example, 3.example, 4.example and 5 more on" in worker.describe(
        config.Config(), LISTENERS, many
    )


# Several workers; what they do together is in peers/test_workers.py


@pytest.mark.skipif(not supervisor.CAN_SHARE, reason="needs Linux")
def test_workers_say_little_too(serve):
    server = serve("--listen", "udp:127.0.0.1:0", "--workers", 3)
    assert server.line.rstrip().endswith("; 3 workers")
    for _ in range(20):
        server.ask()
    status, log = server.end(signal.SIGTERM)
    events = re.findall(r" event=(\S+)", log)
    assert (status, sorted(events)) == (0, ["started", "stopped", "worker-stopped", "worker-stopped", "worker-stopped"])


@pytest.mark.skipif(not supervisor.CAN_SHARE, reason="needs Linux")
def test_a_worker_on_each_core_is_the_default(serve):
    cores = os.sched_getaffinity(0)
    server = serve("--listen", "udp:127.0.0.1:0")
    assert server.line.rstrip().endswith(f"; {len(cores)} workers") == (len(cores) > 1)
    os.sched_setaffinity(0, {min(cores)})  # the server inherits it
    try:
        alone = serve("--listen", "udp:127.0.0.1:0", "--data", "other")
    finally:
        os.sched_setaffinity(0, cores)
    assert "workers" not in alone.line
    assert alone.ask().startswith(b"SIP/2.0 200 ")
    assert Path(f"/proc/{alone.process.pid}/task/{alone.process.pid}/children").read_text() == ""


@pytest.mark.skipif(not supervisor.CAN_SHARE, reason="needs Linux")
@pytest.mark.parametrize(("cores", "workers"), [(1, 1), (2, 2), (64, 64), (65, 64), (256, 64)])
def test_as_many_workers_as_cores_up_to_the_most_that_can_be_named(cores, workers, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(cores)))
    assert supervisor.cores() == workers


def test_workers_where_the_platform_cannot_share_an_address(monkeypatch):
    monkeypatch.setattr(supervisor, "CAN_SHARE", False)
    assert supervisor.cores() == 1
    with pytest.raises(ConfigError, match=r"^workers: only Linux"):
        supervisor.serve(config.Config(listen=("udp:127.0.0.1:0",), workers=2), print)


@pytest.mark.parametrize("count", ["-1", "65", "many"])
def test_a_wrong_number_of_workers_is_one_line(count, tmp_path):
    line = one_line(sipfast_command("serve", "--listen", "udp:127.0.0.1:0", "--workers", count, folder=tmp_path), 2)
    assert "--workers" in line
    assert list(tmp_path.iterdir()) == []


def test_what_rings_is_kept_in_memory_where_the_disk_has_no_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A mapped page that the disk has no room for would end the process (SIGBUS)."""
    settings = config.Config(store=config.Storage(data=str(tmp_path)))
    memory = worker.open_ringing(settings)
    assert len(memory) == (tmp_path / "ringing").stat().st_size == (tmp_path / "ringing").stat().st_blocks * 512

    def full(*of: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    assert isinstance(worker.open_ringing(settings), bytearray)
    assert [record.message for record in caplog.records] == ["ringing-not-kept"]


def test_who_has_proven_to_be_there_is_asked_no_more_after_a_kill(serve):
    """The OPTIONS that follows a REGISTER leaves with its 200, so that the answer to a later request comes after it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone:
        phone.bind(("127.0.0.1", 0))
        phone.settimeout(10)
        here = literal(phone.getsockname())

        def say(server, method, uri, number, **more):
            user = "<sip:a@example.com>"
            fields = [("Via", f"SIP/2.0/UDP {here};branch=z9hG4bK{method}{number};rport"), ("From", f"{user};tag=f")]
            fields += [("To", user), ("Call-ID", method), ("CSeq", f"{number} {method}"), *more.items()]
            phone.sendto(request(method, uri, fields), server.address())

        def register(server, number):
            """The server's requests that come before the answer to the OPTIONS which is sent after the REGISTER."""
            say(server, "REGISTER", "sip:example.com", number, Contact=f"<sip:a@{here}>", Expires="600")
            found = []
            while True:
                message = Sip(phone.recv(4096))
                if not message.status:
                    found.append(message)
                elif message.method == "OPTIONS":
                    return found
                else:
                    assert message.status == 200
                    say(server, "OPTIONS", f"sip:{literal(server.address())}", number)

        server = serve("--listen", "udp:127.0.0.1:0", "--domain", "example.com", "--workers", 1)
        (asked,) = register(server, 1)
        phone.sendto(response(asked, 486, tag="x"), server.address())
        assert register(server, 2) == []
        server.process.kill()
        server.process.wait(20)
        server = serve("--listen", "udp:127.0.0.1:0", "--domain", "example.com", "--workers", 1)
        assert register(server, 3) == []
