"""The inference of depth, scaling and nonlinearity: its statistics on known laws, its claims on made-up eigenvalues."""

import math

import numpy as np
import pytest
import torch
import xarray as xr
from criteria_fixtures import assert_as_written, own_verdict
from scipy import stats
from scripts_fixtures import script

from replication.experiments import depth_inference as experiment
from replication.experiments.depth_inference import statistics
from replication.experiments.depth_inference.nonlinearity import NONLINEARITIES
from replication.gaussian import Directions, GaussianPairs
from replication.plots import depth_inference as plots
from replication.study.claims import decide

compose = script("compose")
EXPERIMENT = experiment.EXPERIMENT
CLAIM = {claim.id.removeprefix("depth_inference."): claim for claim in EXPERIMENT.claims}
DEPTHS, SCALINGS, SIGMAS, WIDTHS = [4, 5, 6], ["unit_interval", "centred"], ["relu", "shifted_relu"], [150, 600]
PAPER = np.log(statistics.OBSERVED)
DEEPER, OTHERWISE = np.array([0.1, 0.5, 0.5]), np.array([-0.3, 0.6, 0.2])
"""From L + 1 to L, and from one scaling to the other, in ``made_up``."""
THIRD = np.array([0, 0, 0.1])


def made_up(observed=PAPER, width_exponent=-0.5, bias_exponent=-1.0, stopped=0.0, held_out_shift=0.0) -> xr.Dataset:
    """Eigenvalues about those of the paper at L = 5, [0, 1], ReLU, the third above it, and others elsewhere."""
    rng = np.random.default_rng(0)
    mean, typical = np.zeros((3, 2, 2, 3)), PAPER + np.array([0, 0, 0.05])
    for (i, k, m), _ in np.ndenumerate(mean[..., 0]):
        mean[i, k, m] = typical + np.array([-0.1, -0.5, -0.5]) * (i - 1) + np.array([-0.3, 0.6, 0.2]) * k + 1.5 * m
    digits = np.array([0.01, 0.07, 0.04])

    def limits(size, where):
        return mean[where] + digits * rng.standard_normal((size, *mean[where].shape))

    def deviations(size, width, shape):
        spread = 0.03 * (width / 10000) ** width_exponent * rng.standard_normal((size, *shape))
        return spread + 0.005 * (width / 10000) ** bias_exponent

    reference = (slice(None), 0, 0)
    limit, reference_limit, held_limit = limits(40, ...), limits(60, reference), limits(60, reference)
    network = limit[:30] + deviations(30, 300, mean.shape)
    reference_network = np.stack([reference_limit + deviations(60, n, (3, 3)) for n in WIDTHS], axis=1)
    held_out = held_limit + deviations(60, 1500, (3, 3)) + held_out_shift
    hypothesis = ("depth", "scaling", "nonlinearity", "component")
    return xr.Dataset(
        {
            "limit": (("batch", *hypothesis), np.exp(limit)),
            "network": (("seed", *hypothesis), np.exp(network)),
            "reference_limit": (("reference_batch", "depth", "component"), np.exp(reference_limit)),
            "reference_network": (("reference_seed", "width", "depth", "component"), np.exp(reference_network)),
            "stopped": (("reference_batch", "component"), np.exp(reference_limit[:, 1] + stopped)),
            "held_out": (("sample", "depth", "component"), np.exp(held_out)),
            "held_out_limit": (("sample", "depth", "component"), np.exp(held_limit)),
            "observed": ("component", np.exp(observed)),
            "rounding": ("component", list(statistics.ROUNDING)),
        },
        coords={"depth": DEPTHS, "scaling": SCALINGS, "nonlinearity": SIGMAS, "width": WIDTHS},
        attrs={
            "reference": {"depth": 5, "scaling": "unit_interval", "nonlinearity": "relu"},
            "paper_width": 10000,
            "network_width": 300,
            "held_out_width": 1500,
            "n_samples": 512,
            "source_size": 5000,
            "power_steps": 22,
        },
    )


@pytest.mark.parametrize("name", CLAIM)
def test_claims_hold_where_they_should_and_reject_their_controls(name):
    (outcome,) = decide([CLAIM[name]], made_up())
    assert outcome.verdict == "holds", outcome.statistics
    assert set(outcome.controls.values()) == {"fails"}
    assert_as_written(outcome)


@pytest.mark.parametrize(
    ("name", "broken"),
    [
        ("depth", {"observed": PAPER + np.array([0.1, 0.5, 0.5])}),
        ("scaling", {"observed": PAPER + np.array([-0.3, 0.6, 0.2])}),
        ("nonlinearity", {"observed": PAPER + 1.5}),
        ("compatible", {"observed": PAPER + 0.4}),
        ("third_eigenvalue", {"observed": PAPER + np.array([0, 0, 0.4])}),
        ("third_eigenvalue", {"stopped": 0.1}),
        ("recovers", {"held_out_shift": np.array([-0.1, -0.5, -0.5])}),
        ("width", {"width_exponent": 0.0}),
    ],
)
def test_claims_fail_where_they_are_broken(name, broken):
    assert own_verdict(CLAIM[name], made_up(**broken)) == "fails"


