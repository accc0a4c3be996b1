"""Proposition 2: ranks and null vectors against what they must be, and the checks on broken spectra."""

import dataclasses

import numpy as np
import pytest
import torch
import xarray as xr
from criteria_fixtures import assert_as_written, own_verdict, verdict_at
from scripts_fixtures import script

from replication.experiments import prop2 as experiment
from replication.limit import theta_inf
from replication.plots import prop2 as plots
from replication.study.claims import decide

compose = script("compose")
EXPERIMENT = experiment.EXPERIMENT
CLAIM = {claim.id.removeprefix("prop2."): claim for claim in EXPERIMENT.claims}


@pytest.fixture(scope="module")
def dataset() -> xr.Dataset:
    _, config = compose.typed(compose.preset("ci/prop2", "seeds=4", "depth=3"))
    return EXPERIMENT.join(config, [EXPERIMENT.compute(cell) for cell in EXPERIMENT.cells(config)])


def configurations(*overrides: str):
    """The first cell of random configurations."""
    _, config = compose.typed(compose.preset("ci/prop2", *overrides))
    return next(cell for cell in EXPERIMENT.cells(config) if cell.kind == "configuration")


@pytest.mark.parametrize("name", CLAIM)
def test_claims_hold_and_reject_their_controls(name, dataset):
    (outcome,) = decide([CLAIM[name]], dataset)
    assert outcome.verdict == "holds", outcome.statistics
    assert set(outcome.controls.values()) == {"fails"}
    assert_as_written(outcome)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("sphere", lambda d: d.assign(smallest=d.smallest * 1e-13)),
        ("off_sphere", lambda d: d.assign(smallest=d.smallest * 1e-13)),
        ("polynomial", lambda d: d.assign(rank=d["rank"] + 1)),
        # As if the degree were p(L − 1) and not p^(L − 1).
        ("polynomial", lambda d: d.assign(predicted=1 + 2 * xr.DataArray([1, 2], dims="polynomial") * (d.depth - 1))),
        ("antipodal", lambda d: d.assign(antipodal=d.antipodal + 1e-6)),
        ("antipodal", lambda d: d.assign(antipodal=d.antipodal * 1e-13)),
        ("ray", lambda d: d.assign(ray=d.ray + 1e-6)),
    ],
)
def test_claims_fail_where_they_are_broken(name, change, dataset):
    assert own_verdict(CLAIM[name], change(dataset)) == "fails"


@pytest.mark.parametrize(
    ("name", "number", "variable", "inside", "outside"),
    [
        ("sphere", 0, "smallest", 10.1, 9.9),
        ("sphere", 1, "smallest", 10.1, 9.9),
        ("off_sphere", 0, "smallest", 10.1, 9.9),
        ("off_sphere", 1, "smallest", 10.1, 9.9),
        ("antipodal", 0, "antipodal", 10.1, 9.9),
        ("antipodal", 3, "antipodal", 0.99, 1.01),
        ("ray", 0, "ray", 0.99, 1.01),
        ("ray", 1, "ray", 10.1, 9.9),
    ],
)
def test_a_statistic_holds_just_inside_its_range_and_fails_just_outside(
    name, number, variable, inside, outside, dataset
):
    assert verdict_at(CLAIM[name], dataset, number, inside, variable) == "holds"
    assert verdict_at(CLAIM[name], dataset, number, outside, variable) == "fails"


def test_predicted_ranks():
    assert experiment.predicted_rank(1, 1, 3, 100) == 4  # 1 and the coordinates
    assert experiment.predicted_rank(1, 5, 3, 100) == 4
    assert experiment.predicted_rank(2, 2, 3, 100) == 9  # spherical harmonics of degree ≤ 2 in three dimensions
    assert experiment.predicted_rank(2, 3, 3, 100) == 25
    assert experiment.predicted_rank(2, 6, 3, 16) == 16


