"""Twinkle, a softphone of a third make: configured in a folder of its own, without a window, told what to do on its
standard input."""

from __future__ import annotations

from pathlib import Path

from .process import HERE, Place, Typist, find

PROFILE = """\
user_name={user}
user_domain={domain}
auth_name={user}
auth_pass={user}
outbound_proxy={servers}:{server}
all_requests_to_proxy=yes
registrar={servers}:{server}
register_at_startup=yes
registration_time={refresh}
sip_transport=udp
persistent_tcp=no
codecs=g711u
speex_dsp_vad=no
enable_nat_keepalive=yes
timer_nat_keepalive=10
ask_user_to_refer=no
auto_answer={answers}
"""
# A microphone that is a file, in ALSA's words
MICROPHONE = """\
pcm.noise {
    type file
    slave.pcm null
    file /dev/null
    infile /dev/urandom
    format raw
}
"""
# Sounds that nobody hears
SYSTEM = """\
dev_ringtone=alsa:null
dev_speaker=alsa:null
dev_mic=alsa:noise
validate_audio_dev=no
au_reduce_noise_mic=no
gui_use_systray=no
"""


MEDIA = 16  # ports: it takes two for each of its lines


class Twinkle(Typist):
    """One phone with one account; it answers every call that a test waits for, or all by itself."""

    def __init__(
        self, folder: Path, number: int, user: str, domain: str, server: int, at: Place = HERE, *, refresh: int = 60,
        answers: bool = False,
    ):  # fmt: skip
        self.user, self.port, self.media = user, at.free_port(), at.free_ports(MEDIA)
        home = folder / f"{number:02}-twinkle-{user}"
        settings = home / ".twinkle"
        settings.mkdir(parents=True)
        (settings / "phone.cfg").write_text(
            PROFILE.format(
                user=user,
                domain=domain,
                server=server,
                servers=at.servers,
                refresh=refresh,
                answers="yes" if answers else "no",
            )
        )
        (settings / "twinkle.sys").write_text(SYSTEM)
        (home / ".asoundrc").write_text(MICROPHONE)
        argv = [find("twinkle") or "twinkle", "-c", "-f", "phone"]
        argv += ["--sip-port", str(self.port), "--rtp-port", str(self.media.start)]
        super().__init__(
            argv, folder / f"{number:02}-twinkle-{user}.log", cwd=home, at=at,
            env={"HOME": str(home), "TERM": "dumb", "QT_QPA_PLATFORM": "offscreen", "USER": user},
        )  # fmt: skip

    def ready(self) -> Twinkle:
        """Wait until it has registered."""
        self.says("registration succeeded", 15)
        return self

    def dial(self, uri: str) -> None:
        """Call somebody."""
        self.tell(f"call {uri}")

    def rings(self) -> bool:
        """Whether a call has come to it."""
        return self.said("incoming call")

    def pick_up(self) -> None:
        """Answer the call that came last."""
        self.until(self.rings, 5, "rings")
        self.tell("answer")

    def established(self) -> None:
        """Wait until it talks; a call that comes is answered first."""
        self.until(lambda: self.said("incoming call") or self.said("answered call"), 10, "there is a call")
        if self.said("incoming call"):
            self.tell("answer")
            self.says("call established")
        else:
            self.says("answered call")

    def hang_up(self) -> None:
        """End the call."""
        self.tell("bye")

    def closed(self) -> None:
        """Wait until the call has ended."""
        self.until(lambda: self.said("call ended") or self.said("ended call"), 10, "the call has ended")
        self.forget()
