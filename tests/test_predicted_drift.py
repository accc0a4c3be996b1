"""The experiment on the drift of the NTK: what it measures against its definition, its checks on made-up networks."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr
from numpy.polynomial.hermite_e import hermegauss
from scripts_fixtures import cell_of, script

from replication.experiments.drift import EXPERIMENT, bias, measure
from replication.experiments.drift.claims import PARTIAL
from replication.experiments.drift.settings import TrainingConfig
from replication.gaussian import GaussianPairs
from replication.limit import limit
from replication.nonlinearities import nonlinearity
from replication.plots import drift as plots
from replication.study.claims import decide
from replication.study.settings import NetworkConfig, WideNetworkConfig
from replication.tangent import tangent_kernel
from replication.training import DivergenceError, GradientFlow

compose = script("compose")
CLAIM = {claim.id: claim for claim in EXPERIMENT.claims}
NETWORK = WideNetworkConfig(depth=3, nonlinearity="erf", beta=0.1, dtype="float64", weights="dense", tolerance=1e-9)
TRAINING = TrainingConfig(n_samples=3, t=6.0, nodes=8, flow_nodes=12)
SIGMAS = ["erf", "tanh", "softplus"]
WIDTHS = [100, 1000, 10_000]


def trained(width=40, nonlinearity="erf", weights="dense"):
    network = replace(NETWORK, nonlinearity=nonlinearity, weights=weights)
    return measure.Trained(width=width, network=network, training=TRAINING)


def cell(setting, seeds=(0,), kind="network"):
    return cell_of(EXPERIMENT, setting, seeds, kind)


# Claims on made-up networks -------------------------------------------------------------------------------------------


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
    (outcome,) = decide([CLAIM[name]], made_up(**broken))
    assert outcome.verdict == "fails", [str(statistic) for statistic in outcome.statistics]


# What is measured -----------------------------------------------------------------------------------------------------


def test_what_is_left_is_of_the_flow_of_the_adaptive_solver():
    problem = measure.Problem(cell(trained()), trained(), [3], "cpu")
    measured = EXPERIMENT.compute(cell(trained(), (3,))).isel(network=0)
    predicted = problem.predicted(problem.at)
    before = problem.value()
    for _ in GradientFlow(TRAINING.t, 1e-9, order=2).states(problem.network, problem.x, problem.cost):
        pass
    change = tangent_kernel(problem.network, problem.at) - predicted.start
    np.testing.assert_allclose(measured.drift, change.norm() / predicted.start.norm(), rtol=1e-4)
    np.testing.assert_allclose(measured.cost, problem.value() / before, rtol=1e-4)
    expected = {
        "second": predicted.total,
        "without_k3": predicted.quadratic + predicted.bent,
        "without_k4": predicted.linear,
        "first": predicted.linear + predicted.quadratic,
    }
    for name, part in expected.items():
        remainder = float((change - part).norm() / change.norm())
        np.testing.assert_allclose(measured.left.sel(prediction=name), remainder, rtol=1e-2)
    assert (
        float(measured.left.sel(prediction="second"))
        < 0.1
        < min(float(measured.left.sel(prediction=k)) for k in PARTIAL)
    )


@pytest.mark.parametrize("kind", ["network", "pair"])
def test_narrow_networks_of_a_cell_are_those_measured_one_by_one(kind):
    together = EXPERIMENT.compute(cell(trained(), (0, 1, 2), kind))
    alone = [EXPERIMENT.measure(cell(trained(), (0, 1, 2), kind), seed, "cpu", lambda _: None) for seed in range(3)]
    xr.testing.assert_allclose(together, xr.concat(alone, dim=kind), rtol=1e-5, atol=1e-9)


def test_revealed_networks_are_predicted_like_dense_ones():
    seeds = tuple(range(8))
    dense = EXPERIMENT.compute(cell(trained(100), seeds))
    revealed = EXPERIMENT.compute(cell(trained(800, weights="revealed"), seeds))
    ratio = np.log(dense.left / revealed.left).mean("network").sel(prediction="second")
    assert 1.0 < float(ratio) < 3.2  # ln 8 = 2.1
    assert int(dense["rank"].max()) == 0 < int(revealed["rank"].max()) < 400


def test_pairs_have_opposite_outputs_and_the_mean_of_both():
    measured = EXPERIMENT.compute(cell(trained(), (5,), "pair")).isel(pair=0).diagonal
    diagonals = []
    for sign in (1, -1):
        problem = measure.Problem(cell(trained(), (), "pair"), trained(), [5], "cpu")
        problem.network.weights[-1].values *= sign
        problem.network.biases[-1] *= sign
        diagonals.append((problem.network(problem.x), problem.predicted(problem.at).total.diagonal().mean()))
    torch.testing.assert_close(diagonals[0][0], -diagonals[1][0])
    expected = 40 * (diagonals[0][1] + diagonals[1][1]) / 2
    np.testing.assert_allclose(measured.sel(term="second"), expected, rtol=1e-9)
    total = sum(measured.sel(term=name) for name in ("linear", "quadratic", "bent"))
    np.testing.assert_allclose(measured.sel(term="second"), total, rtol=1e-9)


def test_two_references_agree():
    checked = measure.Checked(trained=trained(), tolerance=1e-8)
    measured = EXPERIMENT.compute(cell(checked, kind="check")).isel(check=0)
    assert float(measured.coarse) < 1e-5
    assert float(measured.solver) < 1e-2 * float(measured.second)


def test_the_curve_starts_from_the_point_at_zero_and_is_one_network():
    curve = measure.OnCircle(trained=trained(), intervals=8)
    measured = EXPERIMENT.compute(cell(curve, kind="curve")).isel(curve=0).change
    problem = measure.Problem(cell(curve), trained(), [0], "cpu")
    x_0 = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    predicted = problem.predicted(x_0).total
    np.testing.assert_allclose(measured.sel(term="second", angle=0), predicted[0, 0], rtol=1e-9)
    np.testing.assert_allclose(measured.sel(term="second", angle=np.pi / 2), predicted[0, 1], rtol=1e-9)
    assert float(abs(measured.sel(term="flow") - measured.sel(term="second")).max()) < 0.1 * float(abs(measured).max())


def test_kinks_hide_switching_neurons_from_derivatives():
    kinked = measure.WithKinks(trained=trained(200, "relu"), tolerance=1e-5, scale=1e-4)
    measured = EXPERIMENT.compute(cell(kinked, tuple(range(6)), "kinked"))
    everywhere, second = measured.kinked_left.mean("kinked").values
    assert everywhere > 0.4 > second
    assert (measured.switched > 0).all()
    smooth = replace(kinked, trained=trained(200))
    assert float(EXPERIMENT.compute(cell(smooth, kind="kinked")).kinked_left.max()) < 0.1


def test_inflation_is_that_of_the_trained_network():
    network = NetworkConfig(depth=4, nonlinearity="relu", beta=0.1, dtype="float32")
    inflated = measure.Inflated(width=100, network=network, n_samples=16, t=30.0, nodes=8, tolerance=1e-3)
    measured = EXPERIMENT.compute(cell(inflated, (0, 1, 2, 3), "figure1"))
    grown, predicted, first = (measured.inflation - 1).mean("figure1").values
    assert grown > 0.05
    assert abs(predicted - grown) < 0.5 * abs(first - grown)


# The bias at initialization -------------------------------------------------------------------------------------------


def times(p, q):
    return lambda u, v: p(u, v) * q(u, v)


def stein(beta: float) -> np.ndarray:
    """c for erf, with the derivatives of expectations as expectations of derivatives of σ, by a product rule."""
    z, weight = hermegauss(100)
    weight = np.outer(weight, weight) / weight.sum() ** 2

    def hermite(k):  # (d/dx)^k of erf
        density = [lambda x: 1, lambda x: -2 * x, lambda x: 4 * x**2 - 2, lambda x: -8 * x**3 + 12 * x]
        more = [lambda x: 16 * x**4 - 48 * x**2 + 12]
        if k == 0:
            return lambda x: torch.erf(torch.as_tensor(x)).numpy()
        return lambda x: 2 / np.sqrt(np.pi) * (density + more)[k - 1](x) * np.exp(-(x**2))

    derivative = [hermite(k) for k in range(6)]
    x, pairs = bias.pairs_of_points()
    kernels = limit(x, depth=2, nonlinearity="erf", beta=beta).sigma.numpy()

    def constant(i, j):
        s1, s2 = (np.array([kernel[i, i], kernel[i, j], kernel[j, j]]) for kernel in kernels)

        def mean(s, function):
            a = np.sqrt(s[0])
            u, v = a * z[:, None] + 0 * z, s[1] / a * z[:, None] + np.sqrt(max(s[2] - s[1] ** 2 / s[0], 0)) * z
            return (weight * function(u, v)).sum()

        def e(i, j):
            return mean(s2, lambda u, v: derivative[i](u) * derivative[j](v))

        f, g = derivative[:2]
        products = [lambda u, v: f(u) ** 2, lambda u, v: f(u) * f(v), lambda u, v: f(v) ** 2]
        m = np.array([mean(s1, p) for p in products])
        c = np.array([[mean(s1, times(p, q)) for q in products] for p in products]) - np.outer(m, m)
        slopes = lambda u, v: g(u) * g(v)  # noqa: E731
        slope = mean(s1, slopes)
        shared = np.array([mean(s1, times(slopes, p)) for p in products])
        steps = [((2, 0), 0.5), ((1, 1), 1.0), ((0, 2), 0.5)]

        def gradient(k):
            return np.array([w * e(k + p[0], k + p[1]) for p, w in steps])

        def hessian(k):
            return np.array([[w * v * e(k + p[0] + q[0], k + p[1] + q[1]) for q, v in steps] for p, w in steps])

        middle = s2[1] * hessian(1)
        middle[1] += gradient(1)
        middle[:, 1] += gradient(1)
        first = 0.5 * (c * (hessian(0) + middle)).sum()
        return first + s1[1] * (
            0.5 * slope * (c * hessian(1)).sum() + (shared - slope * m) @ gradient(1) + 2 * shared @ gradient(1)
        )

    return np.array([constant(i, j) for i, j in pairs])


def test_derived_bias_is_that_of_another_derivation():
    ours = bias.derived(bias.Derived(nonlinearity="erf", beta=0.1)).constant.sel(part="c")
    np.testing.assert_allclose(ours, stein(0.1), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", ["erf", "softplus", "relu"])
def test_derived_bias_is_that_of_networks(name):
    stream = torch.Generator().manual_seed(0)
    sample = bias.Sample(width=24, networks=3000, nonlinearity=name, beta=0.1)
    values = np.array([bias.measured(sample, stream).bias for _ in range(6)])
    c = bias.derived(bias.Derived(nonlinearity=name, beta=0.1)).constant.sel(part="c").values
    error = values.std(axis=0, ddof=1) / np.sqrt(len(values))
    assert (np.abs(values.mean(axis=0) - c) < 5 * error + 0.08 * np.abs(c).max()).all()
    assert np.abs(values.mean(axis=0) @ c / (c @ c) - 1) < 0.15


def test_relu_has_no_bias_on_the_diagonal_and_the_identity_none_at_all():
    relu = bias.derived(bias.Derived(nonlinearity="relu", beta=0.1))
    on = relu.on_diagonal.values
    np.testing.assert_allclose(relu.constant.values[on], 0, atol=1e-9)
    assert (np.abs(relu.constant.sel(part="c").values[~on]) > 0.01).all()
    np.testing.assert_allclose(bias.derived(bias.Derived(nonlinearity="identity", beta=0.1)).constant, 0, atol=1e-8)


@pytest.mark.parametrize("correlation", [0.9, -0.3, 0.0])
def test_gaussian_rule_has_the_moments_of_smooth_and_of_kinked_functions(correlation):
    k = torch.tensor([0.8, correlation * np.sqrt(0.8 * 1.3), 1.3], dtype=torch.float64)
    u, v, weight = bias.gaussian_rule(*k)
    torch.testing.assert_close(weight.sum(), torch.ones((), dtype=torch.float64))
    torch.testing.assert_close((weight * u**2 * v**2).sum(), k[0] * k[2] + 2 * k[1] ** 2)
    for name in ("relu", "erf"):
        sigma = nonlinearity(name)
        exact = sigma.expectations(GaussianPairs.from_covariance(*k))
        ours = ((weight * sigma(u) * sigma(v)).sum(), (weight * sigma.derivative(u) * sigma.derivative(v)).sum())
        torch.testing.assert_close(torch.stack(ours), torch.stack(exact), rtol=1e-9, atol=1e-10)


# The experiment -------------------------------------------------------------------------------------------------------

TINY = (
    "widths=[8,16]",
    "seeds=[6,5]",
    "nonlinearities=[erf,softplus]",
    "setting.t=3",
    "setting.n_samples=3",
    "pairs.widths=[8]",
    "pairs.seeds=5",
    "check={widths: [8], seeds: 2, tolerance: 1e-3}",
    "curve={width: 8, intervals: 4}",
    "kinked={widths: [8,16], seeds: 5, tolerance: 1e-2}",
    "figure1={widths: [8], seeds: [5], n_samples: 4, t: 3, tolerance: 0.1}",
    "bias={widths: [4,8], blocks: 5, networks: 100, nonlinearities: [erf,relu]}",
)


def test_assembled_data_have_every_network_once_and_are_drawn():
    _, config = compose.typed(compose.preset("ci/drift", *TINY))
    dataset = EXPERIMENT.join(config, [EXPERIMENT.compute(cell) for cell in EXPERIMENT.cells(config)])
    names = set(zip(dataset.nonlinearity.values, dataset.width.values, dataset.seed.values, strict=True))
    assert names == {(s, n, k) for s in ("erf", "softplus") for n, count in ((8, 6), (16, 5)) for k in range(count)}
    sizes = {"network": 22, "pair": 10, "check": 2, "curve": 1, "kinked": 10, "figure1": 5, "block": 20, "derived": 2}
    assert {kind: dataset.sizes[kind] for kind in sizes} == sizes
    assert len(list(EXPERIMENT.metrics(dataset))) == 2
    assert list(plots.figures(dataset)) == ["drift", "drift_circle", "drift_mean", "drift_relu", "initial_bias"]
    assert len(decide(EXPERIMENT.claims, dataset)) == len(CLAIM)


def test_only_asked_kinds_are_computed_and_drawn():
    _, config = compose.typed(compose.preset("wide/drift", "widths=[8,16]", "seeds=[5,5]", "setting.t=3"))
    cells = EXPERIMENT.cells(config)
    assert {cell.kind for cell in cells} == {"network"}
    dataset = EXPERIMENT.join(config, [EXPERIMENT.compute(cell) for cell in cells]).assign_attrs(claims=config.claims)
    assert list(plots.figures(dataset)) == ["drift"]
    assert all(outcome.verdict != "holds" for outcome in decide(EXPERIMENT.claims, dataset))


def test_another_draw_has_other_points_networks_and_blocks():
    sample = bias.Sample(width=4, networks=100, nonlinearity="erf", beta=0.1)
    for setting, kind, name in ((trained(8), "network", "drift"), (sample, "block", "bias")):
        first, second = (EXPERIMENT.compute(replace(cell(setting, kind=kind), draw=draw))[name] for draw in (0, 1))
        assert (first.values != second.values).all()
    angles = [measure.points(replace(cell(trained()), draw=draw), 3) for draw in (0, 1)]
    assert not torch.equal(*angles)


def test_a_network_that_picard_cannot_train_is_named():
    far = replace(trained(4), training=replace(TRAINING, t=1e5))
    with pytest.raises(DivergenceError, match="seed0"):
        EXPERIMENT.compute(cell(far))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("setting.n_samples=1", "setting.n_samples=1"),
        ("setting.t=0", "setting.t=0"),
        ("setting.nodes=3", "setting.nodes=3"),
        ("nonlinearities=[tanh]", "nonlinearities"),
        ("network.depth=4", "network.depth=4"),
        ("network.dtype=float32", "network.dtype=float32"),
        ("seeds=[3]", "seeds"),
        ("pairs.widths=[2000]", "pairs.widths"),
        ("kinked.scale=0", "kinked.scale"),
        ("check.tolerance=0", "check.tolerance"),
        ("curve.intervals=5", "curve.intervals=5"),
        ("figure1.seeds=[1,2,3]", "figure1.seeds"),
        ("bias.widths=[16]", "bias.widths"),
        ("bias.networks=10", "bias.networks=10"),
    ],
)
def test_bad_settings_are_refused(override, message):
    with pytest.raises(compose.UserError, match=message):
        compose.typed(compose.preset("ci/drift", override))