@pytest.mark.parametrize(
    ("name", "number", "inside", "outside"),
    [
        ("depth", 0, {"observed": PAPER - 0.2 * DEEPER}, {"observed": PAPER - 0.55 * DEEPER}),
        ("depth", 1, {"observed": PAPER + 0.25 * DEEPER}, {"observed": PAPER + 0.65 * DEEPER}),
        ("scaling", 0, {"observed": PAPER + 0.2 * OTHERWISE}, {"observed": PAPER + 0.65 * OTHERWISE}),
        ("nonlinearity", 0, {"observed": PAPER + 0.4}, {"observed": PAPER + 0.95}),
        ("compatible", 0, {"observed": PAPER + 0.1}, {"observed": PAPER + 0.2}),
        ("third_eigenvalue", 0, {"observed": PAPER + THIRD}, {"observed": PAPER + 2 * THIRD}),
        ("third_eigenvalue", 0, {"observed": PAPER}, {"observed": PAPER - 1.6 * THIRD}),
        ("third_eigenvalue", 2, {"stopped": 0.006}, {"stopped": 0.03}),
        ("third_eigenvalue", 2, {"stopped": -0.006}, {"stopped": -0.03}),
        ("recovers", 1, {"held_out_shift": 0.12}, {"held_out_shift": 0.2}),
        ("recovers", 3, {"held_out_shift": 0.07}, {"held_out_shift": 0.12}),
        ("width", 0, {"width_exponent": -0.57}, {"width_exponent": -0.73}),
        ("width", 0, {"width_exponent": -0.43}, {"width_exponent": -0.27}),
        ("width", 1, {"bias_exponent": -1.2}, {"bias_exponent": -1.5}),
    ],
)
def test_a_statistic_holds_inside_its_range_and_fails_outside(name, number, inside, outside):
    """As near the edge as so few networks let it be decided."""
    for data, verdict in ((inside, "holds"), (outside, "fails")):
        assert CLAIM[name].check(made_up(**data))[number].verdict == verdict


def test_finite_width_law_recovers_bias_and_covariance():
    rng, widths = np.random.default_rng(1), np.array([100, 400])
    covariance = np.array([[2.0, 0.5, 0.0], [0.5, 1.0, 0.3], [0.0, 0.3, 0.5]])
    noise = rng.multivariate_normal(np.zeros(3), covariance, (4000, 2)) / np.sqrt(widths)[:, None]
    bias, spread = statistics.finite_width(noise + np.array([1.0, -2.0, 0.0]) / widths[:, None], widths)
    np.testing.assert_allclose(bias, [1.0, -2.0, 0.0], atol=5 * math.sqrt(2 / 4000 / (1 / widths).sum()))
    np.testing.assert_allclose(spread, covariance, atol=0.15)


def test_predictive_law_has_the_tails_it_says():
    """d² of a new draw, with mean and covariance estimated from m draws, has the quantiles of Hotelling."""
    rng, m, exceeded = np.random.default_rng(2), 12, []
    for _ in range(4000):
        sample = rng.standard_normal((m + 1, 3))
        law = statistics.Law(sample[:m].mean(axis=0), (1 + 1 / m) * statistics.covariances(sample[:m]), m)
        exceeded.append(law.distance2(sample[m]) > law.critical(0.9))
        assert (law.distance2(sample[m]) > law.critical(0.9)) == (law.p_value(sample[m]) < 0.1)
    assert abs(np.mean(exceeded) - 0.1) < 4.5 * math.sqrt(0.09 / 4000)


def test_law_covers_batches_of_new_digits():
    """Batches of half a source of digits; a new batch of other digits is as far from their mean as the law says."""
    rng, source, n, squares = np.random.default_rng(3), 200, 100, []
    for _ in range(300):
        digits = rng.standard_normal((source, 3))
        batches = np.stack([digits[rng.permutation(source)[:n]].mean(axis=0) for _ in range(40)])
        law = statistics.law(batches, np.zeros((40, 1, 3)), np.array([100]), 1e9, sampled=n / source)
        squares.append(np.square(rng.standard_normal((n, 3)).mean(axis=0) - law.mean) / np.diag(law.covariance))
    assert np.mean(squares) == pytest.approx(1, abs=0.2)
    rounded = statistics.law(batches, np.zeros((40, 1, 3)), np.array([100]), 1e9, np.full(3, 0.3), sampled=n / source)
    np.testing.assert_allclose(np.diag(rounded.covariance - law.covariance), 0.03)


