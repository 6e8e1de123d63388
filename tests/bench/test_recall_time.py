"""How soon a caller is recalled: what a commit takes, and the table."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

pytest.importorskip("hdrh", reason="hdrhistogram is in the bench dependency group")

from benchmarks import recall, report
from sipfast.store.repository import Store


def row(mode: str, *p99: float) -> dict[str, Any]:
    runs = [{"rate": 2000.0, "recall_us": {"p50": 70.0, "p99": each, "p99.9": 2 * each, "max": 9e9}} for each in p99]
    return {"mode": mode, "title": mode, "latency": {"sipfast": runs}, "commit_us": {"p50": 8.0, "p99": 12.0}}


def test_the_goal_is_a_millisecond_and_a_commit() -> None:
    lines = list(recall.recalls([row("redial", 300.0, 1500.0, 400.0)], "sipfast"))
    assert lines[2] == "| redial | 2,000 | 70 | 400 | 800 | 8 to 12 | 1,008 |"


def test_only_redial_recalls() -> None:
    assert list(recall.recalls([row("register", 1.0)], "sipfast")) == []
    assert len(list(recall.recalls([row("redial", 1.0), row("redial-notify", 1.0), row("call", 1.0)], "sipfast"))) == 4


def test_no_run_is_no_line() -> None:
    assert list(recall.recalls([row("redial")], "sipfast")) == []


def test_a_commit_is_of_a_binding_and_a_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[int] = []

    class Counting(Store):
        def commit(self) -> None:
            written.append(self.writes)
            super().commit()

    monkeypatch.setattr("sipfast.store.repository.Store", Counting)
    monkeypatch.setattr(recall, "COMMITS", 30)
    monkeypatch.setattr(recall, "PEOPLE", 20)
    took = recall.commit_us(None)
    assert [after - before for before, after in pairwise(written)] == [2] * 30
    assert 0 < took["p50"] <= took["p99"] <= took["max"]


def test_the_report_has_it() -> None:
    assert report.recalls is recall.recalls
