"""Figure 2: its control variates against exact linear networks, its checks on made-up networks, its cells."""

import math

import numpy as np
import pytest
import torch
import xarray as xr
from criteria_fixtures import assert_as_written, own_verdict
from scripts_fixtures import cell_of

from replication.experiments import fig2
from replication.plots import fig2 as plots
from replication.study.claims import Outcome, decide
from replication.study.experiment import select
from replication.study.settings import ConfigError, NetworkConfig, SeedsAtWidths

CLAIM = {claim.id.removeprefix("fig2."): claim for claim in fig2.EXPERIMENT.claims}
NETWORK = NetworkConfig(depth=3, nonlinearity="relu", beta=0.1, dtype="float64")
DATA = fig2.DataConfig(angles=[-2.0, 0.5], targets=[-0.4, 0.3])
TRAINING = fig2.TrainingConfig(solver="gradient_flow", t=20.0, tolerance=1e-3, learning_rate=1.0)
INTERVALS = 16


def measured(variant="main", width=20, seeds=(0, 1), training=TRAINING):
    own = training if variant == "main" else None
    setting = fig2.Setting(width=width, network=NETWORK, data=DATA, training=own, t=training.t, intervals=INTERVALS)
    kind = "estimate" if variant == "estimate" else "network"
    return fig2.EXPERIMENT.compute(cell_of(fig2.EXPERIMENT, setting, seeds, kind, variant=variant, width=width))


def config(**changes):
    base = {
        "experiment": "fig2",
        "preset": "x",
        "draw": 0,
        "claims": None,
        "undecided": {},
        "results": "r",
        "device": "cpu",
        "threads": 1,
        "workers": 1,
        "quiet": False,
        "tracking": None,
        "network": NETWORK,
        "data": DATA,
        "training": TRAINING,
        "widths": [16, 64],
        "seeds": [12, 6],
        "drawn": 3,
        "initial": SeedsAtWidths(widths=[32], seeds=8),
        "estimate": SeedsAtWidths(widths=[400], seeds=5),
        "narrow_estimate": SeedsAtWidths(widths=[4], seeds=5),
        "intervals": INTERVALS,
    }
    return fig2.Config(**base | changes)


def made_up(bias=0.0, scale=1.0, cubic=0.0, exponent=-1.0, on_data=1e-4, early=1.0, estimate=0.05) -> xr.Dataset:
    """Networks in which, by default, the paper is right: f differs from its linearization by the given amounts."""
    rng = np.random.default_rng(0)
    problem = fig2.Problem(NETWORK, DATA, INTERVALS)
    flow, sigma = problem.flow(), problem.sigma()
    law = flow.law(math.inf, sigma)
    mean, sd = problem.on_circle(law)
    decay = flow.propagator(10.0)[:2, :2].numpy()
    parts = []
    for variant, width, seeds in (("main", 50, 400), ("main", 1000, 400), ("initial", 250, 400)):
        relative = math.sqrt(0.2 * (width / 50) ** exponent)
        variance = sd**2 * (1 + relative * rng.choice([-1.0, 1.0], (seeds, 1)))
        z = rng.standard_normal((seeds, 1))
        linear = mean + np.sqrt(variance) * z
        skewed = cubic * (z**2 - 1) * sd
        start = 0.3 * rng.standard_normal((seeds, 2))
        left = np.stack([start, early * start @ decay.T, on_data * rng.standard_normal((seeds, 2))], axis=1)
        parts.append(
            xr.Dataset(
                {
                    "f": (("network", "angle"), mean + bias + scale * (linear - mean) + skewed),
                    "linear": (("network", "angle"), linear),
                    "variance": (("network", "angle"), variance),
                    "at_data": (("network", "stage", "datum"), problem.target[:, 0].numpy() + left),
                    "variant": ("network", [variant] * seeds),
                    "width": ("network", [width] * seeds),
                }
            )
        )
    dataset = xr.concat(parts, dim="network")
    times = [0.0, 10.0, 1000.0]
    stages = [problem.on_circle(flow.law(t, sigma)) for t in times]
    laws = [
        (mean, sd),
        stages[0],
        problem.on_circle(problem.posterior()),
        problem.on_circle(problem.flow(1).law(math.inf, problem.sigma(1))),
    ]
    for name, pairs in (("law", laws), ("stage", stages)):
        dataset[f"{name}_mean"] = ((name, "angle"), np.stack([pair[0] for pair in pairs]))
        dataset[f"{name}_sd"] = ((name, "angle"), np.stack([pair[1] for pair in pairs]))
    errors = np.r_[np.full(10, estimate), np.full(10, 1.0)] * rng.uniform(0.8, 1.2, 20)
    dataset["estimate_mean"] = (("estimate", "angle"), mean + errors[:, None] * sd.max() * np.ones_like(mean))
    dataset["estimate_sd"] = (("estimate", "angle"), np.tile(sd, (20, 1)))
    dataset["estimate_width"] = ("estimate", [10000] * 10 + [50] * 10)
    deeper = problem.flow(1).propagator(10.0)[:2, :2].numpy()
    dataset["decay"] = (("law", "datum", "start"), np.stack([decay, np.eye(2), np.full((2, 2), math.nan), deeper]))
    dataset["extension"] = (("angle", "datum"), -flow.propagator(math.inf)[2:, :2].numpy())
    dataset["target"] = ("datum", problem.target[:, 0].numpy())
    return dataset.assign_coords(
        angle=problem.angles.numpy(),
        datum=DATA.angles,
        law=["limit", "prior", "posterior", "deeper"],
        stage=times,
    ).assign_attrs(widths=[50, 1000], drawn=2, initial=[250], estimate=10000, narrow_estimate=50, network={"depth": 3})


