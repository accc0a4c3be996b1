"""Figure 1's checks on made-up kernels with known laws: each holds where it should, and fails where that is broken."""

import math

import numpy as np
import pytest
import xarray as xr
from criteria_fixtures import assert_as_written, own_verdict

from replication.datasets import angle_grid
from replication.experiments.fig1.claims import ALIKE, BAND, CLAIMS, FALL, INFLATION, RATE, SMOOTHER
from replication.experiments.fig1.statistics import change, initial_kernels, roughness, spread
from replication.study.claims import decide
from replication.study.experiment import select

ANGLES = angle_grid(24).numpy()
WIDTHS, TREND, INITIAL, MEAN_FIELD = [500, 10000], [125, 250, 500], [64, 250, 1000, 2000], [125, 500]
NARROW_SEEDS, SEEDS, INITIAL_SEEDS = 40, 20, 60
CLAIM = {claim.id.removeprefix("fig1."): claim for claim in CLAIMS}


def limit(depth: int) -> np.ndarray:
    """A kernel along the circle: 0.15 … 0.28 at depth 4, and 40 % more at depth 5."""
    return (0.15 + 0.13 * np.exp(-(ANGLES**2))) * (1 + 0.4 * (depth - 4))


def deviations(rng, shape, sd):
    """Periodic random curves of a given sd at each angle, with modes up to the fourth: (*shape, angles)."""
    modes = np.arange(5)
    basis = np.concatenate([np.cos(np.outer(modes, ANGLES)), np.sin(np.outer(modes[1:], ANGLES))])
    return sd * rng.normal(size=(*shape, len(basis))) @ basis / math.sqrt(len(modes))


def networks(rng, variant, width, seeds, sd, growth, own=0.0):
    """Kernels of sd and with a relative growth over training that is 2 % from one network to the next.

    own: sd of what training adds to each network's kernel besides.
    """
    before = limit(4) + deviations(rng, (seeds, 4), sd)
    after = before[:, 0] * (1 + growth * rng.normal(1, 0.02, size=(seeds, 1))) + deviations(rng, (seeds,), own)
    return xr.Dataset(
        {
            "theta": (("network", "time", "angle"), np.stack([before[:, 0], after], axis=1)),
            "theta_rotated": (("network", "turn", "angle"), before),
        },
        coords={
            "angle": ANGLES,
            "variant": ("network", [variant] * seeds),
            "width": ("network", [width] * seeds),
            "seed": ("network", np.arange(seeds)),
        },
    )


def experiment(
    sd=lambda n: 0.6 / math.sqrt(n),
    growth=lambda n: 0.2 * 500 / n,
    mean_field_growth=lambda n: 0.3,
    alternative_growth=0.2,
    own=lambda n: 0.0,
    seeds=SEEDS,
    narrow_seeds=NARROW_SEEDS,
    initial_seeds=INITIAL_SEEDS,
) -> xr.Dataset:
    """An assembled dataset in which, by default, the paper is right."""
    rng = np.random.default_rng(0)
    narrow = networks(rng, "main", 500, narrow_seeds, sd(500), growth(500), own(500))
    parts = [narrow, networks(rng, "main", 10000, seeds, sd(10000), growth(10000), own(10000))]
    parts += [networks(rng, "main", n, 2 * seeds, sd(n), growth(n), own(n)) for n in TREND if n not in WIDTHS]
    parts += [networks(rng, "initial", n, initial_seeds, sd(n), 0.0) for n in INITIAL]
    parts += [networks(rng, "mean_field", n, seeds, sd(n), mean_field_growth(n)) for n in MEAN_FIELD]
    # An alternative trains the first of the narrow networks otherwise.
    other = narrow.isel(network=slice(0, min(20, narrow_seeds))).copy(deep=True)
    other.theta[:, 1] = other.theta[:, 0] * (1 + alternative_growth)
    parts.append(other.assign_coords(variant=("network", ["rescaling"] * other.sizes["network"])))
    joined = xr.concat(parts, dim="network", join="exact")
    joined["theta_inf"] = (("depth", "angle"), np.stack([limit(4), limit(5)]))
    return joined.assign_coords(depth=[4, 5]).assign_attrs(
        widths=WIDTHS, trend=TREND, initial=INITIAL, alternatives=["rescaling"]
    )


