"""The experiment on kernel gradient descent: its flows against an ODE solver, its checks on made-up networks."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr
from criteria_fixtures import assert_as_written, own_verdict
from scipy.integrate import solve_ivp
from scripts_fixtures import cell_of, script

from replication.experiments import kernel_gradient as experiment
from replication.experiments.kernel_gradient.settings import COSTS
from replication.plots import kernel_gradient as plots
from replication.randomness import generator
from replication.study.claims import decide
from replication.study.settings import ConfigError, NetworkConfig

compose = script("compose")
EXPERIMENT = experiment.EXPERIMENT
WIDTHS = [64, 256, 1024]
CLAIM = {claim.id.removeprefix("kernel_gradient."): claim for claim in EXPERIMENT.claims}
NETWORK = NetworkConfig(depth=3, nonlinearity="erf", beta=0.1, dtype="float64")
SETTING = experiment.Setting(network=NETWORK, n_samples=5, intervals=4, t=3.0, tolerance=1e-3)


def data():
    return experiment.data(SETTING, generator("kernel_gradient", "data"))


def measured(setting, draw=0):
    return EXPERIMENT.compute(replace(cell_of(EXPERIMENT, setting), draw=draw))


def networks(exponent=-0.5, gap=1e-8, remaining=1e-20, stall=0.02) -> xr.Dataset:
    """An assembled dataset in which, by default, the paper is right."""
    rng = np.random.default_rng(0)
    parts = []
    for cost in COSTS:
        for width in WIDTHS:
            distance = width**exponent * np.exp(rng.normal(0, 0.2, (40, 1)))
            table = np.hstack([distance, distance, distance + 1])
            part = xr.Dataset(
                {
                    "on_data": (("network", "reference"), table),
                    "off_data": (("network", "reference"), table),
                    "dissipation": (("network", "kernel"), np.tile([gap, 0.1], (40, 1))),
                    "cost": ("network", [cost] * 40),
                    "width": ("network", [width] * 40),
                },
                coords={"reference": list(experiment.REFERENCES), "kernel": ["own", "limit"]},
            )
            parts.append(part)
    dataset = xr.concat(parts, dim="network").assign_attrs(widths=WIDTHS)
    dataset["remaining"] = (("objective", "kernel_rank"), [[remaining, 0.5], [remaining, 0.5]])
    dataset["stall"], dataset["stall_predicted"] = stall, 0.02
    return dataset.assign_coords(objective=list(COSTS), kernel_rank=["definite", "deficient"])


@pytest.mark.parametrize("name", CLAIM)
def test_claims_hold_where_they_should_and_reject_their_controls(name):
    (outcome,) = decide([CLAIM[name]], networks())
    assert outcome.verdict == "holds"
    assert set(outcome.controls.values()) == {"fails"}
    assert_as_written(outcome)


@pytest.mark.parametrize(
    ("name", "broken"),
    [
        ("dissipation", {"gap": 0.01}),
        ("on_data", {"exponent": -0.1}),
        ("off_data", {"exponent": -1.0}),
        ("infimum", {"remaining": 0.1}),
        ("stall", {"stall": 0.021}),
    ],
)
def test_claims_fail_where_they_are_broken(name, broken):
    assert own_verdict(CLAIM[name], networks(**broken)) == "fails"


@pytest.mark.parametrize(
    ("name", "key", "inside", "outside"),
    [
        ("dissipation", "gap", 0.9e-6, 1.1e-6),
        ("on_data", "exponent", -0.38, -0.22),
        ("on_data", "exponent", -0.62, -0.78),
        ("off_data", "exponent", -0.38, -0.22),
        ("off_data", "exponent", -0.62, -0.78),
        ("infimum", "remaining", 0.9e-12, 1.1e-12),
        ("stall", "stall", 0.02 * (1 + 0.9e-9), 0.02 * (1 + 1.1e-9)),
        ("stall", "stall", 0.02 * (1 - 0.9e-9), 0.02 * (1 - 1.1e-9)),
    ],
)
def test_claims_hold_just_inside_their_ranges_and_fail_just_outside(name, key, inside, outside):
    verdicts = [own_verdict(CLAIM[name], networks(**{key: value})) for value in (inside, outside)]
    assert verdicts == ["holds", "fails"]


@pytest.mark.parametrize("name", COSTS)
def test_flow_in_function_space_solves_its_equation(name):
    x = data()
    cost, n_outputs = experiment.cost_on(name, x)
    points = torch.cat([x, torch.tensor([[0.6, 0.8], [-0.8, 0.6]], dtype=torch.float64)])
    kernel = experiment.limit(SETTING, points, n_outputs, 3)
    f_0 = torch.randn(len(points), n_outputs, generator=generator("f_0"), dtype=torch.float64)

    def rate(_, f):
        d = cost.direction(torch.from_numpy(f).reshape(f_0.shape)[: len(x)])
        return -(kernel[:, : len(x) * n_outputs] @ d.flatten() / len(x)).numpy()

    expected = solve_ivp(rate, (0, 4.0), f_0.flatten().numpy(), "DOP853", rtol=1e-11, atol=1e-12).y[:, -1]
    flow = experiment.FunctionSpaceFlow(kernel, cost, f_0, len(x), 4.0)
    np.testing.assert_allclose(flow(4.0).flatten().numpy(), expected, rtol=0, atol=1e-7)
    torch.testing.assert_close(flow(0.0), f_0)


@pytest.mark.parametrize("name", COSTS)
def test_dissipation_is_the_kernel_norm_and_leaves_the_network_alone(name):
    x = data()
    cost, n_outputs = experiment.cost_on(name, x)
    network = NETWORK.draw(2, 8, n_outputs, generator=generator("dissipation"))
    before = network(x)
    own, wrong = experiment.dissipation(network, x, cost, [experiment.limit(SETTING, x, n_outputs, 3)])
    assert own < 1e-7
    assert wrong > 1e-2
    torch.testing.assert_close(network(x), before, rtol=1e-12, atol=1e-14)


def test_the_cost_stalls_with_a_deficient_kernel_only():
    late = measured(SETTING).isel(network=0)
    definite, deficient = (late.remaining.sel(kernel_rank=rank) for rank in ("definite", "deficient"))
    assert definite.sel(objective="least_squares") < 1e-20
    assert deficient.sel(objective="least_squares") > 0.05
    assert math.isclose(late.stall, late.stall_predicted, rel_tol=1e-9)


def test_assembled_data_have_every_network_once_and_are_drawn():
    overrides = ["widths=[16,8]", "seeds=2", "setting.n_samples=5", "setting.intervals=4", "setting.t=3"]
    _, config = compose.typed(compose.preset("ci/kernel_gradient", *overrides))
    dataset = EXPERIMENT.join(config, [EXPERIMENT.compute(cell) for cell in EXPERIMENT.cells(config)])
    assert sorted(set(zip(dataset.cost.values, dataset.width.values, dataset.seed.values, strict=True))) == sorted(
        (cost, width, seed) for cost in COSTS for width in (8, 16) for seed in (0, 1)
    )
    assert np.isfinite(dataset.cost_network).all()
    np.testing.assert_allclose(dataset.cost_network[:, 0], dataset.cost_limit[:, 0], rtol=1e-6)
    assert len(list(EXPERIMENT.metrics(dataset))) == 2 * experiment.TIMES
    assert list(plots.figures(dataset)) == ["kernel_gradient", "kernel_gradient_widths"]


def test_another_draw_has_other_data_and_networks():
    trained = experiment.Trained(cost="least_squares", width=8, setting=SETTING)
    first, second = (measured(trained, draw) for draw in (0, 1))
    assert (first.f != second.f).all()
    assert measured(SETTING).stall_predicted != measured(SETTING, 1).stall_predicted
    _, config = compose.typed(compose.preset("ci/kernel_gradient", "widths=[8]", "seeds=1", "setting.t=1"))
    angles = []
    for draw in (0, 1):
        asked = replace(config, draw=draw)
        dataset = EXPERIMENT.join(asked, [EXPERIMENT.compute(cell) for cell in EXPERIMENT.cells(asked)])
        angles.append(dataset.attrs["data_angles"])
    assert not set(angles[0]) & set(angles[1])


@pytest.mark.parametrize(("key", "value"), [("n_samples", 3), ("intervals", 5), ("t", 0.0), ("tolerance", 0.0)])
def test_bad_settings_are_refused(key, value):
    settings = {"n_samples": 5, "intervals": 4, "t": 1.0, "tolerance": 1e-3}
    with pytest.raises(ConfigError, match=f"setting.{key}="):
        experiment.Setting(**settings | {key: value}, network=NETWORK)
    single = NetworkConfig(depth=3, nonlinearity="erf", beta=0.1, dtype="float32")
    with pytest.raises(ConfigError, match=r"setting.network.dtype=float32"):
        experiment.Setting(**settings, network=single)