@pytest.mark.parametrize("name", CLAIM)
def test_claims_hold_where_they_should(name):
    outcome = Outcome(CLAIM[name], CLAIM[name].check(made_up()))
    assert {statistic.verdict for statistic in outcome.statistics} == {"holds"}
    assert_as_written(outcome)


@pytest.mark.parametrize("name", sorted(CLAIM.keys() - {"mean", "spread", "coverage", "narrow", "vanishes"}))
def test_controls_are_rejected(name):
    # The laws of depth 3 on two points differ less than those of the experiment, which test_ci_presets.py checks.
    (outcome,) = decide([CLAIM[name]], made_up())
    assert set(outcome.controls.values()) == {"fails"}


@pytest.mark.parametrize(
    ("name", "broken"),
    [
        ("mean", {"bias": 0.1}),
        ("spread", {"scale": 1.2}),
        ("spread", {"scale": 0.8}),
        ("coverage", {"scale": 1.6}),
        ("coverage", {"bias": 0.3}),
        ("gaussian", {"cubic": 0.5}),
        ("gaussian", {"exponent": -0.5}),
        ("vanishes", {"on_data": 0.1}),
        ("vanishes", {"early": 1.14}),
        ("vanishes", {"early": 0.87}),
        ("converged", {"on_data": 0.1}),
        ("estimate", {"estimate": 0.5}),
        ("narrow", {"scale": 1.25}),
        ("narrow", {"scale": 0.85}),
        ("gaussian", {"cubic": 0.12}),
    ],
)
def test_claims_fail_where_they_are_broken(name, broken):
    assert own_verdict(CLAIM[name], made_up(**broken)) == "fails"


@pytest.mark.parametrize(
    ("name", "broken"),
    [
        ("mean", {"bias": 0.025}),
        ("spread", {"scale": 1.06}),
        ("spread", {"scale": 0.94}),
        ("gaussian", {"cubic": 0.02}),
        ("vanishes", {"on_data": 0.002}),
        ("vanishes", {"early": 1.08}),
        ("vanishes", {"early": 0.92}),
        ("converged", {"on_data": 0.002}),
        ("estimate", {"estimate": 0.12}),
    ],
)
def test_claims_hold_just_inside_their_bands(name, broken):
    assert own_verdict(CLAIM[name], made_up(**broken)) == "holds"


def test_linearization_has_the_law_that_is_ascribed_to_it():
    """Given the hidden layers, A f_0 + m is normal with the network's variance: redraw one's last layer."""
    network = NETWORK.draw(2, 20, generator=torch.Generator().manual_seed(3))
    problem = fig2.Problem(NETWORK, DATA, INTERVALS)
    stream, drawn = torch.Generator().manual_seed(4), []
    for _ in range(4000):
        network.weights[-1].values.normal_(generator=stream)
        network.biases[-1].normal_(generator=stream)
        dataset = fig2.train(problem, network, None)
        drawn.append((dataset.linear.values.astype(float), dataset.variance.values.astype(float)))
    values = np.stack([item[0] for item in drawn])
    variance = drawn[0][1]
    mean, _ = problem.on_circle(problem.flow().law(math.inf, problem.sigma()))
    error = np.sqrt(variance / len(values))
    assert (np.abs(values.mean(axis=0) - mean) < 4.5 * error + 1e-12).all()
    assert np.abs(values.var(axis=0) / variance - 1).max() < 4.5 * math.sqrt(2 / len(values))