def own_parts(exponent=-0.8, rate=-1.0, seeds=80) -> xr.Dataset:
    """Changes with a common part ∝ n^rate, and a part of each network's own ∝ n^exponent."""
    return experiment(
        growth=lambda n: 0.2 * (n / 500) ** rate,
        own=lambda n: 0.05 * (n / 500) ** exponent,
        seeds=seeds,
        narrow_seeds=80,
    )


@pytest.fixture(scope="module")
def true() -> xr.Dataset:
    return experiment()


def verdict(name: str, dataset: xr.Dataset) -> str:
    (outcome,) = decide([CLAIM[name]], dataset)
    return outcome.verdict


def changed(dataset: xr.Dataset, variable: str, where: dict, values) -> xr.Dataset:
    """A copy in which ``values(old)`` replaces a variable of the networks selected."""
    data = dataset[variable].values.copy()
    chosen = np.logical_and.reduce([dataset[key].values == value for key, value in where.items()])
    data[chosen] = values(data[chosen])
    return dataset.assign({variable: (dataset[variable].dims, data)})


@pytest.mark.parametrize("name", CLAIM)
def test_holds_where_the_paper_is_right(name, true):
    """With every statistic in its range and every negative control rejected."""
    (outcome,) = decide([CLAIM[name]], own_parts() if name == "two_parts" else true)
    assert outcome.verdict == "holds", outcome.row()
    assert set(outcome.controls.values()) == {"fails"}
    assert_as_written(outcome)


def rough(values):
    """An added component at the highest frequency of the grid, independent from one network to the next."""
    rng = np.random.default_rng(1)
    alternating = (-1.0) ** np.arange(values.shape[-1])
    return values + 0.05 * rng.normal(size=(*values.shape[:-1], 1)) * alternating


def scaled(width: int, factor: float):
    """The kernels of one width, times a factor."""
    return lambda d: changed(d, "theta_rotated", {"variant": "main", "width": width}, lambda values: factor * values)


def apart(factor: float):
    """Narrow networks with a mean above the limit by this factor, and wide ones as far below it."""
    return lambda d: scaled(10000, 2 - factor)(scaled(500, factor)(d))


BROKEN = {
    "variance": [
        ("the same variance at every width", lambda d: experiment(sd=lambda n: 0.01)),
        ("more variance for the wider ones", lambda d: experiment(sd=lambda n: 1e-4 * math.sqrt(n))),
        ("variance that falls too fast", lambda d: experiment(sd=lambda n: 10 / n)),
        (
            "the right ratio between the widths drawn, another exponent",
            lambda d: experiment(sd=lambda n: 0.6 / math.sqrt(n) if n in WIDTHS else n**-0.8),
        ),
        ("an exponent just below the range", lambda d: experiment(sd=lambda n: n**-0.68, initial_seeds=400)),
    ],
    "smoother": [
        ("the same kernels at every width", lambda d: experiment(sd=lambda n: 0.01)),
        ("roughness that falls like 1/n", lambda d: experiment(sd=lambda n: 10 / n)),
        ("roughness that falls like n^{−0.3}", lambda d: experiment(sd=lambda n: 0.1 * n**-0.3)),
        (
            "wide networks that jitter in γ",
            lambda d: changed(d, "theta_rotated", {"variant": "main", "width": 10000}, rough),
        ),
    ],
    "smoothness_is_variance": [
        (
            "the widest networks jitter in γ, so that roughness ÷ sd grows",
            lambda d: changed(d, "theta_rotated", {"variant": "initial", "width": 2000}, rough),
        ),
    ],
    "mean": [
        ("another limit", lambda d: d.assign(theta_inf=1.3 * d.theta_inf)),
        (
            "wide networks off the limit at one angle",
            lambda d: changed(d, "theta_rotated", {"width": 10000}, lambda v: v + 0.06 * (np.arange(25) == 3)),
        ),
        ("narrow networks off the limit", scaled(500, 1.3)),
        ("both as far off as allowed, in opposite directions", apart(1.14)),
    ],
    "inflation": [
        ("no growth", lambda d: experiment(growth=lambda n: 0.0)),
        ("deflation", lambda d: experiment(growth=lambda n: -0.1)),
        ("growth below the margin", lambda d: experiment(growth=lambda n: 0.9 * (INFLATION - 1))),
    ],
    "inflation_width": [
        ("the same change at every width", lambda d: experiment(growth=lambda n: 0.2)),
        ("a change that falls like n^{−1/2}", lambda d: experiment(growth=lambda n: 0.2 * (500 / n) ** 0.5)),
        ("just too slowly", lambda d: experiment(growth=lambda n: 0.2 * (500 / n) ** 0.72)),
        ("just too fast", lambda d: experiment(growth=lambda n: 0.2 * (500 / n) ** 1.28)),
        (
            "falling fast, but only between narrow networks",
            lambda d: experiment(growth=lambda n: 0.2 * (500 / n) ** (2.5 if n < 500 else 0.13)),
        ),
        ("a change that grows with the width", lambda d: experiment(growth=lambda n: 1e-3 * math.sqrt(n))),
    ],
    "two_parts": [
        ("a common part that falls like n^{−1/2}", lambda d: own_parts(rate=-0.5)),
        ("just too slowly", lambda d: own_parts(rate=-0.75)),
        ("just too fast", lambda d: own_parts(exponent=-0.9, rate=-1.3, seeds=400)),
        ("own parts that neurons average out", lambda d: own_parts(-1.5)),
        ("own parts that fall just too fast", lambda d: own_parts(-1.06)),
        ("own parts that fall just too slowly", lambda d: own_parts(-0.52)),
    ],
    "open_choices": [
        ("an alternative that does not inflate", lambda d: experiment(alternative_growth=0.0)),
        ("one that inflates by just too little", lambda d: experiment(alternative_growth=0.2 * 0.47)),
        ("one that inflates by just too much", lambda d: experiment(alternative_growth=0.2 * 2.1)),
    ],
}


