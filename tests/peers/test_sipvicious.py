"""SIPVicious, which most attackers use, at a server with passwords: it finds no user, guesses no password but the first,
and who goes on guessing is banned.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sipfast.identity.user_file import Record, secrets_of, write_records

from .lab import DOMAIN, Lab
from .process import HOST
from .server import ROOT, Server

pytestmark = pytest.mark.peers

USERS = ("100", "104", "109")  # of the numbers from 100 to 109
RIGHT = "correct horse"


def run(tool: str, *arguments: object, seconds: int = 15) -> str:
    """One of its tools, to its end or for so long; what it says."""
    path = Path(sys.executable).with_name(f"sipvicious_{tool}")
    if not path.exists():
        say = "sipvicious not installed (`make test` installs it from PyPI)"
        if os.environ.get("CI") == "true":
            pytest.fail(say)
        pytest.skip(say)
    argv = ["timeout", str(seconds), str(path), *map(str, arguments)]
    done = subprocess.run(
        argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=seconds + 10, check=False
    )
    return done.stdout


def bans(server: Server) -> list[str]:
    command = [sys.executable, "-m", "sipfast", "bans", "list", "--json", "--data", str(server.data)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=30, check=True, env={"PYTHONPATH": str(ROOT)}
    )
    return [each["source"] for each in json.loads(done.stdout)]


@pytest.fixture
def server(lab: Lab, tmp_path: Path) -> Iterator[Server]:
    file = tmp_path / "users"
    write_records(file, [Record(user=name, realm=DOMAIN, **secrets_of(name, DOMAIN, RIGHT)) for name in USERS])
    yield lab.sipfast(f'users = "{file}"\n')


def test_it_finds_that_a_server_is_there_and_no_more(server: Server) -> None:
    said = run("svmap", "-p", server.port, HOST)
    assert f"{HOST}:{server.port}" in said and "sipfast" not in said.lower()


@pytest.mark.parametrize("method", ["REGISTER", "INVITE", "OPTIONS"])
def test_it_finds_no_user(server: Server, method: str) -> None:
    """Those who exist are answered as those who do not, so it gives up."""
    said = run("svwar", "-m", method, "-e", "100-109", "--force", "--domain", DOMAIN, f"udp://{HOST}:{server.port}")
    assert "found nothing" in said, said
    assert bans(server) == []  # it has proven no address, so it may be anybody's


def guess(server: Server, file: Path, user: str, seconds: int = 4) -> str:
    """What svcrack says after so long; where it hears nothing it would wait for ten seconds."""
    return run("svcrack", "-u", user, "-d", file, "--domain", DOMAIN, f"udp://{HOST}:{server.port}", seconds=seconds)


def words(folder: Path, before: int) -> Path:
    """A list of passwords with the right one behind so many."""
    file = folder / f"passwords{before}"
    file.write_text("".join(f"wrong {n}\n" for n in range(before)) + f"{RIGHT}\n" + "wrong too\n" * 30)
    return file


def test_it_guesses_a_password_that_it_names_first(server: Server, tmp_path: Path) -> None:
    """Else the next test would say nothing."""
    assert RIGHT in guess(server, words(tmp_path, 0), USERS[0], 15)
    assert bans(server) == []


def test_it_does_not_guess_one_that_comes_later_and_is_banned(server: Server, tmp_path: Path) -> None:
    """Four at a time: each gives up at its first 503. Two of the users do not exist."""
    file = words(tmp_path, 30)
    with ThreadPoolExecutor() as pool:
        said = list(pool.map(lambda user: guess(server, file, user), ("100", "101", "102", "104")))
    assert not any(RIGHT in each for each in said), said
    assert bans(server) == [HOST]
    assert RIGHT not in guess(server, words(tmp_path, 0), USERS[2])  # nothing of it is looked at
