"""The experiment on least squares: predictions against Monte Carlo, claims on networks in the limit or not."""

import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
import xarray as xr
from criteria_fixtures import assert_as_written, own_verdict, tilted, verdict_at
from scripts_fixtures import script

from replication.experiments.least_squares import EXPERIMENT, limit, measure, statistics
from replication.experiments.least_squares.settings import CircleConfig, FewConfig, SamplesConfig, TrainingConfig
from replication.plots import least_squares as plots
from replication.regression import LeastSquaresFlow
from replication.study.claims import decide
from replication.study.settings import ConfigError

compose = script("compose")
CLAIM = {claim.id.removeprefix("least_squares."): claim for claim in EXPERIMENT.claims}
BROKEN_BY = {
    "decay": "slow",
    "width": "no_convergence",
    "bounded": "rising",
    "gaussian": "mixture",
    "variance": "wide_start",
    "early_stopping": "slow",
}
"""Claim on networks → what breaks it; the others are on kernels alone."""


def config(*overrides):
    return compose.typed(compose.preset("ci/least_squares", *overrides))[1]


def in_the_limit(cell, regression, labels, times, broken=""):
    """f_t of the limit from an f_0 ∼ N(0, Σ), n^{−1/2} away from it, or broken: (times, S, N + M, 1)."""
    n, size, width = regression.n, len(labels), cell.setting.width
    stream = cell.stream("in the limit", cell.label)

    def normal(*shape):
        return torch.randn(*shape, generator=stream, dtype=torch.float64)

    values, vectors = torch.linalg.eigh(regression.sigma())
    f_0 = (normal(size, len(values)) * values.clamp(min=0).sqrt() @ vectors.mT)[..., None]
    f_0 *= 1.5 if broken == "wide_start" else 1.0
    if width <= 4 or broken == "mixture":
        f_0 = f_0 * normal(size, 1, 1).abs() * 1.5
    flow = regression.flow("theta", torch.zeros(n, 1, dtype=torch.float64))
    start = torch.cat([f_0[:, :n] - labels, torch.zeros_like(f_0[:, n:])], dim=1)
    away = 0.3 * (1 + 0.2 * normal(size, 1, 1)) * (1 if broken == "no_convergence" else width**-0.5)
    exact = cell.kind == "member" or cell.setting.network.nonlinearity == "identity"
    functions = []
    for t in times:
        e = flow.f(t / 3 if broken == "slow" else t, start)
        if broken == "rising":
            e = e * (1 + t / 100)
        noise = 0 if exact else (math.exp(-t / 10) - 1) * away * e[:, :n]
        functions.append(torch.cat([labels + e[:, :n] + noise, f_0[:, n:] + e[:, n:]], dim=1))
    return torch.stack(functions)


def is_flow(cell):
    """Whether a cell trains networks by gradient flow."""
    return cell.kind == "member" or (cell.kind == "network" and cell.setting.learning_rate is None)


def measured(cell, broken):
    """What is measured of a cell whose networks are in the limit, or broken, in the place of trained ones."""
    setting = cell.setting
    if cell.kind == "member":
        regression = limit.Regression.on_few(setting.few, setting.concentration, setting.network)
        labels = regression.target[: regression.n].expand(len(cell.seeds), -1, -1)
        return measure.on_few(setting, in_the_limit(cell, regression, labels, setting.few.times, broken))
    regression = limit.Regression.on_circle(setting.circle, setting.network)
    streams = [cell.stream("noise", setting.variant, setting.width, seed) for seed in cell.seeds]
    labels = measure.noisy_labels(regression, setting.circle.noise, streams)
    times = measure.times_of(setting.training)
    return measure.on_circle(setting, in_the_limit(cell, regression, labels, times, broken), labels)


@pytest.fixture(scope="module")
def datasets():
    """The dataset of networks in the limit, by what breaks them."""
    asked = config("samples.seeds=100")  # enough for intervals that end near an edge
    cells = EXPERIMENT.cells(asked)
    others = {cell.label: EXPERIMENT.compute(cell) for cell in cells if not is_flow(cell)}

    @cache
    def dataset_of(broken=""):
        return EXPERIMENT.join(asked, [measured(c, broken) if is_flow(c) else others[c.label] for c in cells])

    return dataset_of


