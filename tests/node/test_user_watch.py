"""The file of users while the server runs, and what it logs of who guesses."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
import socket
from pathlib import Path

import pytest
from command import sipfast_command
from peers.process import HERE
from peers.server import Server

from sipfast.errors import ConfigError
from sipfast.identity.user_file import Record, write_records
from sipfast.identity.users import UserTable
from sipfast.node.user_watch import UserWatch
from sipfast.observe.logs import Logfmt

DOCS = Path(__file__).parents[2] / "docs" / "security.md"


def record(name: str) -> Record:
    return Record(user=name, realm="example.com", md5="0" * 32)


def test_what_has_changed_is_taken_up(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path, taken = tmp_path / "users", list[UserTable]()
    write_records(path, [record("alice")])
    watch = UserWatch(path)
    assert watch.users.count == 1

    async def play() -> None:
        await watch.look(taken.append)
        assert taken == []
        write_records(path, [record("alice"), record("bob")])
        await watch.look(taken.append)
        assert [users.count for users in taken] == [2]
        path.write_text("nonsense")
        for _ in range(3):
            await watch.look(taken.append)
        path.unlink()
        for _ in range(3):
            await watch.look(taken.append)

    with caplog.at_level(logging.INFO):
        asyncio.run(play())
    assert len(taken) == 1
    assert [each.message for each in caplog.records] == ["users-read", "users-not-read", "users-not-read"]


def test_a_server_does_not_start_without_the_users_that_it_was_told_of(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read the users"):
        UserWatch(tmp_path / "users")


class Caller:
    """Registers alice at a server, by digest (RFC 7616 §3.4.1)."""

    def __init__(self, port: int) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.settimeout(5)
        self.socket.connect(("127.0.0.1", port))
        self.seq = 0

    def register(self, password: str) -> int:
        """The status in the end, once it has answered a challenge."""
        nonce = re.search(rb'nonce="(\w+)"', self.ask(""))
        assert nonce is not None
        first, second = digest("alice:example.com:" + password), digest("REGISTER:sip:example.com")
        given = nonce[1].decode()
        response = digest(f"{first}:{given}:00000001:c:auth:{second}")
        answer = self.ask(
            f'Authorization: Digest username="alice", realm="example.com", nonce="{given}", uri="sip:example.com", '
            f'response="{response}", algorithm=MD5, qop=auth, nc=00000001, cnonce="c"\r\n'
        )
        return int(answer.split()[1])

    def ask(self, line: str) -> bytes:
        self.seq += 1
        me = "{}:{}".format(*self.socket.getsockname())
        self.socket.send(
            f"REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP {me};branch=z9hG4bK{self.seq}\r\n"
            f"Max-Forwards: 70\r\nFrom: <sip:alice@example.com>;tag=a\r\nTo: <sip:alice@example.com>\r\nCall-ID: c\r\n"
            f"CSeq: {self.seq} REGISTER\r\nContact: <sip:alice@{me}>\r\n{line}Content-Length: 0\r\n\r\n".encode()
        )
        while True:
            answer = self.socket.recv(4096)
            if answer.startswith(b"SIP/2.0 "):  # no probe of the server's
                return answer


def digest(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_server_takes_up_what_the_command_line_changes(tmp_path: Path, workers: int) -> None:
    path = tmp_path / "users"
    assert sipfast_command("users", "add", "alice@example.com", "--users", path, typed="one\n").returncode == 0
    server = Server(
        tmp_path, 1, port=HERE.free_port(), domain="example.com", data=tmp_path / "data", upstream=None,
        config=f"users = {str(path)!r}", workers=workers,
    )  # fmt: skip
    try:
        server.ready()
        caller = Caller(server.port)
        assert (caller.register("one"), caller.register("two")) == (200, 401)
        assert sipfast_command("users", "passwd", "alice@example.com", "--users", path, typed="two\n").returncode == 0
        server.until(lambda: server.log.read_text().count("event=users-read") == workers, 10, "it is taken up")
        assert (caller.register("two"), caller.register("one")) == (200, 401)
        assert "event=login-failed source=127.0.0.1 user=alice realm=example.com method=REGISTER" in server.log.read_text()
        assert server.stop() == 0
    finally:
        server.stop()
    assert "Anybody may register" not in server.log.read_text()


@pytest.mark.parametrize("source", ["192.0.2.1", "2001:db8::1"])
def test_the_filter_of_fail2ban_finds_who_it_was(source: str) -> None:
    said = logging.LogRecord("sipfast.observe.events", logging.INFO, "", 0, "login-failed", None, None)
    said.sip = {  # type: ignore[attr-defined]
        "source": source.encode(), "user": b'x" source=198.51.100.1 \r\nevent', "realm": b"example.com",
        "method": b"REGISTER", "why": "wrong password, or no such user",
    }  # fmt: skip
    line = Logfmt().format(said)
    pattern = re.search(r"^failregex = (.*)$", DOCS.read_text(), re.M)
    assert pattern is not None
    found = re.compile(pattern[1].replace("<HOST>", r"(?P<host>[\da-fA-F.:]+)")).search(line)
    assert found is not None and found["host"] == source
    assert "\n" not in line
