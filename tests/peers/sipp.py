"""SIPp: one scenario of tests/sipp/ as one process, which is one phone."""

from __future__ import annotations

from pathlib import Path

from .process import HERE, Place, Process, find

SCENARIOS = Path(__file__).parent.parent / "sipp"


class Sipp(Process):
    """A phone that plays its scenario `calls` times and ends."""

    def __init__(
        self,
        scenario: str,
        folder: Path,
        number: int,
        *,
        server: int | None,
        port: int,
        calls: int,
        seconds: float,
        options: tuple[str, ...],
        keys: dict[str, object],
        at: Place = HERE,
    ):
        self.port = port
        name = f"{number:02}-{scenario}-{port}"
        self.messages = folder / f"{name}.messages"
        self.errors = folder / f"{name}.errors"
        self.notes = folder / f"{name}.notes"
        argv = [find("sipp") or "sipp", "-sf", str(SCENARIOS / f"{scenario}.xml"), "-m", str(calls)]
        argv += ["-i", at.host, "-p", str(port), "-bind_local", "-mi", at.host, "-mp", str(at.free_port())]
        argv += ["-ci", at.host, "-cp", str(at.free_port()), "-nostdin", "-timeout", f"{seconds:g}", "-timeout_error"]
        argv += ["-trace_msg", "-message_file", str(self.messages), "-trace_err", "-error_file", str(self.errors)]
        argv += ["-trace_logs", "-log_file", str(self.notes), *options]
        for key, value in keys.items():
            argv += ["-key", key, str(value)]
        if server is not None:
            argv.append(f"{at.servers}:{server}")
        super().__init__(argv, folder / f"{name}.log", cwd=folder, env={"TERM": "dumb"}, at=at)
        self.seconds = seconds

    def ready(self) -> Sipp:
        """Wait until it can be called."""
        self.until(lambda: self.has_port(self.port), 5, f"SIPp listens on {self.port}")
        return self

    def done(self, seconds: float | None = None) -> Sipp:
        """Wait for the end of its scenario. Raises AssertionError with its trace where a call failed."""
        status = self.wait((seconds or self.seconds) + 5)
        assert status == 0, f"{self.name}: SIPp ended with {status}\n{self.story()}"
        return self

    def trace(self) -> str:
        """All messages sent and received, as SIPp wrote them down."""
        return self.messages.read_text(errors="replace") if self.messages.exists() else ""

    def story(self) -> str:
        """What went wrong and the last messages; SIPp's screen says nothing."""
        errors = self.errors.read_text(errors="replace")[-2000:] if self.errors.exists() else "(no errors file)"
        return f"--- errors ---\n{errors}\n--- messages ---\n{self.trace()[-5000:]}"
