"""docs/security.md: each test that its table of rights names is there, and its bounds have the defaults of the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sipfast.config import Config

TESTS = Path(__file__).parent.parent
PAGE = (TESTS.parent / "docs" / "security.md").read_text()
NAMED = re.findall(r"`([\w/]+\.py)::(\w+)`", PAGE)


def test_each_line_has_a_test() -> None:
    table = PAGE.partition("## Who can do what")[2].partition("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("| ")][2:]
    assert len(rows) > 20 and all("::test_" in row for row in rows)
    assert all(row.count(" | ") == 5 for row in rows)


@pytest.mark.parametrize(("file", "name"), sorted(set(NAMED)))
def test_each_test_is_there(file: str, name: str) -> None:
    assert re.search(rf"^(?:async )?def {name}\(", (TESTS / file).read_text(), re.M)


BOUNDS = PAGE.partition("\n## Bounds")[2].partition("\n## ")[0]
CONFIG = Config()


@pytest.mark.parametrize(("key", "value"), [
    ("registrar.max_contacts", CONFIG.registrar.max_contacts), ("registrar.max_aors", CONFIG.registrar.max_aors),
    ("redial.max_watches", CONFIG.redial.max_watches), ("redial.per_caller", CONFIG.redial.per_caller),
    ("redial.per_callee", CONFIG.redial.per_callee), ("limits.transactions", CONFIG.limits.transactions),
    ("limits.memory", CONFIG.limits.memory), ("store.map_size", CONFIG.store.map_size),
])  # fmt: skip
def test_the_defaults_of_the_bounds(key: str, value: int) -> None:
    assert re.search(rf"`{re.escape(key)}`, {value:,}\b", BOUNDS)
