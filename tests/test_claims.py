"""Verdicts by their table of truth: of a statistic, of a claim with its controls, and where there is no value."""

import math

import numpy as np
import pytest
import xarray as xr

from replication.study import statistics
from replication.study.claims import Claim, Control, Outcome, decide
from replication.study.statistics import Statistic, interval

INF, NAN = math.inf, math.nan


def statistic(estimate=1.0, low=0.9, high=1.1, allowed=(0.5, 2.0)):
    return Statistic("s", estimate, low, high, allowed)


def statistic_named(name):
    return Statistic(name, 1.0, 0.9, 1.1, (0.5, 2.0))


def claim(check, controls):
    return Claim("x.y", "§6", "statement", "paper", "criterion", "figure", check, controls)


@pytest.mark.parametrize(
    ("estimate", "low", "high", "allowed", "verdict"),
    [
        (1.0, 0.9, 1.1, (0.5, 2.0), "holds"),
        (1.0, 0.5, 2.0, (0.5, 2.0), "holds"),
        (1.0, 0.9, 1.1, (-INF, 2.0), "holds"),
        (1.0, 0.9, 1.1, (0.5, INF), "holds"),
        (1.0, 0.4, 1.1, (0.5, 2.0), "undecided"),
        (1.0, 0.9, 2.1, (0.5, 2.0), "undecided"),
        (3.0, 1.9, 4.0, (0.5, 2.0), "undecided"),
        (1.0, 0.0, 9.0, (0.5, 2.0), "undecided"),
        (3.0, 2.0, 4.0, (0.5, 2.0), "undecided"),
        (3.0, 2.1, 4.0, (0.5, 2.0), "fails"),
        (0.1, 0.0, 0.4, (0.5, 2.0), "fails"),
        (3.0, 2.1, INF, (0.5, 2.0), "fails"),
        (0.1, -INF, 0.4, (0.5, INF), "fails"),
        (1.0, -INF, INF, (0.5, 2.0), "undecided"),
        (1.0, -INF, INF, (0.5, INF), "undecided"),
        (1.0, -INF, INF, (-INF, 2.0), "undecided"),
        (NAN, NAN, NAN, (0.5, 2.0), "undecided"),
        (NAN, 0.9, 1.1, (0.5, 2.0), "undecided"),
        (1.0, NAN, 1.1, (0.5, 2.0), "undecided"),
        (1.0, 0.9, NAN, (0.5, 2.0), "undecided"),
        (INF, 0.9, INF, (0.5, INF), "undecided"),
        (INF, INF, INF, (0.5, 2.0), "undecided"),
        (5.0, 0.9, 1.1, (0.5, 2.0), "undecided"),
    ],
)
def test_verdict_of_a_statistic(estimate, low, high, allowed, verdict):
    assert statistic(estimate, low, high, allowed).verdict == verdict


def test_more_noise_never_turns_undecided_into_a_verdict():
    """As an interval widens around a value, holds and fails only ever become undecided."""
    for estimate in (0.2, 0.6, 1.0, 2.5):
        verdicts = [statistic(estimate, estimate - h, estimate + h).verdict for h in np.linspace(0, 5, 200)]
        first = verdicts.index("undecided")
        assert len(set(verdicts[:first])) <= 1
        assert set(verdicts[first:]) == {"undecided"}


HOLDS, FAILS, UNDECIDED = statistic(), statistic(5, 4, 6), statistic(2, 1, 3)


@pytest.mark.parametrize(
    ("own", "verdict"),
    [
        ([HOLDS, HOLDS], "holds"),
        ([HOLDS, UNDECIDED], "undecided"),
        ([UNDECIDED, FAILS], "fails"),
        ([HOLDS, FAILS], "fails"),
        ([], "undecided"),
    ],
)
def test_a_claim_is_as_good_as_its_worst_statistic(own, verdict):
    outcome = Outcome(claim(lambda _: own, [Control("c", lambda d: d)]), own)
    assert outcome.verdict == verdict


