"""Remark 1: the usual parametrization against the engine, the parts of the kernel, and the checks on made-up data."""

import dataclasses
import math

import numpy as np
import pytest
import torch
import xarray as xr
from criteria_fixtures import assert_as_written, tilted, verdict_at
from scripts_fixtures import cell_of, script

from replication.costs import LeastSquares
from replication.experiments.remark1 import EXPERIMENT, claims, measure
from replication.experiments.remark1.measure import BesideUsual, Initialized, Limit, WithBetas
from replication.experiments.remark1.settings import RUNS, SLOW
from replication.limit import limit
from replication.network import Network
from replication.plots import remark1 as plots
from replication.randomness import generator
from replication.study.claims import decide
from replication.study.experiment import Cell
from replication.study.settings import NetworkConfig
from replication.tangent import Tangent, tangent_kernel
from replication.training import DivergenceError, GradientDescent
from replication.usual import descent_kernel, exact_rates, layer_kernels, one_rate

compose = script("compose")
CLAIM = {claim.id.removeprefix("remark1."): claim for claim in EXPERIMENT.claims}
OURS = ("remark1.functions", "remark1.derivatives", "remark1.map")


def network_of(hidden=(20, 50, 10), beta=0.3, sigma="relu") -> NetworkConfig:
    return NetworkConfig(depth=len(hidden) + 1, nonlinearity=sigma, beta=beta, dtype="float64")


def beside(kind="mapped", hidden=(20, 50, 10), beta=0.3, sigma="relu", seeds=(0,), **changes) -> Cell:
    fields = {"n_0": 2, "n_samples": 6, "learning_rate": 0.2, "steps": 20, "trained": True} | changes
    setting = BesideUsual(hidden=hidden, network=network_of(hidden, beta, sigma), **fields)
    return cell_of(EXPERIMENT, setting, seeds, kind, hidden="-".join(map(str, hidden)))


def with_betas(hidden=(16, 16, 16), seeds=(0,)) -> Cell:
    betas = (0.1, 1.0)
    setting = WithBetas(hidden=hidden, n_0=2, network=network_of(hidden, 0.1), n_samples=6, betas=betas)
    return cell_of(EXPERIMENT, setting, seeds, "initial", width=hidden[0])


def example(n_0=2) -> tuple[Network, torch.Tensor, torch.Tensor]:
    """A network, inputs and targets."""
    setting = Initialized(hidden=(20, 50, 10), n_0=n_0, network=network_of(), n_samples=6)
    x = setting.inputs(generator("inputs"))
    return setting.draw(generator("network"), "cpu"), x, x[:, :1] * x[:, 1:2]


def share_inf(beta: float) -> float:
    """For depth 4 and ReLU."""
    setting = Limit(network=network_of(), betas=(beta,))
    return float(EXPERIMENT.compute(cell_of(EXPERIMENT, setting, kind="limit")).share_inf[0, 0])


def made_up() -> xr.Dataset:
    """What theory has, with a little noise."""
    rng = np.random.default_rng(0)
    seeds, widths, betas, n_0s = 40, (64, 1024), (0.1, 1.0), (2, 100, 784)
    shares = [0.07, 0.5]

    def noisy(values: np.ndarray) -> np.ndarray:
        return values * rng.lognormal(0, 0.02, np.shape(values))

    width = np.repeat(widths, seeds)
    biases = noisy(np.array(shares)[None, :, None] / 4 * np.ones((len(width), 2, 4)))
    weights = noisy((1 - np.array(shares))[None, :, None] / 4 * np.ones((len(width), 2, 4)))
    compared_n_0 = np.repeat(n_0s, seeds)
    per_run = {2: [-0.4, -0.5, 3.5, -3.7], 100: [0.0, 0.0, 3.5, -3.3], 784: [1.0, 1.0, 3.5, -2.3]}
    doublings = np.array([per_run[n_0] for n_0 in compared_n_0])
    doublings[compared_n_0 != 100] += rng.normal(0, 0.1, (2 * seeds, 4))
    return xr.Dataset(
        {
            **{name: ("mapped", np.full(8, 1e-14)) for name in ("start", "derivative", "exact")},
            **{name: ("mapped", np.full(8, 0.5)) for name in ("unmapped", "unscaled", "single")},
            "doublings": (("compared", "run"), doublings),
            "distance": (("compared", "run"), noisy(np.tile([0.1, 0.1, 0.5, 0.6], (len(compared_n_0), 1)))),
            "pace": (("compared", "run"), rng.normal([-0.6, -0.6, 0.1, -3], 0.1, doublings.shape)),
            "first": ("compared", np.zeros(len(compared_n_0))),
            "beta_one": (("compared", "run"), rng.normal(-1.3, 0.1, doublings.shape)),
            "compared_width": ("compared", np.full(len(compared_n_0), 100)),
            "compared_n_0": ("compared", compared_n_0),
            "weights": (("initial", "beta", "layer"), weights),
            "biases": (("initial", "beta", "layer"), biases),
            "largest": (("initial", "beta"), noisy(np.ones((len(width), 2)))),
            "largest_usual": (("initial", "beta"), noisy(np.repeat(width[:, None], 2, axis=1))),
            "initial_width": ("initial", width),
            "share_inf": ("beta", shares),
        },
        coords={"run": list(RUNS), "beta": list(betas)},
    ).assign_attrs(network={"beta": 0.1}, width=100, widths=widths, inputs=n_0s, betas=betas)


