"""Several outputs against scalar networks: what they share, and the check on made-up networks."""

import numpy as np
import pytest
import torch
import xarray as xr
from criteria_fixtures import assert_as_written, own_verdict
from scripts_fixtures import cell_of, script

from replication.costs import Cost, LeastSquares
from replication.experiments import multi_output as experiment
from replication.plots import multi_output as plots
from replication.randomness import generator
from replication.study.claims import decide
from replication.study.settings import NetworkConfig
from replication.study.statistics import geometric
from replication.training import GradientFlow

compose = script("compose")
EXPERIMENT = experiment.EXPERIMENT
(CLAIM,) = EXPERIMENT.claims
SETTING = experiment.Setting(
    network=NetworkConfig(depth=3, nonlinearity="relu", beta=0.1, dtype="float64"), n_samples=4, t=3.0, tolerance=1e-3
)


def measured(width=30, seeds=(0,), cost="least_squares"):
    cell = cell_of(EXPERIMENT, experiment.Trained(cost=cost, width=width, setting=SETTING), seeds)
    return EXPERIMENT.compute(cell)


def problem():
    return experiment.problem(SETTING, generator("multi_output", "data"))


def made_up(exponent=-0.5) -> xr.Dataset:
    rng = np.random.default_rng(0)
    parts = []
    for width in (64, 256, 1024):
        for cost, power in (("least_squares", exponent), ("coupled", 0.0)):
            names = {"cost": cost, "width": width}
            parts.append(
                xr.Dataset(
                    {"distance": ("network", width**power * rng.lognormal(0, 0.1, 30))}
                    | {name: ("network", [value] * 30) for name, value in names.items()}
                )
            )
    return xr.concat(parts, dim="network").assign_attrs(widths=[64, 256, 1024])


def test_the_claim_holds_where_it_should_and_rejects_its_control():
    (outcome,) = decide([CLAIM], made_up())
    assert outcome.verdict == "holds"
    assert set(outcome.controls.values()) == {"fails"}
    assert_as_written(outcome)


@pytest.mark.parametrize(("inside", "outside"), [(-0.61, -0.7), (-0.39, -0.3)])
def test_the_claim_holds_inside_its_range_and_fails_outside(inside, outside):
    for exponent, verdict in ((inside, "holds"), (outside, "fails")):
        assert own_verdict(CLAIM, made_up(exponent)) == verdict, exponent


def test_scalar_networks_are_drawn_apart_and_start_from_the_residuals():
    """Each of them trained apart, in one go."""
    measurement, (at, target) = measured(), problem()
    x = at[:4]
    own = SETTING.network.draw(2, 30, 3, generator=generator("multi_output", 30, 0))(at).double()
    np.testing.assert_allclose(measurement.f[0, 0], own, rtol=1e-6)
    for k in range(3):
        one = SETTING.network.draw(2, 30, generator=generator("multi_output", "scalar", 30, 0, k))
        start = one(at).double()
        assert float((start[:, 0] - own[:, k]).abs().max()) > 0.01
        cost = LeastSquares(target[:, k : k + 1] - own[:4, k : k + 1] + start[:4])
        for _ in GradientFlow(SETTING.t, 1e-4).states(one, x, cost):
            pass
        change = (one(at).double() - start)[:, 0].numpy()
        np.testing.assert_allclose(measurement.scalar[0, -1, :, k] - measurement.scalar[0, 0, :, k], change, atol=0.02)


@pytest.mark.parametrize("cost", experiment.COSTS)
def test_distance_is_the_largest_over_time(cost):
    measurement = measured(12, cost=cost)
    gaps = np.sqrt(np.square(measurement.f - measurement.scalar).mean(("point", "output")))[0]
    assert float(measurement.distance[0]) == pytest.approx(float(gaps.max()), rel=1e-5)
    np.testing.assert_allclose(measurement.f[0, 0], measurement.scalar[0, 0])
    assert measurement.sizes["point"] == 2 * SETTING.n_samples


def test_the_coupled_cost_and_its_derivative():
    target = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    f = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    cost = experiment.Coupled(target)
    (gradient,) = torch.autograd.grad(cost.value(f), f)
    torch.testing.assert_close(cost.direction(f) / 4, gradient)
    error = f - target
    own, others = error.square().sum(), error.sum(dim=1).square().sum() - error.square().sum()
    torch.testing.assert_close(cost.value(f), 0.5 * (own + experiment.COUPLING * others) / 4)
    kernel = torch.randn(12, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    kernel = kernel @ kernel.T
    closed, numerical = cost.frozen_flow(kernel, f.detach(), 3.0), Cost.frozen_flow(cost, kernel, f.detach(), 3.0)
    for moment in (0, 1):
        torch.testing.assert_close(closed(1.7, moment), numerical(1.7, moment), rtol=1e-6, atol=1e-8)
    assert cost.curvature() == pytest.approx(float(torch.linalg.eigvalsh(cost.matrix)[-1]))


def test_wide_networks_are_nearer():
    seeds = (0, 1, 2, 3, 4, 5)
    narrow, wide = (geometric(measured(n, seeds).distance.values) for n in (30, 1000))
    assert wide < 0.4 * narrow


def test_assembled_data_are_drawn():
    overrides = ("widths=[8,40]", "seeds=5", "setting.t=2", "setting.network.depth=3")
    _, config = compose.typed(compose.preset("ci/multi_output", *overrides))
    dataset = EXPERIMENT.join(config, [EXPERIMENT.compute(cell) for cell in EXPERIMENT.cells(config)])
    assert dataset.sizes["network"] == 2 * 2 * 5
    (figure,) = plots.figures(dataset).values()
    assert len(figure.axes) == 3
    assert {n for n, _ in EXPERIMENT.metrics(dataset)} == {8.0, 40.0}


@pytest.mark.parametrize(
    ("key", "value"),
    [("setting.n_samples", "2"), ("setting.t", "0"), ("setting.tolerance", "-1"), ("widths", "[]"), ("seeds", "0")],
)
def test_bad_values_are_refused(key, value):
    with pytest.raises(compose.UserError, match=f"{key}="):
        compose.typed(compose.preset("ci/multi_output", f"{key}={value}"))
