"""baresip, a real softphone: configured in a folder of its own, headless, told what to do over its control port."""

from __future__ import annotations

import contextlib
import json
import socket
from pathlib import Path

from .process import HERE, Place, Process, find
from .sounds import tone

MODULES = ("/usr/lib/baresip/modules", "/usr/local/lib/baresip/modules", "/usr/lib64/baresip/modules")

MEDIA = 16  # ports: RTP and RTCP of a few calls

CONFIGURATION = """\
module_path {modules}
poll_method epoll
sip_listen {host}:{port}
sip_trans_def udp
net_interface {host}
rtp_ports {media}-{media_end}
audio_source aufile,{sound}
audio_player aubridge,none
audio_alert aubridge,none
ctrl_tcp_listen {host}:{control}
call_local_timeout 120
call_max_calls 4
module g711.so
module aubridge.so
module aufile.so
module_tmp account.so
module_app menu.so
module_app ctrl_tcp.so
"""


class Baresip(Process):
    """One phone with one account; it answers every call by itself, or rings until it is picked up."""

    def __init__(
        self, folder: Path, number: int, user: str, domain: str, server: int, at: Place = HERE, *, refresh: int = 60,
        answers: bool = True,
    ):  # fmt: skip
        self.user, self.control, self.port = user, at.free_port(), at.free_port()
        home = folder / f"{number:02}-baresip-{user}"
        home.mkdir()
        self.media = at.free_ports(MEDIA)
        (home / "config").write_text(
            CONFIGURATION.format(
                modules=next((folder for folder in MODULES if Path(folder).is_dir()), MODULES[0]),
                host=at.host,
                port=self.port,
                control=self.control,
                media=self.media.start,
                media_end=self.media.stop - 1,
                sound=tone(home),
            )
        )
        (home / "accounts").write_text(
            f'<sip:{user}@{domain}>;auth_pass={user};outbound="sip:{at.servers}:{server}";regint={refresh};'
            f"answermode={'auto' if answers else 'manual'};audio_codecs=PCMU\n"
        )
        (home / "contacts").write_text("")
        self.events: list[dict[str, object]] = []
        self._buffer = b""
        self._socket: socket.socket | None = None
        super().__init__(
            [find("baresip") or "baresip", "-f", str(home), "-s"], folder / f"{number:02}-baresip-{user}.log", cwd=home,
            at=at,
        )  # fmt: skip

    def ready(self) -> Baresip:
        """Wait until it takes commands and has registered."""
        self.until(self._connected, 10, "takes commands")
        self.until(lambda: self._saw_or_info("REGISTER_OK"), 15, "registers")
        return self

    def established(self) -> None:
        """Wait until it talks: a 200 was sent, and its ACK has come."""
        self.sees("CALL_ESTABLISHED")

    def closed(self) -> None:
        """Wait until the other side has hung up, or its own BYE was answered; the events so far are forgotten."""
        self.sees("CALL_CLOSED")
        self.events.clear()

    def dial(self, uri: str) -> None:
        """Call somebody."""
        self._command("dial", uri)

    def rings(self) -> bool:
        """Whether a call has come to it."""
        return self.saw("CALL_INCOMING")

    def pick_up(self) -> None:
        """Answer the call that came last."""
        self.until(self.rings, 5, "rings")
        self._command("accept", "")

    def hang_up(self) -> None:
        """End the call."""
        self._command("hangup", "")

    def sees(self, event: str, seconds: float = 10) -> None:
        """Wait for an event of this type, for example CALL_ESTABLISHED."""
        self.until(lambda: self.saw(event), seconds, f"event {event} (seen: {[e.get('type') for e in self.events]})")

    def saw(self, event: str) -> bool:
        """Whether it came already."""
        self._listen()
        return any(seen.get("type") == event for seen in self.events)

    def _saw_or_info(self, event: str) -> bool:
        # It may have registered before anybody could listen: its log says so, too.
        return self.saw(event) or "200 OK" in self.log.read_text(errors="replace")

    def _connected(self) -> bool:
        if self._socket is None:
            with contextlib.suppress(OSError):
                control = self.at.socket(socket.SOCK_STREAM)
                control.settimeout(1)
                control.connect((self.at.host, self.control))
                control.settimeout(0.02)
                self._socket = control
        return self._socket is not None

    def _command(self, command: str, parameters: str) -> None:
        assert self._socket is not None
        text = json.dumps({"command": command, "params": parameters, "token": command}).encode()
        self._socket.sendall(b"%d:%b," % (len(text), text))

    def _listen(self) -> None:
        """Take in what has come: netstrings of JSON."""
        assert self._socket is not None
        with contextlib.suppress(TimeoutError):
            while piece := self._socket.recv(65536):
                self._buffer += piece
        while b":" in self._buffer:
            length, _, rest = self._buffer.partition(b":")
            if len(rest) <= int(length):
                break
            message = json.loads(rest[: int(length)])
            if message.get("event"):
                self.events.append(message)
            self._buffer = rest[int(length) + 1 :]

    def stop(self, seconds: float = 5.0) -> int:
        """Hang up the control connection and end it."""
        if self._socket is not None:
            self._socket.close()
        return super().stop(seconds)
