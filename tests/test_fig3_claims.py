"""The claims of Figure 3 on made-up networks, and the statistics that they are made of."""

import numpy as np
import pytest
import xarray as xr
from criteria_fixtures import assert_as_written, own_verdict

from replication.experiments.fig3 import EXPERIMENT, statistics
from replication.study.claims import decide

CLAIM = {claim.id.removeprefix("fig3."): claim for claim in EXPERIMENT.claims}


def made_up(
    h=-0.45,
    inflation=-0.8,
    late=0.9,
    beta_gap=12.0,
    lambda3=0.00083,
    bound=1.0,
    constant=0.998,
    descent=1.0,
    early=0.05,
    power=-1.0,
    late_power=-0.2,
) -> xr.Dataset:
    """Networks in which, by default, the paper is right; h, inflation, power and late_power are exponents in n."""
    rng = np.random.default_rng(0)
    t = np.linspace(0, 4000, 161)
    lambda2, parts = 0.00114, []
    for width, seeds in ((100, 12), (300, 12), (1000, 12), (10000, 2)):
        noise = 1 + 0.03 * rng.standard_normal((seeds, 1))
        rate_0 = lambda2 * (1 + 0.5 * width**-0.5 * rng.standard_normal((seeds, 1)))
        growth = 3e-6 * (width / 100) ** inflation * noise
        g = -0.5 * np.exp(-(rate_0 * t + growth * t**2 / 2))
        rate = rate_0 + growth * t
        cross = np.where(np.abs(g) > 0.25, -early, -late * (width / 300) ** late_power) * growth * t * g
        missing = 0.3 * (width / 100) ** power * (1 + 0.2 * rng.random((seeds, 3)))
        parts.append(
            xr.Dataset(
                {
                    "g": (("network", "t"), g),
                    "h": (("network", "t"), 0.12 * (width / 100) ** h * noise * np.minimum(1, t / 500)),
                    "rate": (("network", "t"), rate),
                    "cross": (("network", "t"), cross),
                    "rate_0": ("network", rate_0[:, 0]),
                    "overlap": (("network", "component"), np.sqrt(1 - missing)),
                    "seed": ("network", np.arange(seeds)),
                    "width": ("network", [width] * seeds),
                    "variant": ("network", ["main"] * seeds),
                }
            )
        )
    dataset = xr.concat(parts, dim="network").assign_coords(t=t)
    batches = np.exp(0.05 * rng.standard_normal((12, 3)))
    dataset["limit_eigenvalues"] = (("batch", "component"), batches * [0.0459, lambda2, lambda3])
    dataset["limit_eigenvalues_beta"] = (("batch", "component"), 6 * batches * [0.0459 * beta_gap, lambda2, lambda3])
    dataset["limit_eigenvalues_centred"] = (("batch", "component"), batches * [0.00125, 0.0008, 0.0007])
    dataset["limit_constant"] = (("batch", "component"), np.tile([constant, 0.05, 0.01], (12, 1)))
    dataset["eigenvalues_inf"] = ("component", [0.0459, lambda2, 0.00083])
    for name, value in (("monotone", 0.98), ("broken", 1.02)):
        dataset[f"rates_{name}"] = ("rates", value * bound * (1 + 0.02 * rng.random(12)))
    dataset["rates_bound"] = ("rates", [12.0] * 6 + [24.0] * 6)
    dataset["rates_bound_0"] = ("rates", [42.0] * 12)
    dataset["rates_width"] = ("rates", [100] * 6 + [500] * 6)
    times = np.linspace(0, 1000, 161)
    flows = statistics.trained(dataset, 1000).isel(network=slice(6))
    for name in ("g", "h"):
        curves = [np.interp(descent * times, t, curve) for curve in flows[name].values]
        dataset[f"descent_{name}"] = (("descent", "descent_t"), np.array(curves))
    dataset["descent_seed"] = ("descent", np.arange(6))
    return dataset.assign_coords(component=[1, 2, 3], descent_t=times).assign_attrs(
        widths=[100, 1000, 10000],
        seeds=[0, 1],
        trend=[100, 300, 1000],
        initial=[100],
        rates=[100, 500],
        network={"depth": 5, "beta": 0.1},
        training={"goal": 0.5},
        descent={"width": 1000, "t": 1000.0},
        beta=1.0,
    )


@pytest.fixture(scope="module")
def true() -> xr.Dataset:
    return made_up()


@pytest.mark.parametrize("name", CLAIM)
def test_claims_hold_where_they_should_and_controls_are_rejected(name, true):
    (outcome,) = decide([CLAIM[name]], true)
    assert {str(statistic): statistic.verdict for statistic in outcome.statistics if statistic.verdict != "holds"} == {}
    assert set(outcome.controls.values()) == {"fails"}
    assert_as_written(outcome)


