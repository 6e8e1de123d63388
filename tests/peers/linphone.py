"""linphonec, a softphone of another make (belle-sip): configured in a folder of its own, told what to do on its input."""

from __future__ import annotations

from pathlib import Path

from .process import HERE, Place, Typist, find
from .sounds import tone

CONFIGURATION = """\
[sip]
sip_port={port}
sip_tcp_port=0
sip_tls_port=0
guess_hostname=1
contact=sip:{user}@{host}
default_proxy=0
use_ipv6=0
register_only_when_network_is_up=0
keepalive_period={keepalive}

[auth_info_0]
username={user}
passwd={user}
domain={domain}
realm={domain}

[proxy_0]
reg_proxy=<sip:{servers}:{server};transport=udp>
reg_route=<sip:{servers}:{server};transport=udp;lr>
reg_identity=sip:{user}@{domain}
reg_expires={refresh}
reg_sendregister=1
publish=0

[rtp]
audio_rtp_port={media}-{media_end}
video_rtp_port={media_video}

[sound]
capture_dev_id=nothing
playback_dev_id=nothing
ringer_dev_id=nothing

[net]
mtu=1300
firewall_policy=0
"""
MEDIA = 16  # ports: RTP and RTCP of a few calls
KEEPALIVE = 10_000  # ms between what keeps a NAT's mapping


class Linphone(Typist):
    """One phone with one account; it answers every call by itself, or rings until it is picked up."""

    def __init__(
        self, folder: Path, number: int, user: str, domain: str, server: int, at: Place = HERE, *, refresh: int = 60,
        answers: bool = True,
    ):  # fmt: skip
        self.user, self.port = user, at.free_port()
        home = folder / f"{number:02}-linphone-{user}"
        (home / ".local/share/linphone").mkdir(parents=True)
        self.media = at.free_ports(MEDIA)
        (home / "linphonerc").write_text(
            CONFIGURATION.format(
                user=user,
                domain=domain,
                server=server,
                servers=at.servers,
                host=at.host,
                refresh=refresh,
                port=self.port,
                media=self.media.start,
                media_end=self.media.stop - 1,
                media_video=at.free_port(),
                keepalive=KEEPALIVE,
            )
        )
        argv = [find("linphonec") or "linphonec", "-c", str(home / "linphonerc"), *(["-a"] if answers else []), "-d", "6"]
        self._sound = tone(home)
        super().__init__(
            argv, folder / f"{number:02}-linphone-{user}.log", cwd=home, env={"HOME": str(home), "TERM": "dumb"},
            at=at,
        )  # fmt: skip

    def ready(self) -> Linphone:
        """Wait until it has registered."""
        self.tell("soundcard use files")
        self.tell(f"play {self._sound}")
        self.says("to [LinphoneRegistrationOk]", 15)
        return self

    def dial(self, uri: str) -> None:
        """Call somebody."""
        self.tell(f"call {uri}")

    def established(self) -> None:
        """Wait until it talks, and has sent an ACK or got one."""
        self.until(lambda: self.said("to LinphoneCallStreamsRunning") and self.said("ACK sip:"), 10, "talks")
        self.forget()

    def rings(self) -> bool:
        """Whether a call has come to it."""
        return self.said("to LinphoneCallIncomingReceived")

    def pick_up(self) -> None:
        """Answer the call that came last."""
        self.until(self.rings, 5, "rings")
        self.tell("answer")

    def hang_up(self) -> None:
        """End the call."""
        self.tell("terminate")

    def closed(self) -> None:
        """Wait until the call has ended and the other side has said so."""
        self.says("to LinphoneCallReleased")
