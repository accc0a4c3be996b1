"""Figure 3: the identities behind its curves, both routes to principal components, its checks on made-up networks."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr
from criteria_fixtures import assert_as_written

from replication.costs import LeastSquares
from replication.experiments import fig3
from replication.experiments.fig3 import statistics
from replication.experiments.fig3.measure import initial, largest_rate, limit_components, train
from replication.experiments.fig3.settings import (
    Batch,
    Config,
    DataConfig,
    DescentConfig,
    RatesConfig,
    SeedsPerWidth,
    SpectrumConfig,
    TrainingConfig,
)
from replication.kernels import inner, norm
from replication.mnist import mnist
from replication.plots import fig3 as plots
from replication.study.claims import decide, worst
from replication.study.settings import ConfigError, NetworkConfig
from replication.study.store import key
from replication.tangent import tangent_kernel
from replication.training import GradientDescent, follow

EXPERIMENT = fig3.EXPERIMENT
CLAIM = {claim.id.removeprefix("fig3."): claim for claim in EXPERIMENT.claims}
NETWORK = NetworkConfig(depth=3, nonlinearity="erf", beta=0.1, dtype="float64")
TRAINING = TrainingConfig(solver="gradient_flow", t=200.0, tolerance=1e-4, order=2, learning_rate=2.0, goal=0.5)
X = mnist(24, 0).images
DATA = DataConfig(path=None, n=24, seed=0, scaling="unit_interval", name="mnist")
REFERENCE = limit_components(DATA.batch(24, 0), 0, NETWORK.depth, NETWORK.nonlinearity, NETWORK.beta)


def network(width: int = 20, seed: int = 1):
    return NETWORK.draw(784, width, generator=torch.Generator().manual_seed(seed))


def config(**changes) -> Config:
    base = {
        "experiment": "fig3",
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
        "training": replace(TRAINING, t=20.0, tolerance=1e-2),
        "widths": [16, 64],
        "seeds": [0, 1],
        "trend": SeedsPerWidth(widths=[16, 32], seeds=[6, 5]),
        "initial": SeedsPerWidth(widths=[16, 48], seeds=[7, 5]),
        "descent": DescentConfig(width=32, seeds=[0], learning_rate=2.0, t=10.0),
        "rates": RatesConfig(widths=[16], seeds=[1], n=12, t=20.0, resolution=0.3),
        "spectrum": SpectrumConfig(batches=2, n=30, beta=1.0),
    }
    return Config(**base | changes)


@pytest.fixture(scope="module")
def curves() -> xr.Dataset:
    return train(network(), X, REFERENCE, TRAINING, lambda fraction: None)


def test_g_and_h_are_the_parts_of_the_error(curves):
    """‖f_t − f*‖² = g² + ‖h‖², with f_t from another run of the solver."""
    trained = network()
    target = trained(X) + 0.5 * REFERENCE.functions[1]
    times = np.linspace(0, 200, len(curves.g))
    f = follow(TRAINING.flow.states(trained, X, LeastSquares(target)), times)
    total = norm(f - target).square().numpy()
    np.testing.assert_allclose(curves.g.values**2 + curves.h.values**2, total, rtol=1e-4)
    np.testing.assert_allclose(curves.g.values, inner(REFERENCE.functions[1], f - target), atol=1e-5)
    assert (curves.g[0], curves.h[0]) == (pytest.approx(-0.5), pytest.approx(0.0, abs=1e-7))
    assert curves.h.values[-1] > 0.01


def test_g_falls_as_the_identity_says(curves):
    """ġ = −λ₂(t) g − ⟨f⁽²⁾, h⟩_{Θ_t}, against central differences of g."""
    step = 200 / (len(curves.g) - 1)
    g, rate, cross = (curves[name].values.astype(float) for name in ("g", "rate", "cross"))
    measured = (g[2:] - g[:-2]) / (2 * step)
    expected = (-rate * g - cross)[1:-1]
    frozen = (-rate[0] * g)[1:-1]
    scale = np.abs(expected).max()
    error = np.abs(measured - expected)[3:].max()
    assert error < 0.03 * scale
    assert np.abs(measured - frozen)[3:].max() > 4 * error  # a frozen kernel does not do
    assert np.abs(measured + (rate * g)[1:-1])[3:].max() > 4 * error  # nor does one without the cross term


def test_rate_and_cross_term_at_the_start(curves):
    kernel = tangent_kernel(network(), X)
    direction = REFERENCE.functions[1]
    assert curves.rate[0] == pytest.approx(float((direction[:, 0] @ kernel @ direction[:, 0]) / 24**2))
    assert curves.rate_0 == pytest.approx(float(curves.rate[0]))
    assert curves.cross[0] == pytest.approx(0, abs=1e-9)
    assert curves.largest[0] == pytest.approx(float(torch.linalg.eigvalsh(kernel)[-1] / 24))


def test_both_routes_to_principal_components():
    kernel = tangent_kernel(network(), X)
    measured = initial(kernel, REFERENCE)
    expected = np.linalg.eigvalsh(kernel.numpy() / 24)[::-1][:3]
    np.testing.assert_allclose(measured["eigenvalues"], expected, rtol=1e-9)
    functions = torch.tensor(measured.functions.values).double()
    np.testing.assert_allclose(functions @ functions.T / 24, np.eye(3), atol=1e-5)
    # The sign is that of the limit's.
    assert ((functions * REFERENCE.functions[..., 0]).mean(dim=1) > 0).all()


def test_descent_follows_the_flow_and_measures_the_same(curves):
    descent = replace(TRAINING, solver="gradient_descent", learning_rate=1.0)
    other = train(network(), X, REFERENCE, descent, lambda fraction: None)
    for name in ("g", "h"):
        assert np.abs(other[name] - curves[name]).max() < 0.01
    assert int(other.steps) == 200 > int(curves.steps)


def test_crossing_and_speed_up_of_an_exponential():
    t = np.linspace(0, 100, 401)
    rate = 0.02 + 0.0004 * t
    g = -0.5 * np.exp(-(0.02 * t + 0.0002 * t**2))
    networks = xr.Dataset(
        {name: (("network", "t"), values[None]) for name, values in (("g", g), ("rate", rate), ("cross", 0 * t))},
        coords={"t": t},
    )
    dataset = networks.assign(eigenvalues_inf=("component", [1.0, 0.015]))
    half = (-0.02 + math.sqrt(0.02**2 + 4 * 0.0002 * math.log(2))) / (2 * 0.0002)
    assert statistics.half_times(networks)[0] == pytest.approx(half, rel=1e-3)
    terms = statistics.speed_up(dataset, networks)
    assert terms.spread[0] == pytest.approx(0.005 * half, rel=1e-3)
    assert terms.inflation[0] == pytest.approx(0.0002 * half**2, rel=1e-2)
    assert terms.cross[0] == 0
    assert terms.error[0] == pytest.approx(0, abs=1e-3)
    assert math.isnan(statistics.crossing(t, g, 1e-9))
    undone = networks.assign(cross=-0.25 * (networks.rate - 0.02) * networks.g)
    assert statistics.cancelled(undone, 1.0, 0.5)[0] == pytest.approx(0.25)


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
) -> xr.Dataset:
    """Networks in which, by default, the paper is right; h, inflation and power are exponents in n."""
    rng = np.random.default_rng(0)
    t = np.linspace(0, 4000, 161)
    lambda2, parts = 0.00114, []
    for width, seeds in ((100, 12), (300, 12), (1000, 12), (10000, 2)):
        noise = 1 + 0.03 * rng.standard_normal((seeds, 1))
        rate_0 = lambda2 * (1 + 0.5 * width**-0.5 * rng.standard_normal((seeds, 1)))
        growth = 3e-6 * (width / 100) ** inflation * noise
        g = -0.5 * np.exp(-(rate_0 * t + growth * t**2 / 2))
        rate = rate_0 + growth * t
        cross = np.where(np.abs(g) > 0.25, -early, -late) * growth * t * g
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
        ("learning_rate", {"bound": 0.6}),
        ("descent", {"descent": 1.4}),
    ],
)
def test_claims_fail_where_they_are_broken(name, broken):
    dataset = made_up(**broken)
    if name == "gap":
        dataset["limit_eigenvalues"] = dataset.limit_eigenvalues * [0.1, 1, 1]
    (outcome,) = decide([CLAIM[name]], dataset)
    assert outcome.verdict == "fails"


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
        ("learning_rate", "bound", 0.77, 0.71),
        ("learning_rate", "bound", 1.28, 1.38),
        ("inflation_explains", "early", 0.16, 0.24),
        ("descent", "descent", 1.005, 1.05),
    ],
)
def test_claims_hold_just_inside_their_ranges_and_fail_just_outside(name, key, inside, outside):
    outcomes = [decide([CLAIM[name]], made_up(**{key: value}))[0] for value in (inside, outside)]
    verdicts = [worst(outcome.statistics) for outcome in outcomes]
    assert verdicts == ["holds", "fails"], [outcome.statistics for outcome in outcomes]


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
    (outcome,) = decide([CLAIM["inflation_explains"]], changed.transpose(*true.sizes))
    assert worst(outcome.statistics) == verdict, outcome.statistics


def test_numbers_at_equal_start_are_those_without_the_spread():
    rng = np.random.default_rng(3)
    start = 0.2 + rng.standard_normal(9)
    sample = np.stack([start, 3 - start, 1 + 0.5 * start], axis=1)
    np.testing.assert_allclose(statistics.at_equal_start(sample), [3, 1])


def test_inflation_that_is_cancelled_at_once_explains_nothing(true):
    (outcome,) = decide([CLAIM["inflation_explains"]], true.assign(cross=-0.9 * (true.rate - true.rate[:, 0]) * true.g))
    assert outcome.verdict == "fails"


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


def test_largest_rate_is_between_monotone_descent_and_descent_that_is_not():
    measured = largest_rate(network, X, REFERENCE, replace(TRAINING, t=60.0), 0.1)
    target = network()(X) + 0.5 * REFERENCE.functions[1]

    def monotone(rate: float) -> bool:
        solver = GradientDescent(rate, math.ceil(60 / rate))
        costs = [state.cost_at(state.t) for state in solver.states(network(), X, LeastSquares(target))]
        return bool((np.diff(costs) <= 0).all())

    assert monotone(float(measured.monotone * measured.bound))
    assert not monotone(float(measured.broken * measured.bound))
    assert 1 < float(measured.broken / measured.monotone) <= 1.1
    assert float(measured.bound) <= float(measured.bound_0) == pytest.approx(2 / float(
        torch.linalg.eigvalsh(tangent_kernel(network(), X))[-1] / 24), rel=1e-4)  # fmt: skip


def test_every_network_is_assembled_once_and_drawn():
    asked = config()
    cells = EXPERIMENT.cells(asked)
    results = [EXPERIMENT.compute(cell) for cell in cells]
    dataset = EXPERIMENT.join(asked, results)
    sizes = {(v, int(w)): int(((dataset.variant == v) & (dataset.width == w)).sum()) for v in ("main", "initial")
             for w in (16, 32, 48, 64)}  # fmt: skip
    assert sizes == {("main", 16): 6, ("main", 32): 5, ("main", 48): 0, ("main", 64): 2} | {
        ("initial", 16): 7, ("initial", 32): 0, ("initial", 48): 5, ("initial", 64): 0}  # fmt: skip
    assert (dataset.sizes["batch"], dataset.sizes["rates"], dataset.sizes["descent"]) == (2, 1, 1)
    assert dataset.indices.values.tolist() == mnist(24, 0).indices.tolist()
    assert not any(variable.size > 10_000 for variable in dataset.variables.values())  # no pixels
    widest = next(d for c, d in zip(cells, results, strict=True) if c.labels == {"variant": "main", "width": 64})
    np.testing.assert_array_equal(dataset.functions, widest.functions[0])
    # What is measured at t = 0 counts each network once, trained or not.
    spans, starts = statistics.groups_at_start(dataset, lambda networks: networks.seed.values)
    assert (spans, [sorted(seeds) for seeds in starts]) == ([16, 32, 48], [[*range(7)], [*range(5)], [*range(5)]])
    assert list(dict(EXPERIMENT.metrics(dataset))[20.0]) == ["g/n=16", "h/n=16", "g/n=64", "h/n=64"]
    decide(EXPERIMENT.claims, dataset)
    drawn = plots.figures(dataset)
    straight, convergence = drawn["fig3"].axes[1:3]
    assert straight.get_ylim() == (0, 0.14)
    assert convergence.get_ylim() == (0, 0.5)
    assert [len(axes.lines) for axes in (straight, convergence)] == [4, 5]
    np.testing.assert_allclose(convergence.lines[-1].get_ydata(), statistics.limit_curve(dataset))
    thumbnails = drawn["fig3"].axes[0]
    assert len(thumbnails.images) + len(thumbnails.collections[0].get_offsets()) == 24
    assert {"fig3", "fig3_statistics", "fig3_speed"} == drawn.keys()


def test_where_the_digits_lie_does_not_change_a_cell():
    (first, *_) = EXPERIMENT.cells(config())

    def elsewhere(**changes):
        batch = replace(first.setting.batch, **changes)
        return key(replace(first, setting=replace(first.setting, batch=batch)))

    assert elsewhere(path="/elsewhere") == key(first) != elsewhere(source="training files")


@pytest.mark.parametrize("same_digits", [False, True])
def test_another_draw_has_other_digits_and_other_networks(monkeypatch, same_digits):
    limit_components.cache_clear()
    if same_digits:
        monkeypatch.setattr(Batch, "digits", lambda batch, draw: mnist(batch.n, batch.seed))
    narrow = config(widths=[16], seeds=[0], spectrum=SpectrumConfig(batches=1, n=30, beta=1.0))
    first = {cell.kind: cell for cell in EXPERIMENT.cells(narrow)}
    names = {"network": "eigenvalues", "descent": "eigenvalues", "rates": "bound_0", "limit": "eigenvalues_inf"}
    for kind, name in (names | {"batch": "limit_eigenvalues"}).items():
        draws = [EXPERIMENT.compute(replace(first[kind], draw=draw))[name].values for draw in (0, 1)]
        assert np.array_equal(*draws) == (same_digits and kind in ("limit", "batch"))


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: replace(DATA, n=2), "data.n"),
        (lambda: replace(DATA, n=6000), "data.n"),
        (lambda: replace(DATA, scaling="whitened"), "data.scaling"),
        (lambda: replace(DATA, path="/nowhere"), "data.path"),
        (lambda: replace(DATA, path="tests"), "data.path"),
        (lambda: replace(DATA, name="fashion_mnist"), "data.path"),
        (lambda: replace(DATA, name="emnist"), "data.name"),
        (lambda: replace(TRAINING, solver="adam"), "training.solver"),
        (lambda: replace(TRAINING, goal=0.0), "training.goal"),
        (lambda: replace(TRAINING, order=3), "training.order"),
        (lambda: replace(TRAINING, solver="gradient_descent", learning_rate=3.0), "training.t"),
        (lambda: config(widths=[]), "widths"),
        (lambda: config(seeds=[0, 0]), "seeds"),
        (lambda: config(trend=SeedsPerWidth(widths=[16], seeds=[])), "trend.seeds"),
        (lambda: config(initial=SeedsPerWidth(widths=[0], seeds=[1])), "initial.widths"),
        (lambda: DescentConfig(width=9, seeds=[], learning_rate=3.0, t=10.0), "descent.t"),
        (lambda: DescentConfig(width=0, seeds=[], learning_rate=1.0, t=1.0), "descent.width"),
        (lambda: RatesConfig(widths=[], seeds=[], n=9, t=1.0, resolution=1.5), "rates.resolution"),
        (lambda: config(rates=RatesConfig(widths=[], seeds=[], n=25, t=1.0, resolution=0.5)), "rates.n"),
        (lambda: config(spectrum=SpectrumConfig(batches=1, n=5001, beta=1.0)), "spectrum.n"),
        (lambda: SpectrumConfig(batches=0, n=9, beta=1.0), "spectrum.batches"),
    ],
)
def test_bad_values_are_refused(make, name):
    with pytest.raises(ConfigError, match=f"^{name}="):
        make()