@pytest.mark.parametrize(
    ("name", "broken"),
    [pytest.param(name, broken, id=f"{name}: {text}") for name in BROKEN for text, broken in BROKEN[name]],
)
def test_fails_where_it_is_broken(name, broken, true):
    assert own_verdict(CLAIM[name], broken(true)) == "fails"


def test_every_claim_is_broken_in_some_way():
    assert set(BROKEN) == set(CLAIM)


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("variance", lambda d: experiment(sd=lambda n: n**-0.6)),
        ("smoother", lambda d: experiment(sd=lambda n: 0.1 * n**-0.4)),
        ("smoothness_is_variance", lambda d: experiment(initial_seeds=5)),
        ("mean", lambda d: d.assign(theta_inf=d.theta_inf * 1.14)),
        ("mean", apart(1.08)),
        ("inflation", lambda d: experiment(growth=lambda n: INFLATION - 1)),
        ("inflation_width", lambda d: experiment(growth=lambda n: 0.2 * (500 / n) ** 0.75)),
        ("two_parts", lambda d: own_parts(-0.97)),
        ("open_choices", lambda d: experiment(alternative_growth=0.1)),
    ],
)
def test_is_undecided_where_the_interval_reaches_over_the_margin(name, near, true):
    assert own_verdict(CLAIM[name], near(true)) == "undecided"


@pytest.mark.parametrize(
    ("name", "inside"),
    [
        ("variance", lambda d: experiment(sd=lambda n: 3 * n**-0.55, initial_seeds=400)),
        ("smoother", lambda d: experiment(sd=lambda n: 0.1 * n**-0.45, seeds=80, narrow_seeds=80)),
        ("mean", lambda d: d.assign(theta_inf=1.02 * d.theta_inf)),
        ("mean", apart(1.02)),
        ("inflation", lambda d: experiment(growth=lambda n: 1.1 * (INFLATION - 1) * 500 / n)),
        ("inflation_width", lambda d: experiment(growth=lambda n: 0.2 * (500 / n) ** 0.8)),
        ("inflation_width", lambda d: experiment(growth=lambda n: 0.2 * (500 / n) ** 1.2)),
        ("two_parts", lambda d: own_parts(-0.9)),
        ("two_parts", lambda d: own_parts(-0.67, seeds=400)),
        ("open_choices", lambda d: experiment(alternative_growth=0.2 * 0.55)),
        ("open_choices", lambda d: experiment(alternative_growth=0.2 * 1.9)),
    ],
)
def test_holds_just_inside_its_ranges(name, inside, true):
    assert verdict(name, inside(true)) == "holds"


