"""Figure 3: the identities behind its curves, both routes to principal components, its cells and its figures."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr

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
from replication.study.claims import decide
from replication.study.settings import ConfigError, NetworkConfig
from replication.study.store import key
from replication.tangent import tangent_kernel
from replication.training import GradientDescent, follow

EXPERIMENT = fig3.EXPERIMENT
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