@pytest.fixture(scope="module")
def dataset(datasets) -> xr.Dataset:
    return datasets()


@pytest.mark.parametrize("name", CLAIM)
def test_claims_hold_in_the_limit_and_reject_their_controls(name, dataset):
    (outcome,) = decide([CLAIM[name]], dataset)
    assert outcome.verdict == "holds", (outcome.statistics, outcome.objections)
    assert set(outcome.controls.values()) == {"fails"}
    assert_as_written(outcome)


@pytest.mark.parametrize(("name", "broken"), BROKEN_BY.items())
def test_claims_on_networks_fail_where_they_are_broken(name, broken, datasets):
    assert own_verdict(CLAIM[name], datasets(broken)) == "fails"


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("ridge", lambda d: d.assign(ridge=d.ridge**0.9)),
        ("infinity", lambda d: d.assign(gap=d.gap + 1e-6)),
        ("null_space", lambda d: d.assign(rest=d.rest * np.linspace(1, 0.9, d.sizes["t"]))),
        ("signal_to_noise", lambda d: d.assign(noise=d.noise * np.linspace(0.5, 1.5, d.sizes["rank"]))),
        ("frequency", lambda d: d.assign(sign_changes=-d.sign_changes)),
    ],
)
def test_claims_on_kernels_fail_where_they_are_broken(name, change, dataset):
    changed = change(dataset)
    assert own_verdict(CLAIM[name], changed.transpose(*dataset.sizes)) == "fails"


@pytest.mark.parametrize(
    ("name", "number", "variable", "power", "inside", "outside"),
    [
        *(("decay", i, "t", -1.0, 0.86, 0.84) for i in range(3)),
        *(("decay", i, "t", -1.0, 1.14, 1.16) for i in range(3)),
        *(("variance", i, "captured", 1.0, 1.06, 1.5) for i in range(4)),
        *(("variance", i, "captured", 1.0, 0.9, 0.63) for i in range(4)),
        ("infinity", 0, "gap", 1.0, 0.99, 1.01),
        ("infinity", 1, "gap", 1.0, 0.99, 1.01),
        ("early_stopping", 0, "t", 1.0, 1.0, 2.2),
        ("early_stopping", 0, "t", 1.0, 1.0, 0.45),
    ],
)
def test_a_statistic_holds_just_inside_its_range_and_fails_just_outside(
    name, number, variable, power, inside, outside, dataset
):
    assert verdict_at(CLAIM[name], dataset, number, inside, variable, power) == "holds"
    assert verdict_at(CLAIM[name], dataset, number, outside, variable, power) == "fails"


def risen(d: xr.Dataset, part: float) -> xr.Dataset:
    norm = d.norm.values.astype(float)
    norm[:, -1] = norm[:, -2] + part * norm[:, 0]
    return d.assign(norm=(d.norm.dims, norm))


def shifted(d: xr.Dataset, part: float) -> xr.Dataset:
    first = d.law_covariance.sel(reference="theta").values[0]
    return d.assign(f=d.f + part * math.sqrt(np.diagonal(first).mean()))