@pytest.mark.parametrize("name", CLAIM)
def test_is_undecided_with_too_few_networks(name):
    """Two networks of each kind, of which the paper's statements are true."""
    assert verdict(name, experiment(seeds=2, narrow_seeds=2, initial_seeds=2)) == "undecided"


@pytest.mark.parametrize("name", ["variance", "smoother", "mean", "inflation", "inflation_width", "two_parts"])
def test_is_undecided_where_a_kernel_is_not_a_number(name, true):
    def spoil(values):
        values[0] = np.nan
        return values

    dataset = true
    for variable in ("theta", "theta_rotated"):
        dataset = changed(dataset, variable, {"variant": "main", "width": 500}, spoil)
    assert verdict(name, dataset) == "undecided"


@pytest.mark.parametrize(
    ("name", "broken"),
    [
        ("inflation_width", lambda d: experiment(mean_field_growth=lambda n: 0.3 * 125 / n)),
        ("mean", lambda d: d.isel(depth=[0, 0])),
        ("inflation", lambda d: experiment(growth=lambda n: 0.2)),
        ("open_choices", lambda d: experiment(growth=lambda n: 0.2)),
    ],
)
def test_a_control_that_passes_too_leaves_the_claim_without_a_verdict(name, broken, true):
    """The claim itself is true, but its check accepts the control's data, so that it may accept anything."""
    (outcome,) = decide([CLAIM[name]], broken(true))
    assert outcome.verdict == "undecided"
    assert set(outcome.controls.values()) - {"fails"}


class TestStatistics:
    def test_spread_is_the_standard_deviation_over_seeds(self):
        """sd 0.3 from 2000 seeds: its standard error, counting nine independent modes for γ, is below 1 %."""
        kernels = limit(4) + deviations(np.random.default_rng(2), (2000, 4), 0.3)
        assert spread(kernels) == pytest.approx(0.3, rel=0.02)

    def test_roughness_is_the_slope_of_the_deviation(self):
        """Of a cos(3γ + φ): 3a/√2, less the factor sin(h)/h of differences at h = 3Δγ/2."""
        phases = np.linspace(0, 2 * np.pi, 50, endpoint=False)[:, None, None]
        kernels = limit(4) + 0.1 * np.cos(3 * ANGLES + phases)
        h = 3 * (ANGLES[1] - ANGLES[0]) / 2
        expected = 0.1 * 3 / math.sqrt(2) * math.sin(h) / h
        assert roughness(limit(4), ANGLES)(kernels) == pytest.approx(expected, rel=1e-10)

    def test_change_is_the_largest_move_relative_to_the_largest_kernel(self, true):
        dataset = select(true, variant="main", width=500)
        before, after = dataset.theta.values[:, 0], dataset.theta.values[:, 1]
        expected = [np.abs(b - a).max() / np.abs(b).max() for b, a in zip(before, after, strict=True)]
        assert change(true, 500).tolist() == pytest.approx(expected)

    def test_initial_kernels_prefer_the_ensemble_at_t_0(self, true):
        assert len(initial_kernels(true, 1000)) == INITIAL_SEEDS
        assert len(initial_kernels(true, 10000)) == SEEDS
        assert initial_kernels(true, 500).shape == (NARROW_SEEDS, 4, len(ANGLES))

    def test_select_takes_a_variant_and_a_width(self, true):
        chosen = select(true, variant="mean_field", width=125)
        assert chosen.sizes["network"] == SEEDS
        assert set(chosen.variant.values) == {"mean_field"}
        assert set(chosen.width.values) == {125}
        assert select(true, variant="mean_field").sizes["network"] == 2 * SEEDS


def test_the_margins_are_the_stated_ones():
    """Changing a criterion after the fact shows here."""
    assert (INFLATION, BAND, FALL, SMOOTHER, RATE, ALIKE) == (1.1, 0.15, 1.5, 4 / 3, (-1.25, -0.75), (0.5, 2))
