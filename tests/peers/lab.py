"""The lab: where a test gets its processes from, and what ends them all."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from .baresip import Baresip
from .kamailio import Kamailio
from .linphone import Linphone
from .process import HERE, HOST, Place, Process, need
from .pypi import BaresipPython, Driven, Pjsua2
from .server import Server
from .sipp import Sipp
from .twinkle import Twinkle

DOMAIN = "example.test"
P = TypeVar("P", bound=Process)


class Lab:
    """Starts programs in one folder and remembers them."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._processes: list[Process] = []

    def _keep(self, process: P) -> P:
        self._processes.append(process)
        return process

    @property
    def _number(self) -> int:
        return len(self._processes)

    def sipfast(
        self, config: str = "", *, upstream: int | None = None, like: Server | None = None, workers: int = 1,
        at: Place = HERE, probe: bool = False, believes: bool = False,
    ) -> Server:  # fmt: skip
        """A server that answers. `like` another: on its port and its data, that is, its restart.

        Without `probe` it asks nobody who registers: a scenario of SIPp's takes what it expects and nothing else.
        `believes`: a caller need not be registered, as SIPp's are not.
        """
        if believes:
            table = '[redial]\ncallers = "any"\n'
            config = config.replace("[redial]\n", table) if "[redial]\n" in config else f"{config}\n{table}"
        table = f"[registrar]\nprobe = {str(probe).lower()}\n"
        config = config.replace("[registrar]\n", table) if "[registrar]" in config else f"{config}\n{table}"
        data = like.data if like else self.folder / f"data{self._number}"
        port = like.port if like else at.free_port()
        server = Server(
            self.folder,
            self._number,
            port=port,
            domain=DOMAIN,
            data=data,
            upstream=upstream,
            config=config,
            workers=workers,
            at=at,
        )
        return self._keep(server).ready()

    def kamailio(
        self,
        *,
        absent: int = 480,
        auth: bool = False,
        path: bool = True,
        like: Kamailio | None = None,
        trusts: int | None = None,
        at: Place = HERE,
    ) -> Kamailio:
        """A registrar and proxy for the domain that answers. `like` another: on its port, that is, its restart."""
        need("kamailio")
        port = like.port if like else at.free_port()
        return self._keep(
            Kamailio(
                self.folder,
                self._number,
                port=port,
                domain=DOMAIN,
                absent=absent,
                auth=auth,
                path=path,
                trusts=trusts,
                at=at,
            )
        ).ready()

    def baresip(self, user: str, server: int, at: Place = HERE, *, refresh: int = 60, answers: bool = True) -> Baresip:
        """A softphone of `user` at a server's port; it registers by itself, for `refresh` seconds at a time."""
        need("baresip")
        return self._keep(
            Baresip(self.folder, self._number, user, DOMAIN, server, at, refresh=refresh, answers=answers)
        ).ready()

    def linphone(self, user: str, server: int, at: Place = HERE, *, refresh: int = 60, answers: bool = True) -> Linphone:
        """The same of another make."""
        need("linphonec")
        return self._keep(
            Linphone(self.folder, self._number, user, DOMAIN, server, at, refresh=refresh, answers=answers)
        ).ready()

    def twinkle(self, user: str, server: int, at: Place = HERE, *, refresh: int = 60, answers: bool = False) -> Twinkle:
        """And of a third one."""
        need("twinkle")
        return self._keep(
            Twinkle(self.folder, self._number, user, DOMAIN, server, at, refresh=refresh, answers=answers)
        ).ready()

    def baresip_python(self, user: str, server: int, at: Place = HERE, **more: object) -> Driven:
        """And two that are libraries: libre."""
        BaresipPython.need()
        return self._keep(BaresipPython(self.folder, self._number, user, DOMAIN, server, at, **more)).ready()

    def pjsua2(self, user: str, server: int, at: Place = HERE, **more: object) -> Driven:
        """And PJSIP."""
        Pjsua2.need()
        return self._keep(Pjsua2(self.folder, self._number, user, DOMAIN, server, at, **more)).ready()

    def caller(
        self,
        scenario: str,
        server: int,
        *options: str,
        port: int | None = None,
        calls: int = 1,
        seconds: float = 20,
        at: Place = HERE,
        **keys: object,
    ) -> Sipp:
        """A phone whose scenario begins with a request of its own to the server's port."""
        return self._sipp(scenario, server, options, port, calls, seconds, keys, at)

    def waiting(
        self,
        scenario: str,
        *options: str,
        port: int | None = None,
        calls: int = 1,
        seconds: float = 30,
        at: Place = HERE,
        **keys: object,
    ) -> Sipp:
        """A phone whose scenario begins with a request from elsewhere; returns when it listens."""
        return self._sipp(scenario, None, options, port, calls, seconds, keys, at).ready()

    def _sipp(
        self,
        scenario: str,
        server: int | None,
        options: tuple[str, ...],
        port: int | None,
        calls: int,
        seconds: float,
        keys: dict[str, object],
        at: Place,
    ) -> Sipp:
        need("sipp")
        return self._keep(
            Sipp(
                scenario,
                self.folder,
                self._number,
                server=server,
                port=port or at.free_port(),
                calls=calls,
                seconds=seconds,
                options=options,
                keys={"domain": DOMAIN, **keys},
                at=at,
            )
        )

    def end(self) -> None:
        """End whatever still runs, the latest first."""
        for process in reversed(self._processes):
            process.stop()


@contextlib.contextmanager
def listening(port: int) -> Iterator[socket.socket]:
    """A bare socket on a phone's port, to see that nothing comes (or what)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ear:
        ear.bind((HOST, port))
        yield ear


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """A lab for one test."""
    it = Lab(tmp_path)
    try:
        yield it
    finally:
        it.end()