BROKEN = {
    "remark1.functions": lambda data: data.assign(start=data.start + 1e-6),
    "remark1.derivatives": lambda data: data.assign(derivative=data.derivative + 1e-6),
    "remark1.map": lambda data: data.assign(exact=data.exact + 1e-6),
    "remark1.classical": lambda data: data.assign(distance=4 * data.distance),
    "remark1.biases": lambda data: data.assign(doublings=data.doublings / 10),
    "remark1.inputs": lambda data: data.assign(doublings=-data.doublings),
    "remark1.beta": lambda data: data.assign(biases=2 * data.biases),
    "remark1.balance": lambda data: data.assign(biases=2 * data.biases),
    "remark1.limit": lambda data: data.assign(largest_usual=data.largest_usual**0.5),
}


def test_the_claims_hold_where_they_should_and_reject_their_controls():
    for outcome in decide(EXPERIMENT.claims, made_up()):
        assert outcome.verdict == "holds", outcome
        assert set(outcome.controls.values()) == {"fails"}, outcome
        assert_as_written(outcome)


@pytest.mark.parametrize("claim", EXPERIMENT.claims, ids=lambda claim: claim.id)
def test_a_claim_fails_where_it_is_broken(claim):
    (outcome,) = decide([claim], BROKEN[claim.id](made_up()))
    assert outcome.verdict == "fails"


@pytest.mark.parametrize(
    ("name", "number", "variable", "inside", "outside"),
    [
        ("functions", 0, "start", 0.9e-12, 1.1e-12),
        ("derivatives", 0, "derivative", 0.9e-12, 1.1e-12),
        ("map", 0, "exact", 0.9e-9, 1.1e-9),
        *(("classical", i, "doublings", 0.8 * side, 1.2 * side) for i in (0, 3) for side in (-1, 1)),
        *(("classical", i, "pace", 0.85 * side, 1.15 * side) for i in (1, 4) for side in (-1, 1)),
        *(("classical", i, "distance", 0.245, 0.255) for i in (2, 5)),
        ("biases", 0, "doublings", 1.05, 0.95),
        ("inputs", 0, "doublings", -0.12, -0.08),
        ("inputs", 1, "doublings", 0.11, 0.09),
        *(("beta", i, "biases over", *pair) for i in (0, 1) for pair in ((1.09, 1.11), (0.91, 0.89))),
    ],
)
def test_a_statistic_holds_just_inside_its_range_and_fails_just_outside(name, number, variable, inside, outside):
    claim, data = CLAIM[name], made_up()
    variable, power = ("share_inf", -1.0) if variable == "biases over" else (variable, 1.0)
    assert verdict_at(claim, data, number, inside, variable, power) == "holds"
    assert verdict_at(claim, data, number, outside, variable, power) == "fails"


@pytest.mark.parametrize(
    ("name", "number", "variable", "power"),
    [("balance", 0, "weights", 2), ("limit", 0, "largest", 1), ("limit", 1, "largest_usual", 1)],
)
@pytest.mark.parametrize("side", [-1, 1])
def test_an_exponent_holds_just_inside_its_range_and_fails_just_outside(name, number, variable, power, side):
    edge = 0.05 if name == "balance" else 0.1
    for exponent, verdict in ((0.8 * edge, "holds"), (1.2 * edge, "fails")):
        moved = tilted(made_up(), variable, "initial_width", side * power * exponent)
        assert CLAIM[name].check(moved)[number].verdict == verdict


@pytest.mark.parametrize(("weights", "verdict"), [(0.76, "holds"), (0.61, "fails")])
def test_the_share_of_the_biases_is_little_up_to_a_tenth(weights, verdict):
    data = made_up()
    assert CLAIM["balance"].check(data.assign(weights=weights * data.weights))[1].verdict == verdict