@pytest.mark.parametrize(
    ("name", "broken"),
    [
        ("first_constant", {"constant": 0.9}),
        ("gap", {"lambda3": 0.00083, "constant": 0.998}),
        ("footnote3", {"beta_gap": 2.0}),
        ("power_iteration", {"power": 0.0}),
        ("straight", {"h": 0.0}),
        ("limit", {"inflation": 0.0}),
        ("faster", {"inflation": 0.5}),
        ("cross_term", {"late": 0.1}),
        ("cross_term", {"late_power": 0.0}),
        ("learning_rate", {"bound": 0.6}),
        ("descent", {"descent": 1.4}),
    ],
)
def test_claims_fail_where_they_are_broken(name, broken):
    dataset = made_up(**broken)
    if name == "gap":
        dataset["limit_eigenvalues"] = dataset.limit_eigenvalues * [0.1, 1, 1]
    assert own_verdict(CLAIM[name], dataset) == "fails"


@pytest.mark.parametrize(
    ("name", "key", "inside", "outside"),
    [
        ("first_constant", "constant", 0.991, 0.989),
        ("footnote3", "beta_gap", 13.9, 14.4),
        ("footnote3", "beta_gap", 7.2, 6.9),
        ("power_iteration", "power", -0.65, -0.35),
        ("straight", "h", -0.18, -0.12),
        ("limit", "inflation", -0.35, -0.05),
        ("faster", "inflation", -0.4, -0.1),
        ("cross_term", "late", 0.53, 0.47),
        ("cross_term", "early", 0.31, 0.36),
        ("cross_term", "late_power", -0.12, -0.07),
        ("learning_rate", "bound", 0.77, 0.71),
        ("learning_rate", "bound", 1.28, 1.38),
        ("inflation_explains", "early", 0.16, 0.24),
        ("descent", "descent", 1.005, 1.05),
    ],
)
def test_claims_hold_just_inside_their_ranges_and_fail_just_outside(name, key, inside, outside):
    verdicts = [own_verdict(CLAIM[name], made_up(**{key: value})) for value in (inside, outside)]
    assert verdicts == ["holds", "fails"]


@pytest.mark.parametrize(
    ("number", "variable", "inside", "outside"),
    [
        (0, "limit_eigenvalues", 0.3, 0.2),
        (1, "limit_eigenvalues_centred", 1.6, 2.2),
        (1, "limit_eigenvalues_centred", 0.72, 0.5),
    ],
)
def test_the_gap_holds_just_inside_its_ranges_and_fails_just_outside(number, variable, inside, outside, true):
    for factor, verdict in ((inside, "holds"), (outside, "fails")):
        moved = true.assign({variable: true[variable] * [factor, 1, 1]})
        assert CLAIM["gap"].check(moved)[number].verdict == verdict


@pytest.mark.parametrize(("share", "verdict"), [(1.45, "holds"), (1.55, "fails"), (0.7, "holds"), (0.63, "fails")])
def test_inflation_has_a_share_of_the_whole_speed_up(share, verdict, true):
    """Inflation is ``share`` times what speeds the networks up; the cross term undoes or adds what is over."""
    growth = true.rate - true.rate[:, 0]
    changed = true.assign(rate=true.rate[:, 0] + share * growth, cross=-(share - 1) * growth * true.g)
    assert own_verdict(CLAIM["inflation_explains"], changed.transpose(*true.sizes)) == verdict


def test_numbers_at_equal_start_are_those_without_the_spread():
    rng = np.random.default_rng(3)
    start = 0.2 + rng.standard_normal(9)
    sample = np.stack([start, 3 - start, 1 + 0.5 * start], axis=1)
    np.testing.assert_allclose(statistics.at_equal_start(sample), [3, 1])


def test_inflation_that_is_cancelled_at_once_explains_nothing(true):
    cancelled = true.assign(cross=-0.9 * (true.rate - true.rate[:, 0]) * true.g)
    assert own_verdict(CLAIM["inflation_explains"], cancelled) == "fails"


def test_prediction_covers_networks_of_its_law():
    """New networks of a law that is quadratic in ln n are inside the 99.9 % interval, and those 3 times it outside."""
    rng = np.random.default_rng(1)
    widths = np.repeat([100, 300, 1000, 3000], 8)

    def law(n):
        return np.exp(-0.2 * np.log(n) - 0.03 * np.log(n) ** 2 + 0.05 * rng.standard_normal(len(n)))

    dataset = xr.Dataset(
        {"q": ("network", law(widths)), "width": ("network", widths), "variant": ("network", ["main"] * len(widths))}
    ).assign_attrs(trend=[100, 300, 1000, 3000])
    prediction = statistics.predict(dataset, lambda networks: networks.q.values, 10000)
    new = law(np.full(500, 10000))
    assert (np.abs(prediction.position(new)) < 1).mean() > 0.97
    assert (np.abs(prediction.position(3 * new)) > 1).all()
