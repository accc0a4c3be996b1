"""power.py: the probability that a claim holds in a fresh draw, and how often it did."""

import json
from pathlib import Path
from typing import Any

import pytest
from scripts_fixtures import call, script

power: Any = script("power")


def published(numbers: list[Any], allowed: list[Any], *, control: list[Any] | None = None) -> Any:
    """A claim with one statistic, as claims.json has it."""
    decision = {"statistics": [numbers], "controls": {"wrong": [control or [99.0, 99.0, 99.0]]}}
    return {"claims": {"some.claim": {"criterion": [["s", *allowed]], "draws": {"0": decision}}}}


@pytest.mark.parametrize(
    ("numbers", "allowed", "expected"),
    [
        ([1.0, 0.9, 1.1], [0.9, 2.0], 0.5),  # at the bound
        ([1.0, 0.67095, 1.32905], [-1.0, 1.42905], 0.8413),  # a standard error inside
        ([1.0, 0.9, 1.1], [0.0, 2.0], 1.0),
        ([1.0, 0.9, 1.1], [None, 2.0], 1.0),
        ([0.1, 0.0, 0.3], [0.0, 1.0], 1.0),  # not negative
        ([0.32905, 0.0001, 0.658], [0.0, 1.0], 0.5),  # may come out negative
        ([3.0, 2.9, 3.1], [0.0, 2.0], 0.0),
        ([1.0, 1.0, 1.0], [0.0, 2.0], 1.0),  # compared as it is
        ([3.0, 3.0, 3.0], [0.0, 2.0], 0.0),
        ([None, None, None], [0.0, 2.0], 0.0),
    ],
)
def test_the_probability_is_that_of_the_normal_law(numbers: list[Any], allowed: list[Any], expected: float) -> None:
    assert power.calculated(published(numbers, allowed))["some.claim"] == pytest.approx(expected, abs=2e-4)


@pytest.mark.parametrize(
    ("control", "expected"),
    [
        ([3.0, 2.67095, 3.32905], 0.9999),
        ([2.42905, 2.1, 2.7581], 0.8413),  # a standard error outside
        ([-0.1, -0.2, 0.0], 0.5),
        ([2.0, 1.9, 2.1], 0.0005),
        ([None, None, None], 0.0),
    ],
)
def test_a_claim_holds_only_as_often_as_its_control_is_rejected(control: list[Any], expected: float) -> None:
    probability = power.calculated(published([1.0, 0.9, 1.1], [0.0, 2.0], control=control))["some.claim"]
    assert probability == pytest.approx(expected, abs=2e-3)


def test_each_statistic_has_to_be_rejected_by_some_control() -> None:
    preset = published([1.0, 0.9, 1.1], [0.0, 2.0])
    entry = preset["claims"]["some.claim"]
    entry["criterion"].append(["never rejected", 0.0, 2.0])
    for rows in (entry["draws"]["0"]["statistics"], entry["draws"]["0"]["controls"]["wrong"]):
        rows.append([1.0, 0.9, 1.1])
    assert power.calculated(preset)["some.claim"] == pytest.approx(0.0, abs=1e-9)


def test_a_preset_without_published_claims_is_named() -> None:
    done = call("--calculate", "ci/fig1", module=power)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "ci/fig1 has no published claims; presets that have: " in done.stderr


def test_verdicts_are_counted_over_fresh_draws(tmp_path: Path) -> None:
    counts = tmp_path / "counts.json"
    done = call("ci/prop2", "--draws", "2", "--results", tmp_path, "--json", counts, module=power)
    assert done.returncode == 0, done.stderr
    assert "ci/prop2: verdicts in 2 draws" in done.stdout
    table = json.loads(counts.read_text(encoding="utf-8"))["ci/prop2"]
    assert table
    assert all(sum(rows[""].values()) == 2 for rows in table.values())
