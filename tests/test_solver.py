"""The solver's error: few networks of an experiment, half of each tolerance, and what that does to a verdict."""

import math
from dataclasses import dataclass, field, replace
from types import SimpleNamespace

import pytest
import xarray as xr

from replication.study.claims import Claim, Control, decide
from replication.study.experiment import Ensemble
from replication.study.settings import WideNetworkConfig
from replication.study.solver import few_networks, halved, solver_errors
from replication.study.statistics import Statistic, undecided

NETWORK = WideNetworkConfig(depth=3, nonlinearity="erf", beta=0.1, dtype="float64", weights="revealed", tolerance=1e-6)


@dataclass(frozen=True)
class Training:
    tolerance: float
    t: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Setting:
    width: int
    network: WideNetworkConfig = field(default_factory=lambda: NETWORK)
    training: Training | None = None


class Few:
    def ensembles(self, config):
        for width, block in ((10, 20), (1000, 1)):
            setting = Setting(width=width, training=Training(config.x))
            yield Ensemble(labels={}, setting=setting, seeds=range(30), block=block)


def claim(estimate=1.0, half_width=0.1):
    def check(dataset):
        value = estimate + float(dataset.attrs["shift"])
        return [Statistic("a", value, value - half_width, value + half_width, (0.5, 1.5)), undecided("b", (0.0, 1.0))]

    control = Control("a wrong theory", lambda dataset: dataset.assign_attrs(shift=9.0))
    return Claim("x.a", "§1", "It is.", "1", "a", "x", check, (control,))


def test_half_of_each_solvers_tolerance_and_of_nothing_else():
    setting = Setting(width=5, training=Training(0.1))
    assert halved(setting) == replace(setting, training=Training(0.05))
    assert halved(Setting(width=5)) == Setting(width=5)


def test_few_networks_are_an_interval_or_a_block_and_the_experiments_own():
    config, experiment = SimpleNamespace(x=0.2), Few()
    plain, fine = (list(few_networks(experiment, half=half).ensembles(config)) for half in (False, True))
    assert [len(ensemble.seeds) for ensemble in plain] == [20, 5]
    assert [ensemble.setting for ensemble in plain] == [ensemble.setting for ensemble in experiment.ensembles(config)]
    assert [ensemble.setting.training.tolerance for ensemble in fine] == [0.1, 0.1]
    assert [len(ensemble.seeds) for ensemble in experiment.ensembles(config)] == [30, 30]


@pytest.mark.parametrize(("shift", "verdict"), [(0.3, "holds"), (-0.3, "holds"), (0.45, "undecided")])
def test_what_half_the_tolerance_moves_is_inside_the_interval(shift, verdict):
    plain, fine = (xr.Dataset(attrs={"shift": value}) for value in (0.0, shift))
    (moved, unknown) = solver_errors([claim()], plain, fine)["x.a"]
    assert moved == pytest.approx(abs(shift))
    assert math.isnan(unknown)
    (outcome,) = decide([claim()], plain.assign_attrs(solver={"x.a": [moved, unknown]}))
    first, second = outcome.statistics
    assert first.verdict == verdict
    assert (first.low, first.high) == pytest.approx((0.9 - abs(shift), 1.1 + abs(shift)))
    assert second.verdict == "undecided"
    assert "of it the solver's" in str(first)
    (without,) = decide([claim()], plain)
    assert without.statistics[0].verdict == "holds"
