"""The experiment on random functions: its expected deviation against Monte Carlo, its checks on made-up models."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr
from criteria_fixtures import assert_as_written
from scripts_fixtures import cell_of, script

from replication.costs import LeastSquares
from replication.experiments import random_functions as experiment
from replication.kernels import KernelOnData
from replication.plots import random_functions as plots
from replication.random_functions import tabulated
from replication.randomness import generator
from replication.study.claims import decide
from replication.study.settings import ConfigError, NetworkConfig

compose = script("compose")
EXPERIMENT = experiment.EXPERIMENT
NUMBERS = [10, 100, 1000, 10000]
CLAIM = {claim.id.removeprefix("random_functions."): claim for claim in EXPERIMENT.claims}
SETTING = experiment.Setting(
    n_samples=3,
    intervals=4,
    learning_rate=1.0,
    steps=7,
    length=0.7,
    network=NetworkConfig(depth=3, nonlinearity="relu", beta=0.1, dtype="float64"),
)
POINTS = experiment.points(SETTING, generator("random_functions", "data"))


def cell(kernel="ntk", number=50, seeds=(0, 1), draw=0):
    setting = experiment.Models(kernel=kernel, number=number, setting=SETTING)
    return replace(cell_of(EXPERIMENT, setting, seeds, kind="model"), draw=draw)


def prediction(kernel, draw=0):
    setting = experiment.Models(kernel=kernel, number=None, setting=SETTING)
    return EXPERIMENT.compute(replace(cell_of(EXPERIMENT, setting, kind="prediction"), draw=draw)).isel(prediction=0)


def kernel_matrix(name):
    """K on the data and between them."""
    return experiment.kernels(name, SETTING, POINTS)[0]


def small(draw=0):
    """A config with few models, and its dataset."""
    changes = ["numbers=[200,20]", "seeds=3", "setting.n_samples=3", "setting.intervals=4", f"draw={draw}"]
    _, config = compose.typed(compose.preset("ci/random_functions", *changes))
    return config, EXPERIMENT.join(config, [EXPERIMENT.compute(each) for each in EXPERIMENT.cells(config)])


def models(exponent=-0.5, constant=1.0, trajectory=-0.5, gap=1e-15) -> xr.Dataset:
    """An assembled dataset in which, by default, the paper is right."""
    rng = np.random.default_rng(0)
    parts = []
    for kernel in experiment.KERNELS:
        for number in NUMBERS:
            noise = rng.normal(1, 0.1, (40, 1))
            deviation = 3 * constant * 10 ** (-0.5 - exponent) * number**exponent * noise
            distance = 0.5 * number**trajectory * noise
            tangent, other = np.full((40, 1), gap), np.full((40, 1), 1.0)
            parts.append(
                xr.Dataset(
                    {
                        "deviation": (("model", "reference"), np.hstack([0 * tangent, deviation, deviation + other])),
                        "on_data": (("model", "reference"), np.hstack([tangent, distance, distance + other])),
                        "off_data": (("model", "reference"), np.hstack([tangent, distance, distance + other])),
                        "f": (("model", "angle"), np.zeros((40, 5), dtype=np.float32)),
                        "kernel": ("model", [kernel] * 40),
                        "number": ("model", [number] * 40),
                    },
                    coords={"reference": ["tangent", "kernel", "other"], "angle": np.linspace(-3, 3, 5)},
                )
            )
    dataset = xr.concat(parts, dim="model")
    dataset["limit"] = (("name", "angle"), np.ones((2, 5)))
    dataset["expected"] = ("name", [3.0, 3.0])
    attributes = {"numbers": NUMBERS, "setting": {"steps": 10}, "data_angles": [0.0, 1.0]}
    return dataset.assign_coords(name=list(experiment.KERNELS)).assign_attrs(attributes)


def verdict(name, dataset):
    (outcome,) = decide([CLAIM[name]], dataset)
    return outcome.verdict


@pytest.mark.parametrize("name", CLAIM)
def test_claims_hold_where_they_should_and_reject_their_controls(name):
    (outcome,) = decide([CLAIM[name]], models())
    assert outcome.verdict == "holds"
    assert set(outcome.controls.values()) == {"fails"}
    assert_as_written(outcome)


@pytest.mark.parametrize(
    ("name", "broken"),
    [
        ("law", {"exponent": -0.3}),
        ("constant", {"constant": 1.4}),
        ("descent", {"gap": 1e-9}),
        ("trajectories", {"trajectory": -0.2}),
    ],
)
def test_claims_fail_where_they_are_broken(name, broken):
    assert verdict(name, models(**broken)) == "fails"


@pytest.mark.parametrize(
    ("name", "key", "inside", "outside"),
    [
        ("law", "exponent", -0.475, -0.425),
        ("law", "exponent", -0.525, -0.575),
        ("constant", "constant", 1.05, 1.15),
        ("constant", "constant", 0.94, 0.85),
        ("descent", "gap", 0.9e-13, 1.1e-13),
        ("trajectories", "trajectory", -0.45, -0.35),
        ("trajectories", "trajectory", -0.55, -0.65),
    ],
)
def test_claims_hold_just_inside_their_ranges_and_fail_just_outside(name, key, inside, outside):
    assert [verdict(name, models(**{key: value})) for value in (inside, outside)] == ["holds", "fails"]


@pytest.mark.parametrize("name", experiment.KERNELS)
def test_expected_deviation_is_that_of_many_models(name):
    dataset = EXPERIMENT.compute(cell(name, 20, range(200)))
    squares = np.square(dataset.deviation.sel(reference="kernel").values)
    standard_error = squares.std() / math.sqrt(len(squares))
    assert abs(squares.mean() - prediction(name).expected.item() ** 2 / 20) < 4 * standard_error


def test_kernel_descent_is_that_of_the_kernel_gradient():
    kernel = kernel_matrix("ntk")
    target = torch.tensor([[1.0], [-2.0], [0.5]], dtype=torch.float64)
    trajectory = experiment.kernel_descent(kernel, target, 0.5, 3)
    space, f = KernelOnData(tabulated(kernel), torch.arange(3)), torch.zeros(len(kernel), 1, dtype=torch.float64)
    for step in trajectory:
        torch.testing.assert_close(step, f, rtol=1e-12, atol=1e-14)
        f = f - 0.5 * space.gradient(LeastSquares(target), f[:3], torch.arange(len(kernel)))


def test_models_are_the_same_in_any_block_and_descend_along_their_own_kernel():
    both, second = EXPERIMENT.compute(cell(seeds=(0, 1))), EXPERIMENT.compute(cell(seeds=(1,)))
    xr.testing.assert_identical(both.isel(model=[1]), second)
    assert (both.on_data.sel(reference="tangent") < 1e-14).all()
    assert (both.on_data.sel(reference="kernel") > 1e-3).all()


@pytest.mark.parametrize("name", experiment.KERNELS)
def test_prediction_is_the_function_trained_with_the_kernel(name):
    """Many steps of descent interpolate: f on the grid is the regression with K, towards x_1x_2 on the data."""
    long = replace(SETTING, steps=20000)
    models = experiment.Models(kernel=name, number=None, setting=long)
    limit = EXPERIMENT.compute(cell_of(EXPERIMENT, models, kind="prediction")).limit[0]
    kernel = kernel_matrix(name)
    regression = kernel[3:, :3] @ torch.linalg.solve(kernel[:3, :3], POINTS[:3].prod(dim=1))
    np.testing.assert_allclose(limit, regression, rtol=0, atol=1e-6)


def test_another_draw_has_other_data_functions_and_predictions():
    for name in experiment.KERNELS:
        first, second = (EXPERIMENT.compute(cell(name, draw=draw)) for draw in (0, 1))
        assert not np.isin(first.f, second.f).any()
        assert not np.isin(first.deviation.sel(reference="kernel"), second.deviation).any()
        first, second = (prediction(name, draw) for draw in (0, 1))
        assert not np.isin(first.limit, second.limit).any()
        assert first.expected != second.expected
    angles = [small(draw)[1].attrs["data_angles"] for draw in (0, 1)]
    assert not set(angles[0]) & set(angles[1])


def test_another_draw_has_other_functions_on_the_same_data(monkeypatch):
    monkeypatch.setattr(experiment, "points", lambda setting, stream: POINTS)
    for name in experiment.KERNELS:
        first, second = (EXPERIMENT.compute(cell(name, draw=draw)) for draw in (0, 1))
        assert not np.isin(first.f, second.f).any()


def test_assembled_data_have_every_model_once_and_are_drawn():
    config, dataset = small()
    assert [each.label for each in EXPERIMENT.cells(config)] == [
        "prediction-ntk-seed0",
        "prediction-rbf-seed0",
        "model-ntk-P20-seed0-19",
        "model-rbf-P20-seed0-19",
        "model-ntk-P200-seed0-19",
        "model-rbf-P200-seed0-19",
    ]
    assert sorted(zip(dataset.kernel.values, dataset.number.values, dataset.seed.values, strict=True)) == [
        (kernel, number, seed) for kernel in ("ntk", "rbf") for number in (20, 200) for seed in range(3)
    ]
    assert dataset.sizes == {"model": 12, "reference": 3, "angle": 5, "name": 2}
    assert {number for number, _ in EXPERIMENT.metrics(dataset)} == {20.0, 200.0}
    assert {name for _, values in EXPERIMENT.metrics(dataset) for name in values} == {
        f"{quantity}/{kernel}" for quantity in ("deviation", "off_data") for kernel in experiment.KERNELS
    }
    (figure,) = plots.figures(dataset).values()
    assert [axes.get_xlabel() for axes in figure.axes] == ["$P$", "$P$", r"$\gamma$"]


@pytest.mark.parametrize(
    ("key", "value"), [("n_samples", 1), ("intervals", 5), ("learning_rate", 0.0), ("steps", 0), ("length", -1.0)]
)
def test_bad_settings_are_refused(key, value):
    settings = {"n_samples": 3, "intervals": 4, "learning_rate": 1.0, "steps": 2, "length": 1.0}
    with pytest.raises(ConfigError, match=f"setting.{key}="):
        experiment.Setting(**settings | {key: value}, network=SETTING.network)
