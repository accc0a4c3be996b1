"""The claims of Theorem 2 and Remark 4 on made-up networks, their presets and their figures."""

import numpy as np
import pytest
import xarray as xr
from criteria_fixtures import assert_as_written, own_verdict
from scripts_fixtures import script

from replication.experiments.theorem2 import EXPERIMENT
from replication.plots import theorem2 as plots
from replication.study.claims import decide
from replication.study.store import key

compose = script("compose")
CLAIM = {claim.id: claim for claim in EXPERIMENT.claims}


def made_up(
    smooth=-1.0,
    relu=-0.6,
    other=-1.0,
    limit=-0.5,
    moved=-0.5,
    share=0.0,
    lower=0.0,
    switched=-0.5,
    off=1.5,
    weights=-0.5,
) -> xr.Dataset:
    """Networks in which, by default, the paper is right."""
    rng = np.random.default_rng(0)
    parts = []

    def add(direction, sigma, width, exponent, move, weights=weights, limit=limit, lower=lower):
        noise = rng.lognormal(0, 0.1, (15, 1))
        names = {"direction": direction, "nonlinearity": sigma, "width": width}
        size = width**exponent * noise
        shares = np.tile([0.2, 0.3, 0.5], (15, 1))
        parts.append(
            xr.Dataset(
                {
                    "change": (("network", "time"), size * np.linspace(0, 1, 5)),
                    "distance": (("network", "time"), 3 * width**limit * noise * np.linspace(1, 1.1, 5)),
                    "elsewhere": (("network", "time"), noise * np.ones(5)),
                    "moved": (("network", "layer"), width**move * noise * np.ones(2)),
                    "weights": (("network", "matrix"), width**weights * noise),
                    "share": (("network", "parameters"), shares + share + 0.005 * rng.standard_normal((15, 3))),
                    "share_limit": (("network", "parameters"), shares),
                    "lower": ("network", 0.3 * width**lower * noise[:, 0]),
                    "switched_on": (("network", "layer"), 0.1 * width**switched * noise * np.ones(2)),
                    "switched_off": (("network", "layer"), 0.1 * off * width**switched * noise[::-1] * np.ones(2)),
                }
                | {name: ("network", [value] * 15) for name, value in names.items()}
            )
        )

    for width in (100, 1000, 10_000):
        add("least_squares", "erf", width, smooth, moved)
        add("least_squares", "relu", width, relu, moved)
        for direction in ("cross_entropy", "adversarial"):
            add(direction, "erf", width, other, moved)
    for width in (100, 1000):
        add("mean_field", "erf", width, 0.0, 0.0, 0.0, 0.0, 0.0)
    return (
        xr.concat(parts, dim="network")
        .assign_coords(time=np.linspace(0, 1, 5))
        .assign_attrs(
            widths=[100, 1000, 10_000],
            nonlinearities=["erf", "relu"],
            directions=["least_squares", "cross_entropy", "adversarial"],
            mean_field=[100, 1000],
            setting={"t": 30},
        )
    )


@pytest.mark.parametrize("name", CLAIM)
def test_claims_hold_where_they_should_and_reject_their_controls(name):
    (outcome,) = decide([CLAIM[name]], made_up())
    assert outcome.verdict == "holds", (outcome.statistics, outcome.objections)
    assert set(outcome.controls.values()) == {"fails"}
    assert_as_written(outcome)


@pytest.mark.parametrize(
    ("name", "inside", "outside"),
    [
        ("theorem2.constant", {"smooth": -1.2}, {"smooth": -1.3}),
        ("theorem2.constant", {"smooth": -0.8}, {"smooth": -0.7}),
        ("theorem2.limit", {"limit": -0.55}, {"limit": -0.65}),
        ("theorem2.limit", {"limit": -0.45}, {"limit": -0.35}),
        ("theorem2.relu", {"relu": -0.9, "smooth": -1.3}, {"relu": -1.0, "smooth": -1.4}),
        ("theorem2.relu", {"relu": -0.45, "smooth": -0.9}, {"relu": -0.35, "smooth": -0.8}),
        ("theorem2.relu", {"smooth": -0.87}, {"smooth": -0.73}),
        ("theorem2.relu", {"smooth": -1.13}, {"smooth": -1.27}),
        ("theorem2.switches", {"switched": -0.55}, {"switched": -0.65}),
        ("theorem2.switches", {"switched": -0.45}, {"switched": -0.35}),
        ("theorem2.switches", {"off": 1.3}, {"off": 0.95}),
        ("theorem2.directions", {"other": -1.2}, {"other": -1.3}),
        ("theorem2.directions", {"other": -0.8}, {"other": -0.7}),
        ("theorem2.weights", {"weights": -0.55}, {"weights": -0.65}),
        ("theorem2.weights", {"weights": -0.45}, {"weights": -0.35}),
        ("remark4.activations", {"moved": -0.6}, {"moved": -0.7}),
        ("remark4.activations", {"moved": -0.4}, {"moved": -0.3}),
        ("remark4.learning", {"lower": -0.1}, {"lower": -0.2}),
        ("remark4.learning", {"lower": 0.1}, {"lower": 0.2}),
        ("remark4.learning", {"share": 0.013}, {"share": 0.03}),
        ("remark4.learning", {"share": -0.013}, {"share": -0.03}),
    ],
)
def test_claims_hold_inside_their_ranges_and_fail_outside(name, inside, outside):
    for data, verdict in ((inside, "holds"), (outside, "fails")):
        assert own_verdict(CLAIM[name], made_up(**data)) == verdict, data


