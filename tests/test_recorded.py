"""What claims.json says of a draw is shown as it was decided, and only of the data that it was decided on."""

import math
from dataclasses import replace
from typing import Any

from replication.study.claims import Claim, Control, Outcome
from replication.study.record import Preset, update
from replication.study.recorded import is_of, outcomes
from replication.study.statistics import Statistic

ENTRY = {"commit": "0123", "cpu": "x86_64", "from": "a", "to": "b", "cells": {"main": 1.0}}
ATTRS: dict[str, Any] = {"experiment": "e", "version": 2, "engine": 1, "draw": 0, "provenance": [ENTRY]}
CONTROLS = [Control("a wrong theory", lambda dataset: dataset), Control("another", lambda dataset: dataset)]
CLAIM = Claim("a.b", "§1", "So it is.", "so", "taken", "f", lambda _: [], CONTROLS)


def decided() -> Outcome:
    """Undecided: a control is not rejected, and of one statistic there is no interval."""
    own = Statistic("exponent", -0.45, -0.50004, -0.4, (-0.50004, 0.0), solver=0.004)
    wrong = replace(own, estimate=0.3, low=0.2, high=0.4, solver=0.0)
    few = Statistic("size", 1.0, -math.inf, math.inf, (-math.inf, 3.0), worst_of=3, solver=math.nan)
    return Outcome(CLAIM, [own, few], {"a wrong theory": [wrong, few], "another": [own, few]})


def preset(outcome: Outcome) -> Preset:
    return update({}, "e", {}, ATTRS, [outcome])["e"]


def test_shown_as_decided() -> None:
    before = decided()
    (after,) = outcomes(preset(before), [CLAIM])
    assert after.verdict == before.verdict == "undecided"
    assert after.objections == before.objections
    assert len(after.objections) == 2
    assert after.controls == before.controls
    assert after.row() == before.row()


def test_a_verdict_does_not_hang_on_the_digits_of_the_record() -> None:
    own, _ = decided().statistics
    rejected = [replace(own, estimate=0.3, low=0.2, high=0.4)]
    before = Outcome(CLAIM, [replace(own, low=-0.499996, allowed=(-0.499998, 0.0))], {"a wrong theory": rejected})
    (after,) = outcomes(preset(before), [CLAIM])
    assert after.statistics[0].verdict == "undecided"  # of the rounded numbers
    assert after.verdict == before.verdict == "holds"


def test_only_of_the_same_data_and_claims() -> None:
    recorded = preset(decided())
    assert is_of(recorded, [CLAIM], ATTRS)
    for change in ({"version": 3}, {"engine": 2}, {"draw": 1}, {"provenance": [ENTRY | {"commit": "4567"}]}):
        assert not is_of(recorded, [CLAIM], ATTRS | change), change
    assert not is_of(recorded, [replace(CLAIM, id="a.c")], ATTRS)
    assert not is_of(recorded, [CLAIM, replace(CLAIM, id="a.c")], ATTRS)
    assert not is_of(recorded, [replace(CLAIM, controls=CONTROLS[:1])], ATTRS)