@pytest.mark.parametrize(
    ("name", "number", "change", "inside", "outside"),
    [
        ("width", 0, lambda d, x: tilted(d, "deviation", "width", x), 0.13, 0.35),
        ("null_space", 0, lambda d, x: d.assign(rest=d.rest * np.linspace(1, 1 - x, d.sizes["t"])), 0.9e-5, 1.1e-5),
        ("bounded", 0, risen, 0.9e-3, 1.1e-3),
        ("bounded", 1, lambda d, x: tilted(d, "norm", "width", x), 0.03, 0.13),
        ("gaussian", 0, shifted, 0.02, 0.45),
        ("gaussian", 1, lambda d, x: d.assign(f=x * d.f), 1.01, 1.45),
        ("gaussian", 2, lambda d, x: d.assign(f=x * d.f), 1.03, 1.12),
        ("gaussian", 2, lambda d, x: d.assign(f=x * d.f), 0.96, 0.88),
        ("gaussian", 6, shifted, 0.01, 0.5),
        ("ridge", 0, lambda d, x: d.assign(ridge=d.ridge**x), 1.019, 1.021),
        ("ridge", 0, lambda d, x: d.assign(ridge=d.ridge**x), 0.981, 0.979),
        ("early_stopping", 1, lambda d, x: d.assign(error=d.error**x), 0.75, 0.3),
        ("signal_to_noise", 0, lambda d, x: d.assign(noise=x * d.noise), 1.1, 1.4),
        ("signal_to_noise", 0, lambda d, x: d.assign(noise=x * d.noise), 0.9, 0.6),
    ],
)
def test_changed_data_hold_inside_a_range_and_fail_outside(name, number, change, inside, outside, dataset):
    """As near the edge as so few networks let it be decided."""
    for amount, verdict in ((inside, "holds"), (outside, "fails")):
        moved = change(dataset, amount)
        dims = {key: moved[key].transpose(*dataset[key].dims) for key in dataset.data_vars}
        assert CLAIM[name].check(moved.assign(dims))[number].verdict == verdict


def test_modes_are_eigenfunctions_of_the_limit_kernel():
    asked = config()
    regression = limit.Regression.on_circle(asked.circle, asked.network)
    modes, rates = regression.modes(3), regression.rates("theta", 3)
    operator = regression.kernel("theta")[: regression.n, : regression.n] / regression.n
    flat = modes.flatten(0, 1)[[0, 2, 3, 4, 5]]
    torch.testing.assert_close(flat @ flat.mT / regression.n, torch.eye(5, dtype=torch.float64))
    for k in range(3):
        torch.testing.assert_close(modes[k] @ operator, modes[k] * rates[k], rtol=1e-10, atol=1e-12)


def test_expected_error_is_that_of_many_draws():
    asked = config()
    regression = limit.Regression.on_circle(asked.circle, asked.network)
    stream, n = torch.Generator().manual_seed(1), regression.n
    values, vectors = torch.linalg.eigh(regression.sigma())
    draws = torch.randn(3000, len(regression.x), generator=stream, dtype=torch.float64)
    f_0 = (draws * values.clamp(min=0).sqrt()) @ vectors.mT
    labels = regression.target[:n, 0] + 0.5 * torch.randn(3000, n, generator=stream, dtype=torch.float64)
    flow = LeastSquaresFlow(regression.kernel("theta")[:, :n], torch.zeros(n, 1, dtype=torch.float64))
    start = torch.cat([f_0[:, :n] - labels, torch.zeros_like(f_0[:, n:])], dim=1)[..., None]
    for t in (0.0, 5.0, 200.0):
        f = f_0[:, n:] + flow.f(t, start)[:, n:, 0]
        errors = (f - regression.target[n:, 0]).square().mean(dim=1)
        (expected,) = regression.expected_error("theta", 0.5, [t])
        assert abs(float(errors.mean()) - expected) < 4 * float(errors.std()) / math.sqrt(3000)


def test_networks_are_trained_with_their_own_noise():
    cell = next(c for c in EXPERIMENT.cells(config()) if c.labels == {"variant": "noisy", "width": 64})
    networks = EXPERIMENT.compute(cell)
    assert (np.diff(networks.norm, axis=1) < 0).all()
    assert len(np.unique(networks.norm[:, 0])) == len(cell.seeds)
    np.testing.assert_allclose(networks.component[:, 0].sum("mode") / networks.norm[:, 0] ** 2, 0.5, atol=0.5)
    theta, sigma = (networks.deviation.sel(reference=name) for name in ("theta", "sigma"))
    assert (theta < sigma).all()