@pytest.mark.parametrize("claim", [c for c in EXPERIMENT.claims if c.id not in OURS], ids=lambda claim: claim.id)
def test_a_claim_on_random_networks_wants_seeds(claim):
    data = made_up()
    few = {"compared": np.arange(0, data.sizes["compared"], 20), "initial": np.arange(0, data.sizes["initial"], 20)}
    (outcome,) = decide([claim], data.isel(few))
    assert outcome.verdict in ("undecided", "fails")
    assert any(math.isinf(statistic.high) for statistic in outcome.statistics)


def test_one_network_that_is_off_breaks_an_identity():
    data = made_up()
    data.exact[3] = math.nan
    (outcome,) = decide([claim for claim in EXPERIMENT.claims if claim.id == "remark1.map"], data)
    assert outcome.verdict == "undecided"


@pytest.mark.parametrize(("sigma", "beta", "n_0"), [("relu", 0.1, 2), ("tanh", 1.0, 3), ("gelu", 0.5, 5)])
def test_both_parametrizations_train_alike(sigma, beta, n_0):
    measured = EXPERIMENT.compute(beside(beta=beta, sigma=sigma, n_0=n_0))
    for name, bound in (("start", 1e-13), ("derivative", 1e-13), ("exact", 1e-12)):
        assert float(measured[name].max()) < bound, name
    for name in ("unmapped", "unscaled", "single"):
        assert float(measured[name].min()) > 1e-2, name


@pytest.mark.parametrize(
    "wrong",
    [
        lambda network, rate: [(rate / n, rate * network.beta) for n in network.widths[:-1]],
        lambda network, rate: [(rate / n, rate * network.beta**2) for n in network.widths[1:]],
        lambda network, rate: [(rate / n**0.5, rate * network.beta**2) for n in network.widths[:-1]],
        lambda network, rate: [(rate, rate)] * network.depth,
    ],
    ids=["beta", "fan-out", "root", "one rate"],
)
def test_a_wrong_map_of_the_rates_is_caught(monkeypatch, wrong):
    monkeypatch.setattr(measure, "exact_rates", wrong)
    measured = EXPERIMENT.compute(beside(learning_rate=0.02))
    assert float(measured.exact.max()) > 1e-4


def test_a_kernel_is_the_sum_of_its_parts():
    """Θ from the exact rates; that of one rate is the NTK by automatic differentiation of the usual network."""
    network, x, _ = example()
    by_layer = layer_kernels(Tangent(network, x))
    theta = descent_kernel(*by_layer, exact_rates(network, 1.0))
    torch.testing.assert_close(theta, tangent_kernel(network, x))
    model = measure.counterpart(network)
    rows = []
    for value in model(x)[:, 0]:
        gradients = torch.autograd.grad(value, list(model.parameters()), retain_graph=True)
        rows.append(torch.cat([gradient.flatten() for gradient in gradients]))
    jacobian = torch.stack(rows)
    torch.testing.assert_close(descent_kernel(*by_layer, one_rate(network, 0.5)), 0.5 * jacobian @ jacobian.T)


def test_the_speed_is_that_of_a_short_step():
    network, x, target = example()
    short = 1e-6
    speed = measure.initial_speed(network, exact_rates(network, short), x, target)
    costs = []
    for state in GradientDescent(short, 1).states(network, x, LeastSquares(target)):
        costs.append(state.cost_at(state.t))
    assert (1 - costs[1] / costs[0]) / 2 == pytest.approx(speed, rel=1e-4)


def test_usual_networks_agree_where_the_input_has_as_many_dimensions_as_layers_have_neurons():
    measured = EXPERIMENT.compute(beside("compared", (16, 16, 16), beta=0.25, n_0=16, learning_rate=0.1))
    assert abs(float(measured.doublings.sel(run="scaled").max())) < 1e-12
    assert float(measured.distance.sel(run="scaled").max()) < 1e-12
    assert float(measured.doublings.sel(run="slow").max()) == pytest.approx(math.log2(SLOW))
    for run in ("zero", "unit", "slow"):
        assert float(measured.distance.sel(run=run).min()) > 1e-3


def test_pace():
    ours, usual = np.array([8.0, 4, 2, 1, 0.5]), np.array([8.0, 6, 4, 3, 2])
    assert measure.log_pace_ratio(ours, usual) == -1 == -measure.log_pace_ratio(usual, ours)
    assert measure.log_pace_ratio(ours, ours) == 0


def test_only_the_first_layer_is_apart_for_other_inputs():
    measured = EXPERIMENT.compute(beside("compared", (16, 16, 16), beta=0.25, learning_rate=0.1, trained=False))
    assert float(measured.doublings.sel(run="scaled").max()) < -0.01
    assert abs(float(measured["first"].max())) < 1e-12
    assert np.isnan(measured.distance).all()