def test_a_wide_network_ends_near_its_linearization_and_on_the_data():
    training = fig2.TrainingConfig(solver="gradient_flow", t=500.0, tolerance=1e-3, learning_rate=1.0)
    dataset = measured(width=2000, seeds=(0,), training=training)
    assert np.abs(dataset.f - dataset.linear).max() < 0.03
    np.testing.assert_allclose(dataset.at_data.values[0, -1], DATA.targets, atol=1e-3)
    assert np.abs(dataset.at_data.values[0, 0] - DATA.targets).max() > 0.05


def test_descent_ends_where_the_flow_does():
    descent = fig2.TrainingConfig(solver="gradient_descent", t=20.0, tolerance=1e-3, learning_rate=0.5)
    flow, steps = measured(width=200), measured(width=200, training=descent)
    assert np.abs(flow.f - steps.f).max() < 0.02
    np.testing.assert_array_equal(flow.linear, steps.linear)


def test_networks_are_the_same_in_any_block():
    both, second = measured(width=200), measured(width=200, seeds=(1,))
    xr.testing.assert_identical(both.isel(network=[1]), second)
    batched, alone = measured(width=20), measured(width=20, seeds=(1,))
    np.testing.assert_allclose(batched.linear[1], alone.linear[0], rtol=1e-5, atol=1e-6)


def test_wide_networks_estimate_the_limit():
    problem = fig2.Problem(NETWORK, DATA, INTERVALS)
    mean, sd = problem.on_circle(problem.flow().law(math.inf, problem.sigma()))
    estimates = measured("estimate", 3000, (0, 1, 2))
    assert np.abs(estimates.estimate_mean.mean("estimate") - mean).max() < 0.1 * sd.max()
    assert np.abs(estimates.estimate_sd.mean("estimate") - sd).max() < 0.1 * sd.max()


def test_assembled_data_have_every_network_once_and_are_drawn():
    asked = config()
    experiment = fig2.EXPERIMENT
    dataset = experiment.join(asked, [experiment.compute(cell) for cell in experiment.cells(asked)])
    assert dataset.sizes["network"] == 12 + 6 + 8
    assert dataset.sizes["estimate"] == 10
    assert [len(select(dataset, variant="main", width=width).seed) for width in (16, 64)] == [12, 6]
    assert dict(experiment.metrics(dataset))[20.0].keys() == {"cost/n=16", "cost/n=64"}
    decide(experiment.claims, dataset)
    drawn = plots.figures(dataset)
    (axes,) = drawn["fig2"].axes
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels[:2] == ["$n = 16$", "$n = 64$"]
    assert len(drawn["fig2_statistics"].axes) == 3
    np.testing.assert_array_equal(axes.lines[-1].get_xydata(), np.column_stack([DATA.angles, DATA.targets]))


@pytest.mark.parametrize(
    ("make", "key"),
    [
        (lambda: fig2.DataConfig(angles=[0.0, 0.0], targets=[1.0, 1.0]), "data.angles"),
        (lambda: fig2.DataConfig(angles=[], targets=[]), "data.angles"),
        (lambda: fig2.DataConfig(angles=[4.0], targets=[1.0]), "data.angles"),
        (lambda: fig2.DataConfig(angles=[0.0, 1.0], targets=[1.0]), "data.targets"),
        (lambda: fig2.DataConfig(angles=[0.0], targets=[math.nan]), "data.targets"),
        (lambda: fig2.TrainingConfig(solver="adam", t=1, tolerance=1, learning_rate=1), "training.solver"),
        (lambda: fig2.TrainingConfig(solver="gradient_flow", t=0, tolerance=1, learning_rate=1), "training.t"),
        (lambda: fig2.TrainingConfig(solver="gradient_descent", t=1, tolerance=1, learning_rate=0.3), "training.t"),
        (lambda: config(seeds=[3]), "seeds"),
        (lambda: config(drawn=0), "drawn"),
        (lambda: config(intervals=7), "intervals"),
        (lambda: config(initial=SeedsAtWidths(widths=[0], seeds=1)), "initial.widths"),
        (lambda: config(estimate=SeedsAtWidths(widths=[9], seeds=0)), "estimate.seeds"),
    ],
)
def test_bad_values_are_refused(make, key):
    with pytest.raises(ConfigError, match=f"^{key}="):
        make()


def test_another_draw_has_other_networks_and_the_same_limit():
    first, second = (
        fig2.EXPERIMENT.join(asked, [fig2.EXPERIMENT.compute(cell) for cell in fig2.EXPERIMENT.cells(asked)])
        for asked in (config(draw=draw, widths=[16], seeds=[6]) for draw in (0, 1))
    )
    for name in ("f", "linear", "estimate_mean"):
        assert not np.isclose(first[name], second[name], rtol=1e-5, atol=0).all(axis=1).any()
    xr.testing.assert_identical(first.law_mean, second.law_mean)