def test_null_vectors_on_antipodal_pairs_are_odd():
    stream = torch.Generator().manual_seed(0)
    half = experiment.sphere(4, 3, stream)
    kernel = theta_inf(torch.cat([half, -half]), depth=2, nonlinearity="relu", beta=0.0)
    _, vectors = torch.linalg.eigh(kernel)
    null = vectors[:, 0]
    torch.testing.assert_close(null[:4], -null[4:], rtol=1e-6, atol=1e-6)
    # A linear relation between the points: Σ_i v_i x_i = 0.
    assert float((null[:4] @ half).norm()) < 1e-6


def test_spectra_are_relative_and_ascending():
    x = experiment.sphere(5, 3, torch.Generator().manual_seed(1))
    assert torch.allclose(x.norm(dim=1), torch.ones(5, dtype=torch.float64))
    eigenvalues = experiment.spectrum(x, 2, "erf", 0.1)
    assert eigenvalues[-1] == 1
    assert (np.diff(eigenvalues) >= 0).all()


def test_off_the_sphere_radii_differ():
    """The smallest eigenvalue there, recomputed from the points of the same stream."""
    cell = configurations("seeds=1", "depth=2")
    measured, setting = EXPERIMENT.compute(cell), cell.setting
    stream = cell.stream(setting.n_0, setting.points, 0)
    x = experiment.sphere(setting.points, setting.n_0, stream)
    radii = 0.5 + 1.5 * torch.rand(setting.points, 1, generator=stream, dtype=torch.float64)
    for place, at in enumerate((x, radii * x)):
        kernel = theta_inf(at, depth=2, nonlinearity="relu", beta=setting.beta)
        values = torch.linalg.eigvalsh(kernel)
        assert float(measured.smallest[0, place, 0, 1]) == pytest.approx(float(values[0] / values[-1]), rel=1e-6)
    assert float(radii.max() - radii.min()) > 0.5


def test_another_draw_has_other_points():
    cell = dataclasses.replace(configurations("depth=2"), seeds=(0,))
    first, second = (EXPERIMENT.compute(dataclasses.replace(cell, draw=draw)) for draw in (0, 1))
    assert (first.smallest[0, :, 0, 1] != second.smallest[0, :, 0, 1]).all()  # ReLU and L = 2: far above rounding
    assert first.antipodal[0, 0] != second.antipodal[0, 0]
    assert first.ray[0, 1] != second.ray[0, 1]


def test_points_are_spread_out():
    x = experiment.spread_out(20, 2, torch.Generator().manual_seed(0))
    torch.testing.assert_close(x.norm(dim=1), torch.ones(20, dtype=torch.float64))
    apart = torch.cdist(x, x) + 9 * torch.eye(20, dtype=torch.float64)
    assert float(apart.min()) > 0.4 * 2 * np.pi / 20


def test_ranks_tell_powers_from_products(dataset):
    np.testing.assert_array_equal(dataset.predicted.sel(polynomial="quadratic"), [3, 5, 9])
    np.testing.assert_array_equal(dataset.predicted.sel(polynomial="identity"), [3, 3, 3])


def test_data_are_drawn(dataset):
    (figure,) = plots.figures(dataset).values()
    assert len(figure.axes) == 3
    assert [L for L, _ in EXPERIMENT.metrics(dataset)] == [1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("n_0", "1"),
        ("points", "3"),
        ("depth", "1"),
        ("beta", "0"),
        ("nonlinearities", "[relu]"),
        ("nonlinearities", "[relu,relu,identity,quadratic]"),
        ("ranks.n_0", "1"),
        ("ranks.points", "1"),
        ("pairs", "[]"),
        ("seeds", "0"),
    ],
)
def test_bad_values_are_refused(key, value):
    with pytest.raises(compose.UserError, match=f"{key}="):
        compose.typed(compose.preset("ci/prop2", f"{key}={value}"))