@pytest.mark.parametrize(
    ("own", "on_control", "verdict"),
    [
        (HOLDS, FAILS, "holds"),
        (HOLDS, UNDECIDED, "undecided"),
        (HOLDS, HOLDS, "undecided"),
        (FAILS, HOLDS, "fails"),
        (FAILS, FAILS, "fails"),
        (UNDECIDED, FAILS, "undecided"),
    ],
)
def test_a_claim_holds_only_while_its_control_is_rejected(own, on_control, verdict):
    def check(dataset):
        return [on_control if dataset.attrs.get("broken") else own]

    control = Control("broken", lambda dataset: dataset.assign_attrs(broken=True))
    (outcome,) = decide([claim(check, [control])], xr.Dataset())
    assert outcome.verdict == verdict
    assert outcome.controls == {"broken": on_control.verdict}
    rejected = on_control is FAILS
    assert ("NOT rejected" not in outcome.row()["controls"]) == rejected


def test_every_statistic_has_to_be_rejected_by_a_control():
    """A claim is undecided while one of its statistics is in its range on all controls."""
    inside, outside = statistic(), statistic(estimate=4.0, low=3.0, high=5.0)
    whole, first = Control("whole", lambda d: d), Control("first", lambda d: d)
    good = Outcome(
        claim(None, [whole, first]), [inside, inside], {"whole": [outside, outside], "first": [outside, inside]}
    )
    poor = Outcome(claim(None, [first]), [inside, statistic_named("late")], {"first": [outside, inside]})
    assert (good.verdict, good.objections) == ("holds", [])
    assert (poor.verdict, poor.objections) == ("undecided", ["rejected by no negative control: late"])
    assert poor.row()["controls"] == "first: rejected; rejected by no negative control: late"
    with pytest.raises(ValueError, match="zip"):
        _ = Outcome(claim(None, [first]), [inside, inside], {"first": [outside]}).verdict


def test_criterion_is_made_of_the_allowed_ranges():
    """Statistics with one range share its words; the worst of several says so; no interval is shown where none is."""
    statistics = [statistic(allowed=(-INF, 2.0)), Statistic("r", 1.0, 1.0, 1.0, (0.5, 1.5), worst_of=7)]
    outcome = Outcome(claim(None, [Control("c", lambda d: d)]), [*statistics, statistic(allowed=(-INF, 2.0))])
    assert outcome.criterion == "s, s: ≤ 2; r, the worst of 7: 0.5 to 1.5"
    assert str(statistics[0]) == "s = 1 [0.9, 1.1] (allowed: ≤ 2)"
    assert str(statistics[1]) == "r, the worst of 7 = 1 (allowed: 0.5 to 1.5)"


def test_every_control_has_to_be_rejected():
    def check(dataset):
        return [FAILS if dataset.attrs.get("broken") else HOLDS]

    controls = [Control("broken", lambda d: d.assign_attrs(broken=True)), Control("toothless", lambda d: d)]
    (outcome,) = decide([claim(check, controls)], xr.Dataset())
    assert outcome.verdict == "undecided"


def degenerate(dataset):
    """A check that has no value where x is 0."""
    return [statistic(estimate=1 + math.log(1 / float(dataset.x))), statistic()]


@pytest.mark.parametrize(
    ("x", "on_control", "verdicts"), [(0.0, 1.0, ["undecided"]), (-1.0, 1.0, ["undecided"]), (1.0, 0.0, ["holds"] * 2)]
)
def test_data_on_which_a_statistic_has_no_value_decide_nothing(x, on_control, verdicts):
    """Nothing moved, all networks are alike: the claim is undecided, and a control of such data rejects nothing."""
    control = Control("degenerate", lambda dataset: dataset.assign(x=on_control))
    (outcome,) = decide([claim(degenerate, [control])], xr.Dataset({"x": x}))
    assert outcome.verdict == "undecided"
    assert [statistic.verdict for statistic in outcome.statistics] == verdicts
    assert set(outcome.controls.values()) <= {"undecided"}
    assert outcome.row()["verdict"] == "undecided"


def test_a_claim_without_a_control_is_refused():
    with pytest.raises(ValueError, match="negative control"):
        claim(lambda _: [HOLDS], [])


def test_too_few_seeds_are_told_so_and_leave_a_claim_undecided():
    few = statistic(*interval([np.ones(statistics.MIN_SEEDS - 1)], lambda g: float(g[0].mean())))
    assert few.verdict == "undecided"
    assert "too few seeds" in str(few)
