"""The claims of Remark 1 on made-up data, their preset and their figure."""

import math

import numpy as np
import pytest
import xarray as xr
from criteria_fixtures import assert_as_written, own_verdict, tilted, verdict_at
from scripts_fixtures import script

from replication.experiments.remark1 import EXPERIMENT, claims
from replication.experiments.remark1.settings import RUNS
from replication.plots import remark1 as plots
from replication.study.claims import decide

compose = script("compose")
CLAIM = {claim.id.removeprefix("remark1."): claim for claim in EXPERIMENT.claims}
OURS = ("remark1.functions", "remark1.derivatives", "remark1.map")


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
    assert own_verdict(claim, BROKEN[claim.id](made_up())) == "fails"


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