def test_dense_networks_have_every_nonlinearity():
    _, config = compose.typed(compose.preset("ci/theorem2", "network.weights=dense"))
    settings = [cell.setting for cell in EXPERIMENT.cells(config) if cell.setting.width > 1000]
    assert {(setting.network.nonlinearity, setting.network.weights) for setting in settings} == {
        ("erf", "dense"),
        ("relu", "dense"),
    }


def test_assembled_data_are_drawn():
    overrides = ("widths=[20,60]", "seeds=[5,5]", "mean_field={widths: [20,40], seeds: 5, tolerance: 0.1}")
    overrides += ("setting.t=2", "setting.n_samples=2", "setting.adversarial_t=2", "network.depth=3")
    _, config = compose.typed(compose.preset("ci/theorem2", *overrides))
    dataset = EXPERIMENT.join(config, [EXPERIMENT.compute(cell) for cell in EXPERIMENT.cells(config)])
    assert dataset.sizes["network"] == 2 * 4 * 5 + 2 * 5
    decide(EXPERIMENT.claims, dataset)
    assert [len(figure.axes) for figure in plots.figures(dataset).values()] == [3, 2, 2]
    assert [n for n, _ in EXPERIMENT.metrics(dataset)] == [20.0] * 4 + [60.0] * 4


def test_figures_are_those_of_the_claims_and_of_the_networks():
    dataset = made_up()
    names = ["theorem2", "theorem2_switches", "remark4"]
    assert list(plots.figures(dataset)) == names
    assert list(plots.figures(dataset.assign_attrs(nonlinearities=["erf"]))) == ["theorem2", "remark4"]
    for preset, expected in (("ci/theorem2", names[:2]), ("ci/remark4", names[2:])):
        _, config = compose.typed(compose.preset(preset))
        assert list(plots.figures(dataset.assign_attrs(claims=config.claims))) == expected
        assert {claim.partition(".")[0] for claim in config.claims} == {preset.removeprefix("ci/")}


def test_the_networks_of_remark_4_are_those_of_theorem_2():
    """The same cells, where both presets ask for the same networks."""
    same = ("setting.n_samples=3", "setting.t=12", "widths=[100]", "seeds=[10]", "setting.adversarial_t=12")
    cells = []
    for name in ("theorem2", "remark4"):
        _, config = compose.typed(compose.preset(name, *same))
        cells.append({key(cell) for cell in EXPERIMENT.cells(config)})
    assert cells[1] < cells[0]


def test_directions_that_are_not_asked_for_leave_their_claim_undecided():
    dataset = made_up()
    fewer = dataset.isel(network=np.isin(dataset.direction, ["least_squares", "mean_field"]))
    outcomes = decide(EXPERIMENT.claims, fewer.assign_attrs(directions=["least_squares"]))
    undecided = [outcome.claim.id for outcome in outcomes if outcome.verdict != "holds"]
    assert undecided == ["theorem2.directions"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("setting.n_samples", "1"),
        ("setting.t", "0"),
        ("setting.adversarial_t", "0.3"),
        ("nonlinearities", "[relu]"),
        ("nonlinearities", "[erf,relu,relu]"),
        ("directions", "[cross_entropy]"),
        ("directions", "[least_squares,sideways]"),
        ("seeds", "[1]"),
        ("direction_seeds", "0"),
        ("mean_field.widths", "[2000]"),
        ("mean_field.tolerance", "0"),
        ("network.weights", "sparse"),
    ],
)
def test_bad_values_are_refused(key, value):
    with pytest.raises(compose.UserError, match=f"{key}="):
        compose.typed(compose.preset("ci/theorem2", f"{key}={value}"))
