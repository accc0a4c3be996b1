"""The claims on the drift, on made-up data of known truth."""

import numpy as np
import pytest
import xarray as xr
from criteria_fixtures import assert_as_written, own_verdict
from predicted_drift_fixtures import CLAIM

from replication.experiments.drift import bias, measure
from replication.study.claims import decide

SIGMAS = ["erf", "tanh", "softplus"]


WIDTHS = [100, 1000, 10_000]


def _labelled(kind, count, **labels):
    prefix = "" if kind == "network" else f"{kind}_"
    return {prefix + name: (kind, [value] * count) for name, value in labels.items()}


def made_up(
    order=-1.0,
    dropped=0.0,
    size=0.3,
    cost=0.01,
    solver=1e-5,
    coarse=1e-7,
    mean_error=0.0,
    k3=-1.2,
    k4=None,
    inflation=0.14,
    predicted=0.15,
    matrix=0.2,
    kinked=0.1,
    iterate=0.2,
    slope=1.0,
    diagonal=0.0,
    count=40,
) -> xr.Dataset:
    """Networks for which, by default, every claim is right."""
    rng = np.random.default_rng(0)

    def noise(*shape):
        return rng.lognormal(0, 0.1, shape)

    parts = []
    for sigma in SIGMAS:
        for width in WIDTHS:
            partial = 0.8 * width**dropped * noise(count, 3)
            rest = size * width**order * noise(count, 1)
            variables = {
                "drift": ("network", noise(count) / width),
                "left": (("network", "prediction"), np.hstack([rest, partial])),
                "cost": ("network", cost * noise(count)),
                "rank": ("network", [0] * count),
                "truncation": ("network", [0.0] * count),
            }
            parts.append(xr.Dataset(variables | _labelled("network", count, nonlinearity=sigma, width=width)))
    networks = xr.concat(parts, dim="network").assign_coords(prediction=list(measure.PREDICTIONS))
    pairs = []
    for sigma, mean in zip(SIGMAS, (-0.2, 0.0, 2.1), strict=True):
        linear = k3 * noise(count)
        bent = (mean - k3 if k4 is None else k4) * noise(count)
        second = linear + bent
        values = np.stack([second + mean_error, second, linear, 0 * bent, bent], axis=1)
        pairs.append(
            xr.Dataset(
                {"diagonal": (("pair", "term"), values)} | _labelled("pair", count, nonlinearity=sigma, width=100),
                coords={"term": list(measure.TERMS)},
            )
        )
    checks = {"coarse": coarse * noise(8), "solver": solver * noise(8), "second": 2e-3 * noise(8)}
    check = xr.Dataset({name: ("check", v) for name, v in checks.items()} | _labelled("check", 8, width=1000))
    bent = xr.concat(
        [
            xr.Dataset(
                {
                    "kinked_left": (
                        ("kinked", "formula"),
                        np.hstack([0.8 * (width / 100) ** kinked * noise(20, 1), iterate * noise(20, 1)]),
                    )
                }
                | _labelled("kinked", 20, width=width),
                coords={"formula": ["almost_everywhere", "second"]},
            )
            for width in (100, 1000)
        ],
        dim="kinked",
    )
    grown = np.stack([inflation * noise(20), predicted * noise(20), 0.02 * noise(20)], axis=1)
    figure1 = xr.Dataset(
        {"inflation": (("figure1", "origin"), 1 + grown), "matrix_left": ("figure1", matrix * noise(20))}
        | _labelled("figure1", 20, width=500),
        coords={"origin": ["trained", "second", "first"]},
    )
    blocks, theory = [], []
    for sigma in (*SIGMAS, "relu"):
        c = np.array([0.0, 0.06, 0.0]) if sigma == "relu" else np.array([-0.09, 0.01, -0.1])
        on_diagonal = np.array([True, False, True])
        for width in (16, 32):
            centre = slope * c + 0.1 / width + diagonal * (on_diagonal if sigma == "relu" else 0)
            blocks.append(
                xr.Dataset(
                    {"bias": (("block", "entry"), centre + 1e-3 * rng.standard_normal((20, 3)))}
                    | _labelled("block", 20, nonlinearity=sigma, width=width)
                )
            )
        theory.append(
            xr.Dataset(
                {
                    "constant": (("derived", "entry", "part"), np.stack([c, 0.5 * c], axis=1)[None]),
                    "on_diagonal": (("derived", "entry"), on_diagonal[None]),
                }
                | _labelled("derived", 1, nonlinearity=sigma),
                coords={"part": list(bias.PARTS)},
            )
        )
    kinds = [networks, xr.concat(pairs, dim="pair"), check, bent, figure1]
    joined = xr.merge([*kinds, xr.concat(blocks, dim="block"), xr.concat(theory, dim="derived")])
    return joined.assign_attrs(
        widths=WIDTHS,
        nonlinearities=SIGMAS,
        pairs=[100],
        check=[1000],
        kinked=[100, 1000],
        figure1=[500],
        bias=[16, 32],
        bias_nonlinearities=[*SIGMAS, "relu"],
    )


