"""Users are read into memory: 100,000 of them in a second (docs/configuration.md)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sipfast.identity.user_file import Record, load_users, write_records

USERS = 100_000


def test_load(benchmark: Any, tmp_path: Path) -> None:
    path = tmp_path / "users"
    records = (Record(user=f"u{n}", realm="example.com", md5=f"{n:032x}", sha256=f"{n:064x}") for n in range(USERS))
    write_records(path, records)
    users = benchmark.pedantic(load_users, (path,), rounds=5, warmup_rounds=1)
    assert users.count == USERS
