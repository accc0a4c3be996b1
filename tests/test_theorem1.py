"""Theorem 1 over widths: what is measured against the definition, and the checks on made-up networks."""

import dataclasses
import math

import numpy as np
import pytest
import torch
import xarray as xr
from criteria_fixtures import assert_as_written, own_verdict
from scripts_fixtures import cell_of, script

from replication.experiments import theorem1 as experiment
from replication.experiments.theorem1 import claims
from replication.limit import theta_inf
from replication.network import Network
from replication.plots import theorem1 as plots
from replication.study.claims import decide
from replication.study.settings import WideNetworkConfig
from replication.tangent import tangent_kernel

compose = script("compose")
EXPERIMENT = experiment.EXPERIMENT
CLAIM = {claim.id.removeprefix("theorem1."): claim for claim in EXPERIMENT.claims}
NETWORK = WideNetworkConfig(depth=3, nonlinearity="relu", beta=0.1, dtype="float64", weights="revealed", tolerance=0.0)


def cell(hidden=(30, 30), n_outputs=1, seeds=(0, 1), group=1, network=NETWORK):
    setting = experiment.Initialized(
        variant="main", hidden=hidden, n_outputs=n_outputs, group=group, network=network, n_samples=4
    )
    return cell_of(EXPERIMENT, setting, seeds)


def made_up(
    exponent=-0.5, size=2.0, off=-0.5, bias=-1.0, depth=1.0, growth=3.0, unequal=1.0, scatter=0.0
) -> xr.Dataset:
    """Networks in which, by default, the theorem and its rates hold; each entry of Θ_∞ is 1."""
    rng = np.random.default_rng(0)
    parts = []

    def add(variant, hidden, seeds, sd, mean=0.0, off=math.nan):
        values = mean + sd * rng.standard_normal((seeds, 3))
        names = {
            "variant": [variant] * seeds,
            "depth": [len(hidden) + 1] * seeds,
            "width": [max(hidden)] * seeds,
            "hidden": ["-".join(map(str, hidden))] * seeds,
            "inverse_widths": [sum(1 / n for n in hidden)] * seeds,
            "scale": [1.0] * seeds,
            "off_diagonal": (off * rng.uniform(0.8, 1.2, seeds)).tolist(),
            "standard": [float(max(hidden))] * seeds,
            "truncation": [0.0] * seeds,
        }
        parts.append(
            xr.Dataset(
                {"deviation": (("network", "entry"), values), "limit": (("network", "entry"), np.ones_like(values))}
                | {name: ("network", value) for name, value in names.items()}
            )
        )

    for n in (100, 10_000, 1_000_000):
        add("main", (n,) * 3, 300, size * n**exponent)
    for n in (64, 4000):
        for variant in ("erf", "outputs"):
            add(variant, (n,) * 3, 1200, 2 * n**exponent, off=2 * n**off)
    for n in (4, 40):
        add("narrow", (n,) * 3, 4000, 0.2 * n**-0.5, mean=n**bias)
    for layers in (1, 3, 7):
        moments = {
            "deep": depth * claims.second_moment(layers + 1, 200),
            "biased": 0.015 * (1 + (growth - 1) * (layers - 1) / 6),
        }
        for variant, moment in moments.items():
            add(variant, (200,) * layers, 6000, math.sqrt(math.expm1(moment)))
    arrangements = {(64, 64, 64): 0, (32, 512, 512): scatter, (512, 512, 32): -scatter, (256, 256, 256): 0}
    for hidden, log in arrangements.items():
        add("unequal", hidden, 4000, 2 * sum(1 / n for n in hidden) ** (unequal / 2) * math.exp(log / math.sqrt(2)))
    networks = xr.concat(parts, dim="network")
    return networks.assign(diagonal=("entry", [1, 0, 1])).assign_attrs(
        widths=[100, 10_000, 1_000_000],
        nonlinearities=["erf"],
        others=[64, 4000],
        depths=[2, 4, 8],
        deep=200,
        narrow=[4, 40],
        n_samples=2,
        network={"depth": 4, "nonlinearity": "relu", "beta": 0.1},
    )


@pytest.mark.parametrize("name", CLAIM)
def test_claims_hold_where_they_should_and_reject_their_controls(name):
    (outcome,) = decide([CLAIM[name]], made_up())
    assert outcome.verdict == "holds", outcome.statistics
    assert set(outcome.controls.values()) == {"fails"}
    assert_as_written(outcome)