def test_another_draw_has_other_networks_noise_samples_and_examples():
    asked = config("circle.noise=1e6", "training.first=1e-4", "training.t=1e-3", "descent.learning_rate=1e-3")
    cells = {(cell.kind, cell.labels.get("variant")): cell for cell in reversed(EXPERIMENT.cells(asked))}

    def both(kind, variant=None, seeds=(0, 1)):
        cell = replace(cells[kind, variant], seeds=seeds)
        return (EXPERIMENT.compute(replace(cell, draw=draw)) for draw in (0, 1))

    first, second = both("member", "narrow")
    assert (first.f != second.f).all()
    first, second = both("network", "clean")
    assert (first.error != second.error).all()
    first, second = both("network", "descent")  # whose errors are the noise, to one part in a million
    norms = np.sort([*first.norm[:, 0], *second.norm[:, 0]])
    assert np.diff(norms).min() > 1e-3 * norms[-1]
    first, second = both("sample")
    for name in ("rate", "signal", "noise", "white"):
        assert (first[name] != second[name]).all()
    assert (first.family_rate != second.family_rate)[..., 1:4].all()
    first, second = both("prediction", seeds=(0,))
    assert (first.example_labels != second.example_labels).all()
    assert (first.ridge != second.ridge).all()
    xr.testing.assert_equal(first.predicted, second.predicted)


def test_assembled_data_are_drawn(dataset):
    figures = plots.figures(dataset)
    assert [len(figure.axes) for figure in figures.values()] == [3, 4, 4]
    assert set(figures) == {claim.figure for claim in EXPERIMENT.claims}
    times = [t for t, _ in EXPERIMENT.metrics(dataset)]
    assert times == dataset.t.values.tolist()


def test_best_time_and_rates_of_known_curves():
    times = np.concatenate([[0], np.geomspace(1, 1000, 40)])
    errors = 1 + (np.log(np.maximum(times, 1e-9)) - math.log(50)) ** 2
    assert statistics.optimal_time(times, errors) == pytest.approx(50, rel=1e-6)
    assert statistics.optimal_time(times[::20], errors[::20]) in times[::20]  # too few points for a parabola
    rates = np.array([0.5, 0.02])
    curves = np.exp(-times[:, None] * rates)
    np.testing.assert_allclose(statistics.fitted_rates(times, curves, 1.1 * rates), rates)
    components = np.stack([2 * curves, 4 * curves])
    np.testing.assert_allclose(statistics.decay(components), curves)


def test_whitened_values_are_standard_normal():
    covariance = np.array([[2.0, 0.9], [0.9, 1.0]])
    f = np.random.default_rng(0).multivariate_normal([1.0, -1.0], covariance, 20_000)
    white = statistics.whitened(f, np.array([1.0, -1.0]), covariance)
    np.testing.assert_allclose(np.cov(white.T), np.eye(2), atol=0.04)
    np.testing.assert_allclose(white.mean(axis=0), 0, atol=0.03)


CIRCLE = {"n_samples": 8, "n_test": 8, "concentration": 1.0, "noise": 0.1, "modes": 2}
FEW = {"angles": [0.0, 1.0], "probes": [2.0], "times": [0.0, 1.0]}
TRAINING = {"first": 1.0, "t": 10.0, "times": 5, "tolerance": 0.1}
SAMPLES = {"seeds": 1, "n_samples": 8, "draws": 1, "length": 1.0, "wave_number": 1.0}


@pytest.mark.parametrize(
    ("kind", "valid", "key", "value"),
    [
        (CircleConfig, CIRCLE, "n_samples", 3),
        (CircleConfig, CIRCLE, "n_test", 9),
        (CircleConfig, CIRCLE, "noise", -1.0),
        (CircleConfig, CIRCLE, "modes", 5),
        (FewConfig, FEW, "angles", []),
        (FewConfig, FEW, "probes", [1.0]),
        (FewConfig, FEW, "times", [1.0, 2.0]),
        (TrainingConfig, TRAINING, "first", 20.0),
        (TrainingConfig, TRAINING, "times", 2),
        (TrainingConfig, TRAINING, "tolerance", 0.0),
        (SamplesConfig, SAMPLES, "draws", 0),
        (SamplesConfig, SAMPLES, "length", 0.0),
    ],
)
def test_bad_values_are_refused(kind, valid, key, value):
    with pytest.raises(ConfigError, match=rf"\.{key}="):
        kind(**valid | {key: value})
