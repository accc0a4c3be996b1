"""The experiment on least squares: predictions against Monte Carlo, claims on networks in the limit or not."""

import math

import numpy as np
import pytest
import torch
import xarray as xr
from scripts_fixtures import script

from replication.experiments import least_squares as experiment
from replication.experiments.least_squares import limit, statistics
from replication.experiments.least_squares.config import CircleConfig, FewConfig, SamplesConfig, TrainingConfig
from replication.limit import sigma_inf, theta_inf
from replication.plots import least_squares as plots
from replication.regression import LeastSquaresFlow
from replication.study.claims import decide
from replication.study.settings import ConfigError

compose = script("compose")
CLAIM = {claim.id.removeprefix("least_squares."): claim for claim in experiment.CLAIMS}
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


def in_the_limit(broken=""):
    """In the place of training: f_t of the limit from an f_0 ∼ N(0, Σ), n^{−1/2} away from it, or broken."""

    def trajectory(network, points, labels, times, tolerance, progress):
        n, size, width = labels.shape[-2], len(network.weights[0].values), network.widths[1]
        setting = {"depth": network.depth, "nonlinearity": network.nonlinearity, "beta": network.beta}
        stream = torch.Generator().manual_seed(int(1e6 * float(network.weights[0].values.flatten()[0].abs())))

        def normal(*shape):
            return torch.randn(*shape, generator=stream, dtype=torch.float64)

        values, vectors = torch.linalg.eigh(sigma_inf(points, **setting))
        f_0 = (normal(size, len(points)) * values.clamp(min=0).sqrt() @ vectors.mT)[..., None]
        f_0 *= 1.5 if broken == "wide_start" else 1.0
        if width <= 4 or broken == "mixture":
            f_0 = f_0 * normal(size, 1, 1).abs() * 1.5
        flow = LeastSquaresFlow(theta_inf(points, **setting)[:, :n], torch.zeros(n, 1, dtype=torch.float64))
        start = torch.cat([f_0[:, :n] - labels, torch.zeros_like(f_0[:, n:])], dim=1)
        away = 0.3 * (1 + 0.2 * normal(size, 1, 1)) * (1 if broken == "no_convergence" else width**-0.5)
        found = []
        for t in times:
            e = flow.f(t / 3 if broken == "slow" else t, start)
            if broken == "rising":
                e = e * (1 + t / 100)
            f = torch.cat([labels + e[:, :n], f_0[:, n:] + e[:, n:]], dim=1)
            linear = network.nonlinearity.name == "identity"
            noise = 0 if linear or n < 6 else (math.exp(-t / 10) - 1) * away * e[:, :n]
            found.append(torch.cat([f[:, :n] + noise, f[:, n:]], dim=1))
        return torch.stack(found)

    return trajectory


def dataset_of(broken=""):
    asked = config()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiment, "_trajectory", in_the_limit(broken))
        return experiment.assemble(asked, [(cell, experiment.compute(cell)) for cell in experiment.cells(asked)])


@pytest.fixture(scope="module")
def dataset() -> xr.Dataset:
    return dataset_of()


@pytest.mark.parametrize("name", CLAIM)
def test_claims_hold_in_the_limit_and_reject_their_controls(name, dataset):
    (outcome,) = decide([CLAIM[name]], dataset)
    assert outcome.verdict == "holds", outcome.statistics
    assert set(outcome.controls.values()) == {"fails"}


@pytest.mark.parametrize(("name", "broken"), BROKEN_BY.items())
def test_claims_on_networks_fail_where_they_are_broken(name, broken, broken_datasets):
    (outcome,) = decide([CLAIM[name]], broken_datasets(broken))
    assert outcome.verdict == "fails", outcome.statistics


@pytest.fixture(scope="module")
def broken_datasets():
    found = {}

    def get(broken):
        if broken not in found:
            found[broken] = dataset_of(broken)
        return found[broken]

    return get


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
    (outcome,) = decide([CLAIM[name]], changed.transpose(*dataset.sizes))
    assert outcome.verdict == "fails"


def test_modes_are_eigenfunctions_of_the_limit_kernel():
    asked = config()
    problem = limit.Problem.on_circle(asked.circle, asked.network)
    modes, rates = problem.modes(3), problem.rates("theta", 3)
    operator = problem.kernel("theta")[: problem.n, : problem.n] / problem.n
    flat = modes.flatten(0, 1)[[0, 2, 3, 4, 5]]
    torch.testing.assert_close(flat @ flat.mT / problem.n, torch.eye(5, dtype=torch.float64))
    for k in range(3):
        torch.testing.assert_close(modes[k] @ operator, modes[k] * rates[k], rtol=1e-10, atol=1e-12)


def test_expected_error_is_that_of_many_draws():
    asked = config()
    problem = limit.Problem.on_circle(asked.circle, asked.network)
    stream, n = torch.Generator().manual_seed(1), problem.n
    values, vectors = torch.linalg.eigh(problem.sigma())
    draws = torch.randn(3000, len(problem.x), generator=stream, dtype=torch.float64)
    f_0 = (draws * values.clamp(min=0).sqrt()) @ vectors.mT
    labels = problem.target[:n, 0] + 0.5 * torch.randn(3000, n, generator=stream, dtype=torch.float64)
    flow = LeastSquaresFlow(problem.kernel("theta")[:, :n], torch.zeros(n, 1, dtype=torch.float64))
    start = torch.cat([f_0[:, :n] - labels, torch.zeros_like(f_0[:, n:])], dim=1)[..., None]
    for t in (0.0, 5.0, 200.0):
        f = f_0[:, n:] + flow.f(t, start)[:, n:, 0]
        errors = (f - problem.target[n:, 0]).square().mean(dim=1)
        (expected,) = problem.expected_error("theta", 0.5, [t])
        assert abs(float(errors.mean()) - expected) < 4 * float(errors.std()) / math.sqrt(3000)


def test_networks_are_trained_with_their_own_noise_whatever_the_block():
    asked = config()
    cell = next(c for c in experiment.cells(asked) if c.variant == "noisy" and c.width == 64)
    found = experiment.compute(cell)
    assert (np.diff(found.norm, axis=1) < 0).all()
    assert len(np.unique(found.norm[:, 0])) == len(cell.seeds)
    np.testing.assert_allclose(found.component[:, 0].sum("mode") / found.norm[:, 0] ** 2, 0.5, atol=0.5)
    assert (found.deviation[:, 0] < found.deviation[:, 1]).all()  # nearer to the flow of Θ_∞ than to that of Σ


def test_assembled_data_are_drawn(dataset):
    found = plots.figures(dataset)
    assert [len(figure.axes) for figure in found.values()] == [3, 4, 4]
    assert set(found) == {claim.figure for claim in experiment.CLAIMS}
    times = [t for t, _ in experiment.metrics(dataset)]
    assert times == dataset.t.values.tolist()


def test_best_time_and_rates_of_known_curves():
    times = np.concatenate([[0], np.geomspace(1, 1000, 40)])
    errors = 1 + (np.log(np.maximum(times, 1e-9)) - math.log(50)) ** 2
    assert statistics.optimal_time(times, errors) == pytest.approx(50, rel=1e-6)
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