@pytest.mark.parametrize(
    ("name", "inside", "outside"),
    [
        ("convergence", {"exponent": -0.53}, {"exponent": -0.57}),
        ("convergence", {"exponent": -0.47}, {"exponent": -0.43}),
        ("convergence", {"size": 27}, {"size": 33}),
        ("nonlinearities", {"exponent": -0.57}, {"exponent": -0.63}),
        ("nonlinearities", {"exponent": -0.43}, {"exponent": -0.37}),
        ("outputs", {"off": -0.58}, {"off": -0.62}),
        ("outputs", {"off": -0.42}, {"off": -0.38}),
        ("outputs", {"exponent": -0.57}, {"exponent": -0.63}),
        ("outputs", {"exponent": -0.43}, {"exponent": -0.37}),
        ("bias", {"bias": -1.2}, {"bias": -1.3}),
        ("bias", {"bias": -0.8}, {"bias": -0.7}),
        ("depth", {"depth": 1.04}, {"depth": 1.17}),
        ("depth", {"depth": 0.96}, {"depth": 0.84}),
        ("depth", {"growth": 2.2}, {"growth": 1.8}),
        ("unequal", {"unequal": 1.12}, {"unequal": 1.28}),
        ("unequal", {"unequal": 0.88}, {"unequal": 0.72}),
        ("unequal", {"scatter": 0.35}, {"scatter": 0.48}),
    ],
)
def test_claims_hold_inside_their_ranges_and_fail_outside(name, inside, outside):
    for data, verdict in ((inside, "holds"), (outside, "fails")):
        assert own_verdict(CLAIM[name], made_up(**data)) == verdict, data


def test_second_moment_to_first_order_is_the_mean_over_pairs_of_terms():
    for depth in (2, 3, 7):
        shared = [5 * (depth - 1) - 4 * abs(i - j) for i in range(depth) for j in range(depth)]
        assert 1e6 * claims.second_moment(depth, 10**6) == pytest.approx(np.mean(shared), rel=1e-4)
    assert 1e6 * claims.second_moment(2, 10**6) == pytest.approx(3, rel=1e-4)


def test_second_moment_is_that_of_narrow_networks():
    """At n = 12 the next order makes a difference: 4000 networks tell its 8 %."""
    network = dataclasses.replace(NETWORK, beta=0.0)
    kernels = EXPERIMENT.compute(cell((12, 12), seeds=tuple(range(4000)), network=network))
    ratios = 1 + kernels.deviation.values[:, [0, 4, 7, 9]] / kernels.limit.values[:, [0, 4, 7, 9]]
    assert claims.log_second_moment(ratios) == pytest.approx(claims.second_moment(3, 12), rel=0.1)


@pytest.mark.parametrize("n_outputs", [1, 3])
def test_what_is_measured_is_the_kernel_less_the_limit(n_outputs):
    one = cell(n_outputs=n_outputs, seeds=(5,))
    measured = EXPERIMENT.compute(one)
    stream = one.stream("main", 30, 30, 5)
    network = Network.init([2, 30, 30, n_outputs], generator=stream, beta=0.1, dtype=torch.float64)
    x = experiment.points(one)
    kernel = tangent_kernel(network, x).reshape(4, n_outputs, 4, n_outputs)
    limit = theta_inf(x, depth=3, nonlinearity="relu", beta=0.1)
    upper = np.triu_indices(4)
    mean = sum(kernel[:, k, :, k] for k in range(n_outputs)) / n_outputs
    np.testing.assert_allclose(measured.limit[0], limit.numpy()[upper], rtol=1e-6)
    assert float(measured.scale[0]) == pytest.approx(float(limit.square().mean().sqrt()))
    np.testing.assert_allclose(measured.deviation[0], (mean - limit).numpy()[upper], rtol=1e-5, atol=1e-6)
    if n_outputs > 1:
        off = torch.stack([kernel[:, i, :, j] for i in range(3) for j in range(3) if i != j])
        assert float(measured.off_diagonal[0]) == pytest.approx(float(off.square().mean().sqrt()))
    else:
        assert np.isnan(measured.off_diagonal).all()


def test_standard_is_the_kernel_of_one_rate_in_the_usual_parametrization():
    one = cell(seeds=(5,))
    measured = EXPERIMENT.compute(one)
    stream = one.stream("main", 30, 30, 5)
    network = Network.init([2, 30, 30, 1], generator=stream, beta=0.1, dtype=torch.float64)
    leaves = []
    for w, b in zip(network.weights, network.biases, strict=True):
        leaves += [(w.values / w.shape[1] ** 0.5).requires_grad_(), (0.1 * b).requires_grad_()]
    x = experiment.points(one)
    rows = []
    for point in x:
        hidden = point[None]
        for l in range(3):
            hidden = (hidden.relu() if l else hidden) @ leaves[2 * l].T + leaves[2 * l + 1]
        rows.append(torch.cat([part.flatten() for part in torch.autograd.grad(hidden.sum(), leaves)]))
    jacobian = torch.stack(rows)
    limit = theta_inf(x, depth=3, nonlinearity="relu", beta=0.1)
    assert float(measured.standard[0]) == pytest.approx(float((jacobian @ jacobian.T - limit).norm()))


