"""power.py: the probability that a claim holds in a fresh draw, and how often it did."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from scripts_fixtures import call, script

from replication.study.statistics import Statistic


@pytest.mark.parametrize(
    ("statistic", "expected"),
    [
        (Statistic("at the bound", 1.0, 0.9, 1.1, (0.9, 2.0)), 0.5),
        (Statistic("a standard error inside", 1.0, 0.67095, 1.32905, (-1.0, 1.42905)), 0.8413),
        (Statistic("far inside", 1.0, 0.9, 1.1, (0.0, 2.0)), 1.0),
        (Statistic("not negative", 0.1, 0.0, 0.3, (0.0, 1.0)), 1.0),
        (Statistic("far outside", 3.0, 2.9, 3.1, (0.0, 2.0)), 0.0),
        (Statistic("compared as it is", 1.0, 1.0, 1.0, (0.0, 2.0)), 1.0),
    ],
)
def test_the_probability_is_that_of_the_normal_law(
    monkeypatch: pytest.MonkeyPatch, statistic: Statistic, expected: float
) -> None:
    module: Any = script("power")
    claim = SimpleNamespace(id="some.claim")
    monkeypatch.setattr(
        module, "decided", lambda name, overrides: [SimpleNamespace(claim=claim, statistics=[statistic])]
    )
    assert module.calculated("any", [])["some.claim"] == pytest.approx(expected, abs=2e-4)


def test_verdicts_are_counted_over_fresh_draws(tmp_path: Path) -> None:
    counts = tmp_path / "counts.json"
    done = call("ci/prop2", "--draws", "2", "--results", tmp_path, "--json", counts, module=script("power"))
    assert done.returncode == 0, done.stderr
    assert "ci/prop2: verdicts in 2 draws" in done.stdout
    table = json.loads(counts.read_text(encoding="utf-8"))["ci/prop2"]
    assert table
    assert all(sum(rows[""].values()) == 2 for rows in table.values())