@pytest.mark.parametrize("name", CLAIM)
def test_claims_hold_where_they_should_and_reject_their_controls(name):
    (outcome,) = decide([CLAIM[name]], made_up())
    assert outcome.verdict == "holds", [str(statistic) for statistic in outcome.statistics]
    assert not outcome.objections
    assert_as_written(outcome)


@pytest.mark.parametrize(
    ("name", "broken"),
    [
        ("drift.order", {"order": -0.5}),
        ("drift.order", {"order": 0.0}),
        ("drift.order", {"dropped": -0.5}),
        ("drift.accuracy", {"size": 30.0}),
        ("drift.accuracy", {"cost": 0.2}),
        ("drift.accuracy", {"solver": 1e-2}),
        ("drift.accuracy", {"coarse": 1e-2}),
        ("drift.mean", {"mean_error": 0.3}),
        ("drift.mean", {"k3": 0.2}),
        ("drift.mean", {"k4": 0.2}),
        ("drift.figure1", {"predicted": 0.25}),
        ("drift.figure1", {"predicted": 0.02}),
        ("drift.figure1", {"matrix": 0.01}),
        ("drift.relu", {"kinked": -0.8}),
        ("drift.relu", {"iterate": 0.9}),
        ("drift.wide", {"size": 30.0}),
        ("initial.bias", {"slope": 1.3}),
        ("initial.bias", {"diagonal": 0.05}),
    ],
)
def test_claims_fail_where_they_are_broken(name, broken):
    assert own_verdict(CLAIM[name], made_up(**broken)) == "fails"


@pytest.mark.parametrize(
    ("name", "key", "inside", "outside"),
    [
        ("drift.order", "order", -1.22, -1.28),
        ("drift.order", "order", -0.78, -0.72),
        ("drift.order", "dropped", -0.32, -0.38),
        ("drift.order", "dropped", 0.32, 0.38),
        ("drift.accuracy", "size", 9, 11),
        ("drift.accuracy", "cost", 0.045, 0.056),
        ("drift.accuracy", "coarse", 8e-5, 1.3e-4),
        ("drift.accuracy", "solver", 4e-4, 7e-4),
        ("drift.mean", "mean_error", 0.095, 0.105),
        ("drift.mean", "mean_error", -0.095, -0.105),
        ("drift.mean", "k3", -0.44, -0.37),
        ("drift.mean", "k4", 0.66, 0.56),
        ("drift.figure1", "inflation", 0.15, 0.25),
        ("drift.figure1", "inflation", 0.15, 0.1),
        ("drift.figure1", "matrix", 0.11, 0.085),
        ("drift.figure1", "matrix", 0.42, 0.54),
        ("drift.relu", "kinked", -0.13, -0.27),
        ("drift.relu", "kinked", 0.35, 0.6),
        ("drift.relu", "iterate", 0.06, 0.044),
        ("drift.relu", "iterate", 0.6, 0.83),
        ("drift.wide", "size", 1.7, 2.4),
        ("initial.bias", "slope", 0.96, 0.9),
        ("initial.bias", "slope", 1.04, 1.1),
        ("initial.bias", "diagonal", 0.012, 0.018),
        ("initial.bias", "diagonal", -0.012, -0.018),
    ],
)
def test_a_statistic_holds_just_inside_its_range_and_fails_just_outside(name, key, inside, outside):
    """Statistics that held are all that may fail."""
    within, beyond = (CLAIM[name].check(made_up(**{key: value})) for value in (inside, outside))
    assert any(a.verdict == "holds" and b.verdict == "fails" for a, b in zip(within, beyond, strict=True))
