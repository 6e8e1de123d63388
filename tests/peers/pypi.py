"""Phones that are Python libraries from PyPI: baresip-python (libre) and pjsua2 (PJSIP), each as a program of its own."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path

import pytest

from .process import HERE, Place, Typist
from .sounds import tone

MEDIA = 16  # ports: RTP and RTCP of a few calls
DRIVERS = Path(__file__).parent / "drivers"


class Driven(Typist):
    """One phone with one account, which speaks JSON by lines (see drivers/)."""

    library = ""
    driver = ""
    package = ""
    no_wheel = (4,)  # the first Python that the package, as pyproject.toml has it, has no wheel for

    def __init__(
        self, folder: Path, number: int, user: str, domain: str, server: int, at: Place = HERE, *, refresh: int = 60,
        answers: bool = True, **more: object,
    ):  # fmt: skip
        self.user, self.port, self.media = user, at.free_port(), at.free_ports(MEDIA)
        name = f"{number:02}-{self.package}-{user}"
        home = folder / name
        home.mkdir()
        settings = {
            "user": user,
            "domain": domain,
            "host": at.host,
            "port": self.port,
            "media": self.media.start,
            "media_end": self.media.stop - 1,
            "answers": answers,
            "proxy": f"{at.servers}:{server}",
            "refresh": refresh,
            "sound": str(tone(home)),
            "log": str(home / "log"),
            **more,
        }
        super().__init__(
            [sys.executable, str(DRIVERS / f"{self.driver}.py"), json.dumps(settings)], folder / f"{name}.log", cwd=home,
            at=at, env={"HOME": str(home), "TMPDIR": str(home)},
        )  # fmt: skip
        self._seen = 0

    @classmethod
    def need(cls) -> None:
        """Skip the test where the library is missing; fail it where CI says that all must be there."""
        if importlib.util.find_spec(cls.library) is not None:
            return
        say = f"{cls.package} not installed (`make test` installs it where there is a wheel for this Python)"
        if os.environ.get("CI") == "true" and sys.version_info < cls.no_wheel:
            pytest.fail(say)
        pytest.skip(say)

    def events(self) -> list[dict[str, object]]:
        """All that it has told so far."""
        lines = self.log.read_text(errors="replace").splitlines()
        return [json.loads(line) for line in lines if line.startswith('{"event"')]

    def saw(self, event: str) -> bool:
        """Whether it told of this since the last `closed`."""
        return any(told["event"] == event for told in self.events()[self._seen :])

    def sees(self, event: str, seconds: float = 10) -> None:
        """Wait for it."""
        self.until(lambda: self.saw(event), seconds, f"event {event}")

    def ready(self) -> Driven:
        """Wait until it has registered."""
        self.sees("registered", 15)
        return self

    def dial(self, uri: str) -> None:
        """Call somebody."""
        self._do(do="dial", uri=uri)

    def pick_up(self) -> None:
        """Answer the call that came last."""
        self.until(self.rings, 5, "rings")
        self._do(do="answer")

    def rings(self) -> bool:
        """Whether a call has come to it."""
        return self.saw("incoming")

    def established(self) -> None:
        """Wait until it talks."""
        self.sees("established")

    def hang_up(self) -> None:
        """End all its calls."""
        self._do(do="hang up")

    def closed(self) -> None:
        """Wait until a call has ended; what it told so far is done with."""
        self.sees("closed")
        self._seen = len(self.events())

    def _do(self, **command: object) -> None:
        self.tell(json.dumps(command))


class BaresipPython(Driven):
    """libre and libbaresip, newer than Debian's."""

    library, driver, package, no_wheel = "baresip", "baresip_python", "baresip-python", (3, 15)

    def __init__(self, *args: object, transfer_policy: str = "auto", **more: object):
        super().__init__(*args, transfer_policy=transfer_policy, **more)  # type: ignore[arg-type]


class Pjsua2(Driven):
    """PJSIP."""

    library, driver, package, no_wheel = "pjsua2", "pjsua2_phone", "pjsua2-python", (3, 13)