def test_density_of_many_networks_is_the_normal_one():
    law = statistics.Law(np.zeros(3), np.diag([1.0, 4.0, 9.0]), 10**7)
    x = np.array([0.3, -1.0, 2.0])
    normal = stats.multivariate_normal(law.mean, law.covariance)
    assert law.log_density(x) - law.log_density(0 * x) == pytest.approx(normal.logpdf(x) - normal.logpdf(0 * x), 1e-5)


def test_odds_are_of_one_value_against_its_best_rival():
    densities = np.log(np.array([[1.0, 2.0], [8.0, 4.0], [3.0, 1.0]]))
    assert statistics.log_odds(densities, 0, 1) == pytest.approx(math.log(12 / 4))
    assert statistics.log_odds(densities, 1, 0) == pytest.approx(math.log(12 / 7))


def test_shifted_relu_is_that_of_the_scripts_and_its_expectations_those_of_sampling():
    sigma = NONLINEARITIES["shifted_relu"]
    x = torch.linspace(-2, 2, 9, dtype=torch.float64)
    torch.testing.assert_close(sigma(x), 1.4 * (x.relu() - 0.3 + 0.01 * x))
    inputs = torch.tensor([[1.0, 0.5], [-0.3, 0.8]], dtype=torch.float64)
    values, slopes = sigma.expectations(
        GaussianPairs.from_inputs(Directions.of(inputs, 0.1), Directions.of(inputs, 0.1))
    )
    covariance = inputs @ inputs.T / 2 + 0.01
    draws = torch.randn(10**6, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    draws = draws @ torch.linalg.cholesky(covariance).T
    torch.testing.assert_close(sigma(draws).T @ sigma(draws) / 10**6, values, rtol=0, atol=0.01)
    derivative = sigma.derivative(draws)
    torch.testing.assert_close(derivative.T @ derivative / 10**6, slopes, rtol=0, atol=0.01)


def test_early_stopped_power_iteration_tends_to_the_eigenvalues():
    matrix = torch.diag(torch.tensor([3.0, 2.0, 1.0, 0.1], dtype=torch.float64))
    eigenvalues = experiment.stopped_power_iteration(matrix, 200, torch.Generator().manual_seed(0))
    np.testing.assert_allclose(eigenvalues, [3, 2, 1], rtol=1e-9)
    stopped = experiment.stopped_power_iteration(matrix, 2, torch.Generator().manual_seed(0))
    assert stopped[0] < 3


def test_cells_measure_limits_and_networks_of_the_same_batches():
    overrides = ("n_samples=16", "depths=[2,3,4]", "reference.depth=3", "batches=10", "reference_batches=10")
    overrides += ("networks={width: 8, seeds: 5}", "reference_networks={widths: [10,200], seeds: 5}")
    overrides += ("held_out={width: 40, seeds: 5}",)
    _, config = compose.typed(compose.preset("ci/depth_inference", *overrides))
    dataset = EXPERIMENT.join(config, [EXPERIMENT.compute(cell) for cell in EXPERIMENT.cells(config)])
    wide = np.log(dataset.reference_network.sel(width=200) / dataset.reference_limit[:5].values)
    narrow = np.log(dataset.reference_network.sel(width=10) / dataset.reference_limit[:5].values)
    assert float(np.square(wide).mean()) < 0.2 * float(np.square(narrow).mean())
    assert {name for _, values in EXPERIMENT.metrics(dataset) for name in values} >= {"sd/ln lambda_1"}


def test_another_draw_has_other_digits_and_other_networks():
    tiny = ("n_samples=16", "depths=[2,3,4]", "reference.depth=3", "networks={width: 8, seeds: 5}")
    datasets = []
    for draw in (0, 1):
        _, config = compose.typed(compose.preset("ci/depth_inference", *tiny, f"draw={draw}"))
        chosen = {cell.kind: cell for cell in EXPERIMENT.cells(config)}
        datasets.append([EXPERIMENT.compute(chosen[kind]).eigenvalues.values for kind in ("limit", "network")])
    for first, second in zip(*datasets, strict=True):
        assert not np.isclose(first, second, rtol=1e-6).any()


def test_made_up_data_are_drawn():
    assert [len(figure.axes) for figure in plots.figures(made_up()).values()] == [3, 3, 3]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("depths", "[1]"),
        ("depths", "[4,5]"),
        ("scalings", "[rotated]"),
        ("scalings", "[unit_interval]"),
        ("nonlinearities", "[relu]"),
        ("nonlinearities", "[relu,relu]"),
        ("reference.depth", "9"),
        ("n_samples", "5"),
        ("batches", "2"),
        ("networks.seeds", "2"),
        ("power_steps", "0"),
        ("dtype", "float16"),
    ],
)
def test_bad_values_are_refused(key, value):
    with pytest.raises(compose.UserError, match=f"^{key}="):
        compose.typed(compose.preset("ci/depth_inference", f"{key}={value}"))