@pytest.mark.parametrize("width", [30, 300])
def test_networks_are_the_same_alone_and_in_a_block(width):
    block = EXPERIMENT.compute(cell((width, width), seeds=(0, 1, 2)))
    alone = EXPERIMENT.compute(cell((width, width), seeds=(1,)))
    np.testing.assert_allclose(block.deviation[1], alone.deviation[0], rtol=1e-5, atol=1e-6)


def test_groups_are_means_over_networks():
    groups = EXPERIMENT.compute(cell(seeds=(1, 2), group=5))
    networks = EXPERIMENT.compute(cell(seeds=tuple(range(5, 15))))
    for name in ("deviation", "standard", "limit"):
        expected = networks[name].values.reshape(2, 5, -1).mean(axis=1)
        np.testing.assert_allclose(groups[name].values.reshape(2, -1), expected, rtol=1e-5, atol=1e-6)


def test_another_draw_has_other_points():
    first, second = (EXPERIMENT.compute(dataclasses.replace(cell(), draw=draw)).limit[0] for draw in (0, 1))
    assert (first != second).any()


@pytest.mark.parametrize("width", [30, 300])
def test_another_draw_has_other_networks(width, monkeypatch):
    x = experiment.points(cell())
    monkeypatch.setattr(experiment, "points", lambda cell: x)
    one = cell((width, width))
    first, second = (EXPERIMENT.compute(dataclasses.replace(one, draw=draw)).deviation for draw in (0, 1))
    assert (first != second).all()


def test_revealed_networks_have_the_same_law_as_dense_ones():
    size = 60
    revealed = EXPERIMENT.compute(cell((300, 300), seeds=tuple(range(size))))
    dense = EXPERIMENT.compute(cell((200, 200), seeds=tuple(range(size))))
    ratio = claims.variance(revealed.deviation.values) / claims.variance(dense.deviation.values)
    assert ratio == pytest.approx(200 / 300, rel=0.6)
    assert float(revealed.truncation.max()) < 1e-12


def test_a_width_that_does_not_fit_is_refused():
    dense = dataclasses.replace(NETWORK, weights="dense")
    with pytest.raises(MemoryError, match="the largest width that fits is"):
        EXPERIMENT.compute(cell((10**8, 10**8), network=dense))


def test_assembled_data_are_drawn():
    overrides = ("main={widths: [16, 300], seeds: [6, 5]}", "others={widths: [8, 16], seeds: 5}", "n_samples=3")
    overrides += ("deep={widths: [10], seeds: 5}", "narrow={widths: [4, 8], seeds: 1000}", "unequal_seeds=5")
    _, config = compose.typed(compose.preset("ci/theorem1", *overrides))
    dataset = EXPERIMENT.join(config, [EXPERIMENT.compute(cell) for cell in EXPERIMENT.cells(config)])
    assert dataset.sizes["network"] == 11 + 2 * 2 * 5 + 2 * 3 * 5 + 2 * 5 + 5 * len(config.unequal)
    statistics = [statistic for outcome in decide(EXPERIMENT.claims, dataset) for statistic in outcome.statistics]
    assert np.isfinite([statistic.estimate for statistic in statistics]).all()
    assert [len(figure.axes) for figure in plots.figures(dataset).values()] == [3, 3]
    assert [n for n, _ in EXPERIMENT.metrics(dataset)] == [16.0, 300.0]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("n_samples", "1"),
        ("main.seeds", "[1]"),
        ("nonlinearities", "[relu]"),
        ("depths", "[1]"),
        ("unequal", "[[3,3]]"),
        ("deep.widths", "[3,4]"),
        ("narrow.seeds", "0"),
        ("narrow.seeds", "300"),
        ("narrow.widths", "[4,300]"),
        ("nonlinearities", "[erf,erf]"),
        ("unequal", "[]"),
        ("unequal", "[[8,16,8],[16,8,8]]"),
        ("unequal_seeds", "0"),
    ],
)
def test_bad_values_are_refused(key, value):
    with pytest.raises(compose.UserError, match=f"{key}="):
        compose.typed(compose.preset("ci/theorem1", f"{key}={value}"))
