"""The experiment on random functions: its expected deviation against Monte Carlo, its checks on made-up models."""

import math

import numpy as np
import pytest
import torch
import xarray as xr

from replication.costs import LeastSquares
from replication.experiments import random_functions as experiment
from replication.kernels import KernelOnData
from replication.plots import random_functions as plots
from replication.random_functions import tabulated
from replication.study.claims import decide
from replication.study.settings import ConfigError, NetworkConfig

NUMBERS = [10, 100, 1000, 10000]
CLAIM = {claim.id.removeprefix("random_functions."): claim for claim in experiment.CLAIMS}
SETTING = experiment.Setting(
    n_samples=3,
    intervals=4,
    learning_rate=1.0,
    steps=7,
    length=0.7,
    network=NetworkConfig(depth=3, nonlinearity="relu", beta=0.1, dtype="float64"),
)


def cell(kernel="ntk", number=50, seeds=(0, 1)):
    return experiment.Cell(kernel=kernel, number=number, seeds=seeds, setting=SETTING)


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
    found = xr.concat(parts, dim="model")
    found["limit"] = (("name", "angle"), np.ones((2, 5)))
    found["expected"] = ("name", [3.0, 3.0])
    attributes = {"numbers": NUMBERS, "setting": {"steps": 10}, "data_angles": [0.0, 1.0]}
    return found.assign_coords(name=list(experiment.KERNELS)).assign_attrs(attributes)


def verdict(name, dataset):
    (outcome,) = decide([CLAIM[name]], dataset)
    return outcome.verdict


@pytest.mark.parametrize("name", CLAIM)
def test_claims_hold_where_they_should_and_reject_their_controls(name):
    (outcome,) = decide([CLAIM[name]], models())
    assert outcome.verdict == "holds"
    assert set(outcome.controls.values()) == {"fails"}


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


@pytest.mark.parametrize("name", experiment.KERNELS)
def test_expected_deviation_is_that_of_many_models(name):
    deviations = []
    for seed in range(200):
        dataset = experiment.compute(cell(name, 20, (seed,)))
        deviations.append(dataset.deviation.sel(reference="kernel").item())
    kernel = experiment._problem(name, SETTING)[0]
    expected = experiment.expected_deviation(name, kernel) / math.sqrt(20)
    squares = np.square(deviations)
    standard_error = squares.std() / math.sqrt(len(squares))
    assert abs(squares.mean() - expected**2) < 4 * standard_error


def test_kernel_descent_is_that_of_the_kernel_gradient():
    kernel = experiment._problem("ntk", SETTING)[0]
    target = torch.tensor([[1.0], [-2.0], [0.5]], dtype=torch.float64)
    found = experiment.kernel_descent(kernel, target, 0.5, 3)
    space, f = KernelOnData(tabulated(kernel), torch.arange(3)), torch.zeros(len(kernel), 1, dtype=torch.float64)
    for step in found:
        torch.testing.assert_close(step, f, rtol=1e-12, atol=1e-14)
        f = f - 0.5 * space.gradient(LeastSquares(target), f[:3], torch.arange(len(kernel)))


def test_models_are_the_same_in_any_block_and_descend_along_their_own_kernel():
    both, second = experiment.compute(cell(seeds=(0, 1))), experiment.compute(cell(seeds=(1,)))
    xr.testing.assert_identical(both.isel(model=[1]), second)
    assert (both.on_data.sel(reference="tangent") < 1e-14).all()
    assert (both.on_data.sel(reference="kernel") > 1e-3).all()


def test_assembled_data_have_every_model_once_and_are_drawn():
    config = experiment.Config(
        **{
            "experiment": "random_functions",
            "preset": "x",
            "draw": 0,
            "claims": None,
            "undecided": {},
            "results": "r",
            "device": "cpu",
            "threads": 1,
            "workers": 1,
        },
        tracking=None,
        setting=SETTING,
        numbers=[200, 20],
        seeds=3,
    )
    cells = experiment.cells(config)
    assert [c.number for c in cells] == [20, 20, 200, 200]
    dataset = experiment.assemble(config, [(c, experiment.compute(c)) for c in cells])
    assert dataset.sizes == {"model": 12, "reference": 3, "angle": 5, "name": 2}
    assert {number for number, _ in experiment.metrics(dataset)} == {20.0, 200.0}
    assert {name for _, values in experiment.metrics(dataset) for name in values} == {
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
