"""sipfast itself as a process: `python -m sipfast serve`, from this source tree."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from .process import HERE, Place, Process

ROOT = Path(__file__).parent.parent.parent


class Server(Process):
    """A server with its data folder; a second one on the same folder and port is its restart."""

    def __init__(
        self,
        folder: Path,
        number: int,
        *,
        port: int,
        domain: str,
        data: Path,
        upstream: int | None,
        config: str,
        workers: int,
        at: Place = HERE,
    ):
        self.port, self.domain, self.data = port, domain, data
        argv = [sys.executable, "-m", "sipfast", "serve", "--listen", f"udp:{at.host}:{port}"]
        argv += ["--domain", domain, "--data", str(data), "--workers", str(workers)]
        if at.host != HERE.host and "users = " not in config:
            argv.append("--open")
        if upstream is not None:
            argv += ["--upstream", f"sip:{at.servers}:{upstream}"]
        if config:
            path = folder / f"{number:02}-sipfast.toml"
            path.write_text(config)
            argv += ["--config", str(path)]
        super().__init__(argv, folder / f"{number:02}-sipfast.log", env={"PYTHONPATH": str(ROOT)}, at=at)

    def ready(self) -> Server:
        """Wait until it answers."""
        self.until(lambda: self.at.answers_options(self.port), 15, f"sipfast answers on {self.port}")
        return self

    def watches(self) -> list[dict[str, object]]:
        """The watch list, as `sipfast watches list --json` tells it while the server runs."""
        return self._list("watches")

    def bindings(self) -> list[dict[str, object]]:
        """The bindings, as `sipfast bindings list --json` tells them."""
        return self._list("bindings")

    def _list(self, what: str) -> list[dict[str, object]]:
        command = [sys.executable, "-m", "sipfast", what, "list", "--json", "--data", str(self.data)]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=30, check=False, env={"PYTHONPATH": str(ROOT)}
        )
        assert done.returncode == 0, f"{' '.join(command[1:])}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        rows = json.loads(done.stdout or "[]")
        assert isinstance(rows, list)
        return rows