@pytest.mark.parametrize("n_0", [2, 7])
def test_the_bias_share_of_the_limit(n_0):
    """From a sum over the layers, and as what β b alone adds to Θ_∞ of one layer after another, at every input."""
    _, x, _ = example(n_0)
    kernels = limit(x[:1], depth=4, nonlinearity="relu", beta=0.3)
    biases = 0.0
    for layer in range(4):
        biases = biases * (float(kernels.sigma_dot[layer]) if layer else 1.0) + 0.3**2
    assert share_inf(0.3) == pytest.approx(biases / float(kernels.theta_inf))


def test_a_wide_network_has_the_shares_of_the_limit():
    measured = EXPERIMENT.compute(with_betas((2000,) * 3, seeds=(0, 1)))
    for beta in (0.1, 1.0):
        np.testing.assert_allclose(claims.share(measured.sel(beta=beta)), share_inf(beta), rtol=0.1)


def test_the_parts_of_a_kernel_are_those_of_the_network_with_each_beta():
    network, x, _ = example()
    betas = (0.3, 1.0, 0.1)
    measured = measure.kernel_parts(betas, network, x)
    assert network.beta == 0.3
    for beta in betas:
        parts = measured.sel(beta=beta)
        theta = tangent_kernel(measure.variant(network, beta), x)
        assert float((parts.weights + parts.biases).sum()) == pytest.approx(float(theta.diagonal().mean()))
        assert float(parts.largest) == pytest.approx(float(torch.linalg.eigvalsh(theta)[-1]) / len(x))


def test_inputs_have_the_size_of_the_circle_s():
    for n_0 in (2, 7):
        _, x, _ = example(n_0)
        torch.testing.assert_close(x.square().mean(dim=1), torch.full((6,), 0.5, dtype=torch.float64))


@pytest.mark.parametrize(
    ("cell", "names"),
    [
        (beside(), ("single", "unmapped")),
        (beside("compared", (16, 16, 16)), ("doublings", "beta_one", "distance", "cost")),
        (with_betas(), ("weights", "biases", "largest", "largest_usual")),
    ],
    ids=lambda value: getattr(value, "kind", ""),
)
@pytest.mark.parametrize("fixed", ["draw", "inputs"])
def test_another_draw_has_other_networks_and_other_inputs(cell, names, fixed, monkeypatch):
    """With the networks fixed, and with the inputs fixed."""
    drawn = getattr(Initialized, fixed)
    monkeypatch.setattr(Initialized, fixed, lambda setting, stream, *rest: drawn(setting, generator("fixed"), *rest))
    first, second = (EXPERIMENT.compute(dataclasses.replace(cell, draw=draw)) for draw in (0, 1))
    for name in names:
        assert not np.isclose(first[name], second[name], rtol=1e-6).all(), name


def test_divergence_names_the_network():
    with pytest.raises(DivergenceError, match=r"mapped-20-50-10-seed4, seed 4: "):
        EXPERIMENT.compute(beside(seeds=(4,), learning_rate=1e4, steps=200))


def test_assembled_data_are_drawn():
    overrides = (
        "map.seeds=1",
        "map.steps=3",
        "classical.steps=3",
        "classical.seeds=6",
        "kernel.widths=[8,40]",
        "kernel.seeds=[7,5]",
    )
    _, config = compose.typed(compose.preset("ci/remark1", *overrides))
    dataset = EXPERIMENT.join(config, [EXPERIMENT.compute(cell) for cell in EXPERIMENT.cells(config)])
    assert (dataset.sizes["mapped"], dataset.sizes["compared"], dataset.sizes["initial"]) == (4, 12, 12)
    assert np.isfinite(claims.compared(dataset, 100, 2).distance).all()
    (figure,) = plots.figures(dataset).values()
    assert len(figure.axes) == 6
    assert {n for n, _ in EXPERIMENT.metrics(dataset)} == {8.0, 40.0, 100.0}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("network.dtype", "float32"),
        ("network.nonlinearity", "erf"),
        ("network.beta", "0"),
        ("n_samples", "1"),
        ("map.learning_rate", "0"),
        ("map.steps", "0"),
        ("map.seeds", "0"),
        ("map.hidden", "[[3,4]]"),
        ("map.nonlinearities", "[sin]"),
        ("map.betas", "[0.0]"),
        ("classical.learning_rate", "-1"),
        ("classical.widths", "[25]"),
        ("classical.inputs", "[1,2]"),
        ("classical.inputs", "[784]"),
        ("kernel.betas", "[0.1]"),
        ("kernel.betas", "[0.1,0.1,1.0]"),
        ("kernel.widths", "[]"),
        ("kernel.seeds", "[1]"),
    ],
)
def test_bad_values_are_refused(key, value):
    with pytest.raises(compose.UserError, match=f"{key}="):
        compose.typed(compose.preset("ci/remark1", f"{key}={value}"))
